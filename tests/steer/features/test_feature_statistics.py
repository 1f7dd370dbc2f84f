"""Statistics of any dictionary on any texts, neighbours, and features that tell prompts apart."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from dictionaries import catalogue
from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.neighbours import nearest
from dictionaries.training.activations import keep_mask
from steer.errors import DictionaryError, PromptError
from steer.features.contexts import contexts
from steer.features.contrast import feature_contrast
from steer.jobs.statistics import feature_statistics
from tests.support import tiny

SITE = "resid_post.1"


def texts(seed: int, n: int = 3, words: range = range(3, tiny.VOCABULARY)) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(f"w{w}" for w in draw.choices(words, k=200)) for _ in range(n)]


def measured(model: steer.Model, sae: Dictionary) -> FeatureStatistics:
    return feature_statistics(model, sae, texts(1), context=32, corpus="made up")


def activations(model: steer.Model, sae: Dictionary) -> torch.Tensor:
    """[kept, width] of the calibration texts, by one plain pass each."""
    ids = contexts(model, texts(1), 10_000, 32)
    x = torch.cat([model.collect(row, torch.ones_like(row), [SITE])[SITE] for row in ids.split(1)])
    return sae.encode(x[keep_mask(x.norm(dim=-1), 4.0)[0]])[0]


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_o31_the_maximum_is_that_of_the_corpus(llama: steer.Model, architecture: str) -> None:
    sae = tiny.dictionary(SITE, architecture, with_statistics=False)
    statistics = measured(llama, sae)
    seen = activations(llama, sae)
    torch.testing.assert_close(statistics.maximum, seen.amax(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(statistics.density, (seen > 0).float().mean(0), atol=2e-3, rtol=0)
    assert statistics.tokens == len(seen)
    assert torch.equal(measured(llama, sae).maximum, statistics.maximum)


def test_kept_beside_the_dictionary_they_give_doses(llama: steer.Model, tmp_path: Path) -> None:
    sae = tiny.dictionary(SITE, with_statistics=False)
    catalogue.save(sae, tmp_path / "sae")
    statistics = measured(llama, sae)
    statistics.save(tmp_path / "sae")
    loaded = catalogue.load(tmp_path / "sae")
    assert loaded.statistics is not None
    assert (loaded.statistics.tokens, loaded.statistics.corpus) == (statistics.tokens, "made up")
    feature = int(statistics.maximum.argmax())
    edit = steer.Intervention(str(tmp_path / "sae"), [steer.Clamp(feature, "2x max")])
    run = llama.generate(tiny.PROMPT, edit, max_new_tokens=1)
    (entry,) = run.receipt
    assert entry.after == pytest.approx(2 * statistics.maximum[feature].item(), rel=1e-3)


def test_contexts_are_of_the_corpus_and_tokens_of_the_decoder(llama: steer.Model) -> None:
    sae = tiny.dictionary(SITE, with_statistics=False)
    statistics = measured(llama, sae)
    words = {f"<{token}>" for text in texts(1) for token in text.split()}
    shown = statistics.contexts[statistics.contexts >= 0].unique().tolist()
    assert {f"<{llama.token(token)}>" for token in shown} <= words
    assert statistics.promoted.shape == (tiny.WIDTH, 10)
    hidden = tiny.dictionary("mlp_hidden.1", d=40, with_statistics=False)
    assert not feature_statistics(llama, hidden, texts(1)).promoted.numel()


def test_one_file_has_its_own_statistics(tmp_path: Path) -> None:
    (tmp_path / "layer1.sae.pt").touch()
    given = tiny.statistics(tiny.WIDTH)
    given.save(tmp_path / "layer1.sae.pt")
    assert FeatureStatistics.load(tmp_path) is None
    read = FeatureStatistics.load(tmp_path / "layer1.sae.pt")
    assert read is not None
    assert torch.equal(read.maximum, given.maximum)


def test_too_little_text_and_other_models(llama: steer.Model) -> None:
    with pytest.raises(PromptError, match="3 tokens; at least"):
        feature_statistics(llama, tiny.dictionary(SITE), ["w3 w4 w5"])
    with pytest.raises(DictionaryError, match="width 16"):
        feature_statistics(llama, tiny.dictionary(SITE, d=16), texts(1))


# -- neighbours --------------------------------------------------------------------------------


def test_neighbours_are_the_largest_cosines() -> None:
    sae = tiny.dictionary(SITE)
    rows = sae.W_dec * torch.linspace(0.5, 4, tiny.WIDTH)[:, None]
    rows[9] = 0
    sae = replace(sae, W_dec=rows)
    neighbours = nearest(sae, 5, 4)
    cosines = torch.nn.functional.cosine_similarity(rows, rows[5:6]).tolist()
    expected = sorted((i for i in range(tiny.WIDTH) if i not in (5, 9)), key=lambda i: -cosines[i])
    assert [each.feature for each in neighbours] == expected[:4]
    assert [each.cosine for each in neighbours] == pytest.approx([cosines[i] for i in expected[:4]])
    assert len(nearest(sae, 5, 1000)) == tiny.WIDTH - 2
    with pytest.raises(DictionaryError, match="out of range"):
        nearest(sae, tiny.WIDTH)


# -- contrast ----------------------------------------------------------------------------------

FIRST = [f"w{20 + i}" + 7 * " w7" for i in range(8)]
SECOND = [f"w{20 + i}" + 7 * " w60" for i in range(8)]
"""The same first words, and another after them."""


UNEVEN = [f"w{20 + i}" + (9 - i) * " w7" for i in range(5)]


@pytest.mark.parametrize("per", ["mean", "max", "last"])
@pytest.mark.parametrize("first", [FIRST, UNEVEN], ids=["even", "uneven"])
def test_what_is_compared(family: str, first: list[str], per: Any) -> None:
    """Every prompt counts as if it were read alone."""
    model, sae = tiny.tiny_model(family), tiny.dictionary(SITE)
    contrast = feature_contrast(model, sae, first, SECOND, per=per)
    for row in contrast.features[:6]:
        for prompts, mean in ((first, row.first), (SECOND, row.second)):
            values = [model.features(p, sae).activations[:, row.feature] for p in prompts]
            each = {
                "mean": [v[1:].mean() for v in values],
                "max": [v[1:].max() for v in values],
                "last": [v[-1] for v in values],
            }[per]
            assert mean == pytest.approx(torch.stack(each).mean().item(), rel=1e-4, abs=1e-5)
        assert row.difference == pytest.approx(row.first - row.second)
        assert row.low <= row.difference <= row.high
    order = [(row.p, -abs(row.difference)) for row in contrast.features]
    assert order == sorted(order)
    assert contrast.to_frame().shape == (contrast.tested, 8)


def test_sets_that_differ_and_sets_that_don_t(llama: steer.Model) -> None:
    sae = tiny.dictionary(SITE)
    apart = feature_contrast(llama, sae, FIRST, SECOND, per="last")
    assert apart.features[0].q < 0.05
    assert apart.features[0].low * apart.features[0].high > 0
    mixed = FIRST[::2] + SECOND[::2], FIRST[1::2] + SECOND[1::2]
    alike = feature_contrast(llama, sae, *mixed, per="last")
    assert min(row.q for row in alike.features) > 0.2


def test_p_of_two_against_two_is_exact(llama: steer.Model) -> None:
    """Of six ways to split four prompts, at most two are as extreme as complete separation."""
    contrast = feature_contrast(llama, tiny.dictionary(SITE), FIRST[:2], SECOND[:2], per="last")
    low = min(row.p for row in contrast.features)
    assert low == pytest.approx(2 / math.comb(4, 2), abs=0.03)


def test_swapping_the_sets_turns_the_sign(llama: steer.Model) -> None:
    sae = tiny.dictionary(SITE)
    one, other = (
        feature_contrast(llama, sae, *sets) for sets in ((FIRST, SECOND), (SECOND, FIRST))
    )
    turned = {row.feature: -row.difference for row in other.features}
    assert {row.feature: row.difference for row in one.features} == pytest.approx(turned)


@pytest.mark.parametrize(
    ("first", "per", "reason"),
    [(["w3"], "mean", "two prompts"), ("w3 w4", "mean", "two prompts"), (FIRST, "sum", "allowed")],
)
def test_bad_contrasts(first: Any, per: Any, reason: str, llama: steer.Model) -> None:
    with pytest.raises(PromptError, match=reason):
        feature_contrast(llama, tiny.dictionary(SITE), first, SECOND, per=per)
