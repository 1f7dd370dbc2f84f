"""Laws of the splice, on a tiny random model of each family. O-numbers name the oracles.

Nothing of the splice's inside is used: what a run did is read off the model by plain hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.architectures import ReLU
from dictionaries.base import Dictionary
from dictionaries.errors import NotSeparableError
from steer.positions import Positions
from tests import plain, tiny
from tests.plain import PlainEdit, PlainSite, Touches
from tests.tiny import PROMPT, PROMPTS

SITE = "resid_post.1"


@dataclass(frozen=True, eq=False)
class Pass:
    """Of n prompts: logits [n, s, V], the input of block 2 [n, s, d], real tokens [n, s]."""

    logits: Tensor
    residual: Tensor
    real: Tensor
    receipts: tuple[steer.Receipt, ...] = ()


def intervention(*edits: steer.Edit, error: Any = "keep") -> steer.Intervention:
    return steer.Intervention("tiny", edits, error)


@contextmanager
def watched(module: Any) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
    """Logits and the input of block 2, of the second half of the last batch that was run."""

    def seen() -> tuple[Tensor, Tensor]:
        half = len(hidden[-1]) // 2
        with torch.no_grad():
            logits = module.get_output_embeddings()(hidden[-1][half:])
        return logits, residual[-1][half:]

    norm, block = plain.final_norm(module), plain.block(module, 2)
    with plain.recorded(norm) as hidden, plain.recorded(block, "input") as residual:
        yield seen


def steered(
    model: steer.Model,
    interventions: steer.Intervention | Sequence[steer.Intervention],
    saes: Dictionary | Sequence[Dictionary],
    prompts: Sequence[str] = (PROMPT,),
) -> Pass:
    """What the model did with the prompts under the edits; they are the second half of a batch."""
    given = [saes] if isinstance(saes, Dictionary) else saes
    with watched(model.module) as seen:
        runs = model.generate_batch(
            prompts, [interventions], max_new_tokens=1, dictionaries=given, if_silent="ignore"
        )
    real = model.tokenize(list(prompts))[1].bool()
    return Pass(*seen(), real, tuple(run.receipt for run in runs))


def by_hand(
    module: Any, model: steer.Model, *sites: PlainSite, prompts: Sequence[str] = (PROMPT,)
) -> Pass:
    """The same of a plain model, in a batch of the same size; untouched if there are no sites."""
    ids, mask = model.tokenize([*prompts, *prompts])
    with watched(module) as seen:
        plain.logits(module, ids, mask, sites)
    return Pass(*seen(), mask[len(prompts) :].bool())


def same(one: Pass, other: Pass) -> bool:
    """Bit-equal at every real token."""
    real = one.real
    return torch.equal(one.logits[real], other.logits[real]) and torch.equal(
        one.residual[real], other.residual[real]
    )


def hooks(module: torch.nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


# -- nothing changes ---------------------------------------------------------------------------


def test_o1_asking_for_what_is_there_is_bit_equal(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    features = tiny.active_features(model, sae)[:4]
    probe = [steer.Clamp(f, 9.0, positions=p) for f in features for p in range(6)]
    found = steered(model, intervention(*probe), sae)
    before = [entry.tokens[0].before for entry in found.receipts[0]]
    what_is = [replace(edit, value=value) for edit, value in zip(probe, before, strict=True)]
    clean = by_hand(untouched, model)
    assert same(steered(model, intervention(*what_is), sae), clean)
    assert not same(found, clean)


NO_OPS = {
    "scale 1": steer.Scale(5, 1),
    "add 0": steer.Add(5, 0),
    "floor below": steer.Floor(5, -1),
    "cap above": steer.Cap(5, 1e9),
    "no such position": steer.Clamp(5, 9, positions=40),
    "empty slice": steer.Clamp(5, 9, positions=slice(3, 3)),
}


@pytest.mark.parametrize("edit", NO_OPS.values(), ids=NO_OPS.keys())
def test_o5_no_ops_are_bit_equal(edit: steer.Edit, model: steer.Model, untouched: Any) -> None:
    found = steered(model, intervention(edit), tiny.dictionary(SITE), PROMPTS)
    assert same(found, by_hand(untouched, model, prompts=PROMPTS))


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o5_no_ops_of_each_architecture(architecture: str, llama: steer.Model) -> None:
    found = steered(llama, intervention(steer.Scale(5, 1)), tiny.dictionary(SITE, architecture))
    assert same(found, by_hand(tiny.plain_model("llama"), llama))


def test_o5_no_interventions_at_all(model: steer.Model, untouched: Any) -> None:
    assert same(steered(model, [], []), by_hand(untouched, model))


def test_o5_a_run_leaves_the_model_as_it_was(model: steer.Model, untouched: Any) -> None:
    before, clean = hooks(model.module), by_hand(untouched, model)
    sae, edit = tiny.dictionary(SITE), intervention(steer.Clamp(5, 9))
    assert not same(steered(model, edit, sae), clean)
    model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[sae])
    assert hooks(model.module) == before
    assert same(by_hand(model.module, model), clean)


class Broken(ReLU):
    """Raises in the middle of a forward pass."""

    def activate(self, pre: Tensor) -> Tensor:
        raise ArithmeticError("broken on purpose")


def test_o5_an_exception_in_a_run_leaves_the_model_as_it_was(
    model: steer.Model, untouched: Any
) -> None:
    before, clean = hooks(model.module), by_hand(untouched, model)
    sae, edit = tiny.dictionary(SITE, "standard"), intervention(steer.Clamp(5, 9))
    broken = Broken(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, sae.config, "tiny")
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        steered(model, edit, broken)
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[broken])
    assert hooks(model.module) == before
    assert same(by_hand(model.module, model), clean)
    run = model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[sae])
    assert run.receipt[0].acted


# -- what changes is (f' - f) W_dec ------------------------------------------------------------


def moved_by(model: steer.Model, untouched: Any, sae: Dictionary, *edits: steer.Edit) -> Tensor:
    """What the edits add to the residual after block 1, [1, s, d]."""
    edited = steered(model, intervention(*edits), sae)
    return edited.residual - by_hand(untouched, model).residual


def test_o2_the_error_is_of_the_clean_code(model: steer.Model, untouched: Any) -> None:
    edited = steered(model, intervention(steer.Clamp(5, "5x max")), tiny.dictionary(SITE))
    assert (edited.logits - by_hand(untouched, model).logits).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o3_one_row_is_the_full_route(
    architecture: str, model: steer.Model, untouched: Any
) -> None:
    sae, x = tiny.dictionary(SITE, architecture), by_hand(untouched, model).residual
    ours = steered(model, intervention(steer.Clamp(5, 4.0)), sae).residual
    features, norm = sae.encode(x)
    clamped = features.clone()
    clamped[..., 5] = 4.0
    full = sae.decode(clamped, norm) + (x - sae.decode(features, norm))
    close(ours, full, 1e-6 * x.abs().max().item())
    close(ours, x + (4.0 - features[..., 5:6]) * sae.W_dec[5], 1e-6 * x.abs().max().item())


def test_o4_ablating_or_scaling_a_silent_feature_is_bit_equal(
    model: steer.Model, untouched: Any
) -> None:
    sae, clean = tiny.dictionary(SITE), by_hand(untouched, model)
    silent = tiny.silent_feature(model, sae)
    for edit in (steer.Ablate(silent), steer.Scale(silent, 0), steer.Scale(silent, -30)):
        assert same(steered(model, intervention(edit), sae), clean)


def test_o4_clamping_a_silent_feature_adds_its_row(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    silent = tiny.silent_feature(model, sae)
    moved = moved_by(model, untouched, sae, steer.Clamp(silent, 3.0))
    close(moved, (3.0 * sae.W_dec[silent]).expand_as(moved))


def test_o11_edits_read_the_same_clean_activation(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    edits = [steer.Clamp(5, 4.0), steer.Scale(9, 3), steer.Ablate(11), steer.Add(20, 1)]
    alone = [moved_by(model, untouched, sae, edit) for edit in edits]
    together = moved_by(model, untouched, sae, *edits)
    close(together, torch.stack(alone).sum(0))
    for order in list(permutations(edits))[1:5]:
        close(moved_by(model, untouched, sae, *order), together)


def test_o11_interventions_of_one_site_read_the_same_clean_activation(
    model: steer.Model, untouched: Any
) -> None:
    one = tiny.dictionary(SITE)
    other = replace(tiny.dictionary(SITE, "standard", seed=8), name="other")
    both = [intervention(steer.Clamp(5, 4.0)), steer.Intervention("other", [steer.Ablate(7)])]
    x = by_hand(untouched, model).residual
    alone = [steered(model, each, [one, other]).residual - x for each in both]
    for order in (both, both[::-1]):
        close(steered(model, order, [one, other]).residual - x, alone[0] + alone[1])


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o23_a_plan_reads_what_the_whole_dictionary_does(
    architecture: str, model: steer.Model, untouched: Any
) -> None:
    sae = tiny.dictionary(SITE, architecture)
    found = steered(model, intervention(steer.Clamp(5, 70), steer.Clamp(40, 70)), sae)
    before = [[token.before for token in entry.tokens] for entry in found.receipts[0]]
    whole = sae.encode(by_hand(untouched, model).residual)[0][0, :, [5, 40]].T
    torch.testing.assert_close(torch.tensor(before), whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_o23_ranking_architectures_refuse_a_row(architecture: str) -> None:
    with pytest.raises(NotSeparableError):
        tiny.dictionary(SITE, architecture).restrict([5])


# -- where it changes --------------------------------------------------------------------------


@pytest.mark.parametrize("hookpoint", ["resid_pre.0", SITE, "attn_out.2"])
def test_o6_nothing_before_the_position_changes(
    hookpoint: str, model: steer.Model, untouched: Any
) -> None:
    clean, t = by_hand(untouched, model).logits[0], 3
    edit = intervention(steer.Clamp(5, 30, positions=t))
    edited = steered(model, edit, tiny.dictionary(hookpoint)).logits[0]
    assert torch.equal(edited[:t], clean[:t])
    moved = (edited - clean).abs().amax(-1)
    assert moved[t] > 0
    if hookpoint == "attn_out.2":  # nothing reads it at a later position
        assert not moved[t + 1 :].any()
    else:
        assert (moved[t:] > 0).all()


def keys_and_values(module: Any, layer: int) -> list[Any]:
    """The projections whose outputs are cached."""
    names = ("k_proj", "v_proj", "c_attn", "query_key_value")
    named = plain.block(module, layer).named_modules()
    return [each for name, each in named if name.endswith(names)]


def cached(module: Any, run: Callable[[], object]) -> list[list[Tensor]]:
    """What every layer's projections gave in a run, and what block 0 gave."""
    watched = [[*keys_and_values(module, layer)] for layer in range(3)]
    watched[0].append(plain.block(module, 0))
    with ExitStack() as stack:
        seen = [[stack.enter_context(plain.recorded(m)) for m in layer] for layer in watched]
        run()
    return [[values[-1].tensor_split(2)[1] for values in layer] for layer in seen]


