"""Transcoders read one site and write another, in every family, against plain hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.architectures import JumpReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.splice import passes
from tests.support import plain, tiny
from tests.support.plain import Plain, PlainEdit, PlainSite, PlainTranscoder, path_of
from tests.support.tiny import PROMPT, PROMPTS, WIDTH, D

PAIRS = [
    ("mlp_in.1", "mlp_out.1"),
    ("resid_mid.1", "mlp_out.1"),
    ("resid_mid.0", "resid_post.1"),
    ("resid_pre.1", "mlp_out.1"),
    ("mlp_in.0", "mlp_out.2"),
]
FAMILY_PAIRS = [
    (family, *pair)
    for family in tiny.FAMILIES
    for pair in PAIRS
    if pair[0].split(".")[0] in plain.SITES[family]
]
every_pair = pytest.mark.parametrize(("family", "read", "write"), FAMILY_PAIRS)


def transcoder(read: str, write: str, name: str = "tiny", normalisation: str = "none") -> JumpReLU:
    """A random skip transcoder."""
    generator = torch.Generator().manual_seed(11)
    given = tiny.dictionary(read, seed=6)
    config = DictionaryConfig(
        D, WIDTH, read, normalisation=normalisation, d_out=D, hookpoint_out=write
    )
    return JumpReLU(
        W_enc=given.W_enc,
        b_enc=given.b_enc,
        W_dec=given.W_dec.flip(0),
        b_dec=given.b_dec,
        config=config,
        name=name,
        statistics=given.statistics,
        threshold=torch.full((WIDTH,), 0.05),
        W_skip=torch.randn(D, D, generator=generator) / D**0.5,
    )


def by_hand(
    family: str, given: Dictionary, edits: Sequence[PlainEdit], drop: bool
) -> PlainTranscoder:
    read, write = str(given.config.hookpoint), str(given.config.hookpoint_out)
    return PlainTranscoder(path_of(family, read), path_of(family, write), given, edits, drop)


EDITS = [steer.Clamp(5, 3.0), steer.Scale(9, 3.0, positions="1:"), steer.Ablate(20)]
FORMULAE = [
    PlainEdit(5, "clamp", 3.0),
    PlainEdit(9, "scale", 3.0, lambda position, prompt: position >= 1),
    PlainEdit(20, "ablate"),
]


@pytest.mark.parametrize("error", ["keep", "drop"])
@every_pair
def test_logits_are_those_of_two_plain_hooks(
    family: str, read: str, write: str, error: Any
) -> None:
    model, given = tiny.tiny_model(family), transcoder(read, write)
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans([steer.Intervention("tiny", EDITS, error)], [given])
    ours, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    site = by_hand(family, given, FORMULAE, error == "drop")
    theirs = plain.logits(tiny.plain_model(family), ids, mask, [site])
    real = mask.bool()
    torch.testing.assert_close(ours[real], theirs[real], atol=2e-5, rtol=1e-5)
    untouched = plain.logits(tiny.plain_model(family), ids, mask)
    assert (ours - untouched)[real].abs().max() > 1e-3


@pytest.mark.parametrize("error", ["keep", "drop"])
@every_pair
def test_generated_tokens_are_those_of_two_plain_hooks(
    family: str, read: str, write: str, error: Any
) -> None:
    model, given = tiny.tiny_model(family), transcoder(read, write)
    run = model.generate(
        PROMPT,
        steer.Intervention("tiny", EDITS, error),
        dictionaries=[given],
        max_new_tokens=6,
        temperature=0,
        if_silent="ignore",
    )
    ids, module = model.tokenize([PROMPT])[0], tiny.plain_model(family)
    site = by_hand(family, given, FORMULAE, error == "drop")
    assert list(run.ids) == plain.greedy(module, ids, 6, [site], tiny.EOS)
    assert list(run.baseline.ids) == plain.greedy(module, ids, 6, eos=tiny.EOS)
    assert run.receipt[0].acted


def test_a_transcoder_between_dictionaries_of_other_layers(family: str) -> None:
    """Out of order, and the transcoder's output site is read by another dictionary."""
    model, module = tiny.tiny_model(family), tiny.plain_model(family)
    across = transcoder("mlp_in.0", "mlp_out.1", "across")
    later = replace(tiny.dictionary("resid_post.2"), name="later")
    same = replace(tiny.dictionary("mlp_out.1", "standard", seed=8), name="same")
    names, clamp = ("later", "across", "same"), [PlainEdit(5, "clamp", 3.0)]
    given: list[Dictionary] = [later, across, same]
    edits = [steer.Intervention(name, [steer.Clamp(5, 3.0)]) for name in names]
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans(edits, given)
    ours, records = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    # `same` reads its site before `across` writes there: its hook has to run first.
    sites: list[Plain] = [
        PlainSite(*path_of(family, "mlp_out.1"), same, clamp),
        by_hand(family, across, clamp, drop=False),
        PlainSite(*path_of(family, "resid_post.2"), later, clamp),
    ]
    torch.testing.assert_close(ours, plain.logits(module, ids, mask, sites), atol=2e-5, rtol=1e-5)
    options: dict[str, Any] = {"max_new_tokens": 5, "temperature": 0}
    run = model.generate(PROMPT, edits, dictionaries=given, **options)
    assert list(run.ids) == plain.greedy(module, ids, 5, sites, tiny.EOS)
    assert [entry.dictionary for entry in run.receipt] == list(names)
    assert len(records) == 3


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("normalisation", ["constant_norm_rescale", "layer_norm"])
def test_a_norm_of_the_input_is_not_undone_at_the_output(
    normalisation: str, error: Any, llama: steer.Model
) -> None:
    given = transcoder("resid_mid.1", "mlp_out.1", normalisation=normalisation)
    ids, mask = llama.tokenize([PROMPT])
    plans = llama.plans([steer.Intervention("tiny", EDITS, error)], [given])
    ours, _ = passes.logits(llama.nn, ids, llama.span(ids, mask), plans)
    site = by_hand("llama", given, FORMULAE, error == "drop")
    theirs = plain.logits(tiny.plain_model("llama"), ids, mask, [site])
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_the_frozen_error_of_a_transcoder_is_of_its_clean_input(llama: steer.Model) -> None:
    """Edit what goes in and freeze the error: y = reconstruct(x) + y_clean - reconstruct(x_clean).

    The error of the clean run is known from what went in there, not from what came out.
    """
    early = replace(tiny.dictionary("resid_post.0"), name="early")
    given = transcoder("mlp_in.1", "mlp_out.1")
    edits = [
        steer.Intervention("early", [steer.Clamp(3, 4.0)]),
        steer.Intervention("tiny", [], "frozen"),
    ]
    ids, mask = llama.tokenize([PROMPT, PROMPT])
    plans = llama.plans(edits, [early, given], rows=slice(1, 2), clean=slice(0, 1))
    module = llama.module
    with (
        plain.recorded(module.model.layers[1].post_attention_layernorm) as read,
        plain.recorded(plain.final_norm(module)) as _,
        plain.recorded(module.model.layers[1], "output") as after,
        plain.recorded(module.model.layers[1].post_attention_layernorm, "input") as middle,
    ):
        passes.logits(llama.nn, ids, llama.span(ids, mask), plans)
    clean_site = llama.collect(ids[:1], mask[:1], ["mlp_out.1"])["mlp_out.1"]
    x = read[-1]
    wanted = given.reconstruct(x[1]) + clean_site[0] - given.reconstruct(x[0])
    torch.testing.assert_close((after[-1] - middle[-1])[1], wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close((after[-1] - middle[-1])[0], clean_site[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (steer.AddDirection(steer.Random(1), 2.0), "on the hookpoint 'mlp_out.1'"),
        (steer.ProjectOut(steer.DecoderRow("tiny", 3)), "on the hookpoint 'mlp_out.1'"),
        (steer.Clamp(3, "0.5x norm"), "norm of what it writes to is not known"),
    ],
)
def test_what_needs_a_single_site_is_refused(
    edit: steer.Edit, why: str, llama: steer.Model
) -> None:
    given = transcoder("mlp_in.1", "mlp_out.1")
    with pytest.raises(steer.InterventionError, match=why):
        llama.plans([steer.Intervention("tiny", [edit])], [given])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hookpoint_out": None}, "does not say which site it writes"),
        ({"hookpoint_out": "mlp_hidden.1"}, "writes a site of width 32, .* has width 40"),
        ({"hookpoint_out": "mlp_out.0"}, "comes before it in the forward pass"),
    ],
)
def test_a_transcoder_that_does_not_fit(
    changes: dict[str, Any], why: str, llama: steer.Model
) -> None:
    given = transcoder("mlp_in.1", "mlp_out.1")
    wrong = replace(given, config=replace(given.config, **changes))
    with pytest.raises(steer.DictionaryError, match=why):
        llama.plans([steer.Intervention("tiny", EDITS)], [wrong])
