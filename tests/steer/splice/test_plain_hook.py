"""The engine is a plain PyTorch hook (O33), and sampling is transformers' own (O28)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from tests.support import plain, tiny
from tests.support.passes import SITE, by_hand, close, intervention, steered
from tests.support.plain import PlainEdit, PlainSite
from tests.support.tiny import PROMPT, PROMPTS

Both = tuple[list[steer.Edit], list[PlainEdit]]
EDITS: dict[str, Callable[[int, int], Both]] = {
    "ablate": lambda f, g: ([steer.Ablate(f)], [PlainEdit(f, "ablate")]),
    "clamp": lambda f, g: ([steer.Clamp(f, 3)], [PlainEdit(f, "clamp", 3)]),
    "scale": lambda f, g: ([steer.Scale(f, 2.5)], [PlainEdit(f, "scale", 2.5)]),
    "add": lambda f, g: ([steer.Add(f, 1.5)], [PlainEdit(f, "add", 1.5)]),
    "floor": lambda f, g: ([steer.Floor(f, 2)], [PlainEdit(f, "floor", 2)]),
    "cap": lambda f, g: ([steer.Cap(f, 1e-3)], [PlainEdit(f, "cap", 1e-3)]),
    "several": lambda f, g: (
        [steer.Clamp(f, 3, positions=-1), steer.Ablate(g), steer.Add(40, 1, positions=[0, 1])],
        [
            PlainEdit(f, "clamp", 3, lambda position, prompt: position == prompt - 1),
            PlainEdit(g, "ablate"),
            PlainEdit(40, "add", 1, lambda position, prompt: position < 2),
        ],
    ),
}
FAMILY_SITES = [(family, f"{kind}.1") for family in tiny.FAMILIES for kind in plain.SITES[family]]


@pytest.mark.parametrize(
    ("name", "error"), [*((name, "keep") for name in EDITS), ("several", "drop")]
)
@pytest.mark.parametrize(("family", "hookpoint"), FAMILY_SITES)
def test_o33_the_engine_is_a_plain_hook(family: str, hookpoint: str, name: str, error: str) -> None:
    model, module = tiny.tiny_model(family), tiny.plain_model(family)
    sae = tiny.dictionary(hookpoint, d=tiny.site_width(model, hookpoint))
    edits, by_formula = EDITS[name](*tiny.active_features(model, sae)[:2])
    site = PlainSite(*plain.path_of(family, hookpoint), sae, by_formula, drop=error == "drop")
    ours = steered(model, intervention(*edits, error=error), sae, PROMPTS)
    theirs = by_hand(module, model, site, prompts=PROMPTS)
    close(ours.logits[ours.real], theirs.logits[ours.real])
    assert all(entry.acted for entry in ours.receipts[0])


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize(("family", "hookpoint"), FAMILY_SITES)
def test_o33_the_same_tokens(family: str, hookpoint: str, error: str) -> None:
    model, module = tiny.tiny_model(family), tiny.plain_model(family)
    sae = tiny.dictionary(hookpoint, d=tiny.site_width(model, hookpoint))
    edit, by_formula = intervention(steer.Clamp(5, 9), error=error), [PlainEdit(5, "clamp", 9)]
    run = model.generate(PROMPT, edit, dictionaries=[sae], max_new_tokens=6, temperature=0)
    path = plain.path_of(family, hookpoint)
    site = PlainSite(*path, sae, by_formula, drop=error == "drop")
    ids = model.tokenize([PROMPT])[0]
    assert list(run.ids) == plain.greedy(module, ids, 6, [site], tiny.EOS)
    assert list(run.baseline.ids) == plain.greedy(module, ids, 6, eos=tiny.EOS)


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("error", ["keep", "drop"])
def test_o33_of_each_architecture(
    architecture: str, normalisation: str, error: str, llama: steer.Model
) -> None:
    sae = tiny.dictionary(SITE, architecture, normalisation=normalisation)
    edits, by_formula = EDITS["several"](5, 9)
    path = plain.path_of("llama", SITE)
    site = PlainSite(*path, sae, by_formula, drop=error == "drop")
    ours = steered(llama, intervention(*edits, error=error), sae)
    close(ours.logits, by_hand(tiny.plain_model("llama"), llama, site).logits)


def test_o33_several_sites_in_one_run(model: steer.Model, untouched: Any, family: str) -> None:
    names = ("resid_post.2", "mlp_out.0", "resid_pre.1")  # not in the order of the forward pass
    saes = [replace(tiny.dictionary(name), name=name) for name in names]
    edits = [steer.Intervention(name, [steer.Clamp(5, 3)]) for name in names]
    sites = [
        PlainSite(*plain.path_of(family, name), sae, [PlainEdit(5, "clamp", 3)])
        for name, sae in zip(names, saes, strict=True)
    ]
    run = model.generate(PROMPT, edits, dictionaries=saes, max_new_tokens=5, temperature=0)
    ids = model.tokenize([PROMPT])[0]
    assert list(run.ids) == plain.greedy(untouched, ids, 5, sites, tiny.EOS)
    assert [entry.dictionary for entry in run.receipt] == list(names)
    assert all(entry.acted for entry in run.receipt)
    close(steered(model, edits, saes).logits, by_hand(untouched, model, *sites).logits)


SAMPLINGS: dict[str, dict[str, Any]] = {
    "plain": {"temperature": 1.0},
    "cool": {"temperature": 0.7},
    "nucleus": {"temperature": 1.3, "top_p": 0.8},
    "top-k": {"temperature": 0.9, "top_k": 7},
    "all": {"temperature": 0.8, "top_k": 30, "top_p": 0.9, "repetition_penalty": 1.2},
    "further": {"temperature": 1.1, "min_p": 0.02, "no_repeat_ngram_size": 1, "min_new_tokens": 7},
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
@pytest.mark.parametrize("seed", [0, 1])
def test_o28_a_seed_gives_the_text_that_transformers_gives(
    sampling: dict[str, Any], seed: int, model: steer.Model, untouched: Any
) -> None:
    ids = model.tokenize([PROMPT])[0]
    options = {"top_k": 0, "top_p": 1.0, **sampling}
    torch.manual_seed(seed)
    expected = untouched.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=8, **options
    )[0, ids.shape[1] :].tolist()
    run = model.generate(
        PROMPT,
        intervention(steer.Scale(5, 1), steer.Clamp(6, 9, positions=30)),
        dictionaries=[tiny.dictionary(SITE)],
        max_new_tokens=8,
        seed=seed,
        if_silent="ignore",
        **sampling,
    )
    assert list(run.ids) == list(run.baseline.ids) == expected
    assert run.text == run.baseline.text == model.tokenizer.decode(expected, True)


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
def test_padding_of_zeros_is_no_number_to_divide_by(normalisation: str) -> None:
    """Its embedding is zeros there: what was made of it was NaN, and so was every row with it."""
    llama = tiny.tiny_model("llama")
    assert not llama.module.get_input_embeddings().weight[tiny.PAD].any()
    dictionary = tiny.dictionary("resid_pre.0", normalisation=normalisation)
    edit = steer.Intervention("tiny", [steer.Add(5, 2.0)])
    together = steer.logit_effect(llama, tiny.PROMPTS, edit, dictionaries=[dictionary], draws=0)
    for number, prompt in enumerate(tiny.PROMPTS):
        alone = steer.logit_effect(llama, prompt, edit, dictionaries=[dictionary], draws=0)
        assert torch.allclose(together.delta_logit[number], alone.delta_logit[0], atol=2e-5)
