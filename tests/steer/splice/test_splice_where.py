"""Laws of where it changes: positions, sites, cache and rows of a batch (O6, O7, O8, O10)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from steer.edits.positions import Positions
from tests.support import plain, tiny
from tests.support.passes import SITE, by_hand, close, intervention, steered
from tests.support.plain import PlainEdit, PlainSite, Touches
from tests.support.tiny import PROMPT, PROMPTS


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
    """What every layer's projections gave in a run's first pass, and what block 0 gave."""
    watched = [[*keys_and_values(module, layer)] for layer in range(3)]
    watched[0].append(plain.block(module, 0))
    with ExitStack() as stack:
        seen = [[stack.enter_context(plain.recorded(m)) for m in layer] for layer in watched]
        run()
    return [[values[0] for values in layer] for layer in seen]


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
    own = [heads[0], *heads[2:]]  # the second pass is that of the baseline's prompt
    steps = torch.stack([head[-1, -1] for head in own[: len(run.ids)]])
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