def test_o7_nothing_before_the_site_changes(model: steer.Model, untouched: Any) -> None:
    edit, sae = intervention(steer.Clamp(5, 9)), tiny.dictionary(SITE)
    edited = cached(model.module, lambda: steered(model, edit, sae))
    clean = cached(untouched, lambda: by_hand(untouched, model))
    for layer, pairs in enumerate(zip(edited, clean, strict=True)):
        assert len(pairs[0]) >= 1
        for ours, theirs in zip(*pairs, strict=True):
            assert torch.equal(ours, theirs) == (layer < 2)


PLACES: dict[str, tuple[Positions, Touches]] = {
    "all": ("all", plain.everywhere),
    "prefill only": ("prompt", plain.prompt_only),
    "decoding only": ("generated", plain.generated_only),
    "last": ("last", plain.only_at(5)),
    "in the prompt": (2, plain.only_at(2)),
    "from the end": (-2, plain.only_at(4)),
    "first token read": (6, plain.only_at(6)),
    "later": (9, plain.only_at(9)),
    "slice": (slice(4, 8), lambda position, prompt: 4 <= position < 8),
    "list": ([1, 7], lambda position, prompt: position in (1, 7)),
}


@pytest.mark.parametrize(("positions", "touches"), PLACES.values(), ids=PLACES.keys())
def test_o8_cached_generation_is_the_uncached_loop(
    positions: Positions, touches: Touches, model: steer.Model, untouched: Any, family: str
) -> None:
    sae = tiny.dictionary(SITE)
    edits = [steer.Clamp(5, 9, positions=positions), steer.Scale(9, 3, positions=positions)]
    same_edits = [PlainEdit(5, "clamp", 9, touches), PlainEdit(9, "scale", 3, touches)]
    options: dict[str, Any] = {"max_new_tokens": 7, "temperature": 0, "if_silent": "ignore"}
    with plain.recorded(model.module.get_output_embeddings()) as heads:
        run = model.generate(PROMPT, intervention(*edits), dictionaries=[sae], **options)
    site = PlainSite(*plain.path_of(family, SITE), sae, same_edits)
    ids = model.tokenize([PROMPT])[0]
    assert list(run.ids) == plain.greedy(untouched, ids, 7, [site], tiny.EOS)
    text = torch.cat([ids, torch.tensor([run.ids[:-1]])], dim=1)
    with plain.recorded(untouched.get_output_embeddings()) as again:
        plain.logits(untouched, text, None, [site], prompt=ids.shape[1])
    steps = torch.stack([head[1, -1] for head in heads[: len(run.ids)]])
    close(steps, again[0][0, ids.shape[1] - 1 :])


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("positions", ["all", "last", 1, -1])
def test_o10_a_batch_is_its_rows(
    positions: Positions, error: str, model: steer.Model, untouched: Any
) -> None:
    sae = tiny.dictionary(SITE)
    edit = intervention(steer.Clamp(5, 9, positions=positions), error=error)
    batch, clean = steered(model, edit, sae, PROMPTS), by_hand(untouched, model, prompts=PROMPTS)
    assert torch.equal(batch.residual[~batch.real], clean.residual[~batch.real])
    for row, prompt in enumerate(PROMPTS):
        alone = steered(model, edit, sae, [prompt])
        close(batch.logits[row][batch.real[row]], alone.logits[0])
        assert [e.acted_tokens for e in batch.receipts[row]] == [
            e.acted_tokens for e in alone.receipts[0]
        ]


