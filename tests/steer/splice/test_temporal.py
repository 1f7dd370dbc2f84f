"""A dictionary that reads a token in its text, spliced in: cached, padded, edited, dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import steer
from dictionaries.training.activations import keep_mask
from steer.effects.attribution.attribution import attribution
from steer.features.contexts import OUTLIER_MEDIANS, contexts
from steer.jobs.statistics import feature_statistics
from steer.lm.span import Span
from steer.quality.check import check
from steer.splice import passes
from steer.splice.text_memory import encode
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite, path_of
from tests.support.tiny import PROMPT, PROMPTS
from tests.support.tiny_temporal import TokenByToken, temporal

FAMILIES = ("gpt2", "llama", "gemma2", "gpt_neox")
EDITS = [steer.Clamp(5, 3.0), steer.Scale(9, 3.0, positions="1:"), steer.Add(20, 1.5)]
FORMULAE = [
    PlainEdit(5, "clamp", 3.0),
    PlainEdit(9, "scale", 3.0, lambda position, prompt: position >= 1),
    PlainEdit(20, "add", 1.5),
]


def by_hand(family: str, given: Any, drop: bool) -> PlainSite:
    alone: Any = TokenByToken(given)
    return PlainSite(*path_of(family, "resid_post.1"), alone, FORMULAE, drop)


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("k", [None, 8])
def test_features_are_those_of_the_loops(normalisation: str, k: int | None) -> None:
    given = temporal(normalisation=normalisation, k=k)
    x = torch.randn(1, 9, tiny.D, generator=torch.Generator().manual_seed(2))
    (ours, norm), (theirs, by_loop) = given.encode_texts(x), TokenByToken(given).encode(x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        given.decode(ours, norm), TokenByToken(given).decode(theirs, by_loop), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_padded_logits_are_those_of_each_text_alone(
    family: str, normalisation: str, error: Any
) -> None:
    model, given = tiny.tiny_model(family), temporal(normalisation=normalisation)
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans([steer.Intervention("tiny", EDITS, error)], [given])
    ours, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    for row, real in enumerate(mask.bool()):
        alone = ids[row : row + 1, real]
        site = by_hand(family, given, error == "drop")
        theirs = plain.logits(tiny.plain_model(family), alone, sites=[site])
        torch.testing.assert_close(ours[row, real], theirs[0], atol=5e-5, rtol=1e-4)
        clean = plain.logits(tiny.plain_model(family), alone)
        assert (theirs - clean).abs().max() > 1e-3


def test_nothing_changes_where_nothing_is_asked(llama: steer.Model) -> None:
    given = temporal()
    ids, mask = llama.tokenize(list(PROMPTS))
    span = llama.span(ids, mask)
    plans = llama.plans([steer.Intervention("tiny", [steer.Scale(5, 1.0)])], [given])
    clean, _ = passes.logits(llama.nn, ids, span, [])
    same, _ = passes.logits(llama.nn, ids, span, plans)
    assert torch.equal(clean, same)


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_generated_tokens_are_those_of_a_plain_loop(
    family: str, use_cache: bool, error: Any
) -> None:
    model, given = tiny.tiny_model(family), temporal()
    edit = steer.Intervention("tiny", EDITS, error)
    runs = model.generate_batch(
        list(PROMPTS), [edit], temperature=0, max_new_tokens=6, dictionaries=[given],
        use_cache=use_cache,
    )  # fmt: skip
    for prompt, run in zip(PROMPTS, runs, strict=True):
        ids, _ = model.tokenize([prompt])
        site = by_hand(family, given, error == "drop")
        theirs = plain.greedy(tiny.plain_model(family), ids, 6, [site], eos=tiny.EOS)
        assert list(run.ids[: len(theirs)]) == theirs


def test_receipts_do_not_depend_on_the_cache(llama: steer.Model) -> None:
    edit = steer.Intervention("tiny", [*EDITS, steer.Ablate(3, when=steer.Active(9))])
    first, second = (
        llama.generate(PROMPT, edit, temperature=0, max_new_tokens=5, dictionaries=[temporal()],
                       use_cache=use, if_silent="ignore")
        for use in (True, False)
    )  # fmt: skip
    for one, other in zip(first.receipt, second.receipt, strict=True):
        assert one.acted_tokens == other.acted_tokens
        assert one.reached is None
        if one.acted:
            assert one.before == pytest.approx(other.before, abs=1e-4)


def test_features_and_patches_read_whole_prompts(llama: steer.Model) -> None:
    given = temporal()
    ids, mask = llama.tokenize([PROMPT])
    x = llama.collect(ids, mask, ["resid_post.1"])["resid_post.1"]
    expected = TokenByToken(given).encode(x)[0][0]
    read = llama.features(PROMPT, given).activations
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)
    feature = int(expected[1:].amax(0).argmax())
    (plan,) = llama.plans([steer.Intervention("tiny", [steer.Patch(feature, PROMPT)])], [given])
    table = plan.edits[0].table
    assert table is not None
    torch.testing.assert_close(table[:-1], expected[:, feature], atol=1e-5, rtol=1e-5)


def test_frozen_error_is_that_of_the_clean_text(llama: steer.Model) -> None:
    """With no change of a feature, the frozen error gives the clean logits back."""
    still = steer.Intervention("tiny", [steer.Scale(5, 1.0)], error="frozen")
    effect = steer.logit_effect(
        llama, list(PROMPTS), still, dictionaries=[temporal()], if_silent="ignore"
    )
    assert effect.frame["kl"].abs().max() < 1e-6


def test_a_text_that_was_not_seen_from_its_start(llama: steer.Model) -> None:
    ids = torch.tensor([[5]])
    span = Span.prefill(torch.tensor([[3, 4]]), torch.ones(1, 2)).step(1, ids)
    with pytest.raises(steer.InterventionError, match="from the start"):
        encode(temporal(), torch.zeros(1, 1, tiny.D), span, {}, 0)


def test_a_check_reads_whole_texts(llama: steer.Model) -> None:
    given = temporal()
    checked = check(llama, given, ["w5 w6 w7 w8 w9 w10 w11 w12"] * 20)
    assert checked.as_loaded.l0 == pytest.approx(8, abs=0.5)
    assert checked.hookpoint == "resid_post.1"


def test_what_takes_tokens_alone_says_so(llama: steer.Model) -> None:
    with pytest.raises(steer.DictionaryError, match="reads whole texts"):
        attribution(llama, PROMPT, temporal(), "loss")


def test_statistics_are_of_whole_contexts(llama: steer.Model) -> None:
    given, texts = temporal(), ["w5 w6 w7 w8 w9 w10 w11 w12 w13"] * 16
    statistics = feature_statistics(llama, given, texts, context=24)
    ids = contexts(llama, texts, context=24)
    x = llama.collect(ids, torch.ones_like(ids), ["resid_post.1"])["resid_post.1"]
    keep = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[0]
    features = torch.cat([TokenByToken(given).encode(row.unsqueeze(0))[0] for row in x])
    torch.testing.assert_close(statistics.maximum, features[keep].amax(0), atol=1e-4, rtol=1e-4)
    shown = statistics.context_activations.amax((1, 2))
    torch.testing.assert_close(shown, statistics.maximum)  # the windows are of the same encoding