# -- dtype -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_o25_bf16_is_edited_in_fp32_and_cast_once(error: str, family: str) -> None:
    model, sae = tiny.tiny_model(family, torch.bfloat16), tiny.dictionary(SITE)
    module = tiny.plain_model(family, torch.bfloat16)
    edit = intervention(steer.Clamp(5, 4.0), error=error)
    found, clean = steered(model, edit, sae), by_hand(module, model)
    assert found.residual.dtype == found.logits.dtype == torch.bfloat16
    x = clean.residual.float()
    features, norm = sae.encode(x)
    clamped = features.clone()
    clamped[..., 5] = 4.0
    kept = x - sae.decode(features, norm) if error == "keep" else 0
    exact = sae.decode(clamped, norm) + kept
    ulp = 2.0**-8 * exact.abs().max()
    assert (found.residual.float() - exact).abs().max() <= 2 * ulp
    assert model.generate(PROMPT, edit, max_new_tokens=2, dictionaries=[sae]).dtype == "bfloat16"
    assert same(steered(model, intervention(steer.Scale(5, 1)), sae), clean)


# -- sampling ----------------------------------------------------------------------------------

SAMPLINGS: dict[str, dict[str, Any]] = {
    "plain": {"temperature": 1.0},
    "cool": {"temperature": 0.7},
    "nucleus": {"temperature": 1.3, "top_p": 0.8},
    "top-k": {"temperature": 0.9, "top_k": 7},
    "all": {"temperature": 0.8, "top_k": 30, "top_p": 0.9, "repetition_penalty": 1.2},
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


# -- nnsight against a plain hook --------------------------------------------------------------

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
