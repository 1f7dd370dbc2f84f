"""`CapProjection` and `FloorProjection` against a plain hook, and beside other edits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from steer.edits import Intervention
from steer.errors import InterventionError
from steer.exchange import formats
from steer.splice import passes
from tests.support import plain
from tests.support.tiny import FAMILIES, PROMPTS, dictionary, plain_model, tiny_model

DIRECTION = steer.Random(4)
MIDDLE = 0.3


def unit(d: int) -> Tensor:
    vector = torch.randn(d, generator=torch.Generator().manual_seed(4))
    return vector / vector.norm()


def projections(model: steer.Model) -> Tensor:
    """Of the stream after block 1 on the unit direction, at each token."""
    ids, mask = model.tokenize([PROMPTS[0]])
    (x,) = model.collect(ids, mask, ["resid_post.1"]).values()
    return x[0] @ unit(x.shape[-1])


def between(model: steer.Model) -> float:
    """A value between those of different tokens, so that half are moved and half are not."""
    return projections(model).sort().values[2:4].mean().item()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("kind", "bound"),
    [(steer.CapProjection, torch.minimum), (steer.FloorProjection, torch.maximum)],
)
def test_it_is_what_a_plain_hook_does(
    family: str, kind: type[steer.CapProjection], bound: Callable[[Tensor, Tensor], Tensor]
) -> None:
    model, module, moved = tiny_model(family), plain_model(family), []
    middle = between(model)

    def hook(_: Any, __: Any, output: Any) -> Any:
        x = output if isinstance(output, Tensor) else output[0]
        d = unit(x.shape[-1])
        p = x @ d
        wanted = bound(p, torch.tensor(middle))
        moved.append((wanted != p).double().mean().item())
        changed = x + (wanted - p).unsqueeze(-1) * d
        return changed if isinstance(output, Tensor) else (changed, *output[1:])

    ids, mask = model.tokenize([PROMPTS[0]])
    plans = model.plans([Intervention("resid_post.1", [kind(DIRECTION, middle)])])
    ours, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    handle = plain.block(module, 1).register_forward_hook(hook)
    try:
        with torch.inference_mode():
            theirs = module(input_ids=ids).logits
    finally:
        handle.remove()
    assert 0 < moved[0] < 1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_where_it_acts_and_what_it_reaches() -> None:
    model = tiny_model("llama")
    middle = between(model)
    cap = Intervention("resid_post.1", [steer.CapProjection(DIRECTION, middle)])
    effect = steer.logit_effect(model, PROMPTS[:1], cap, draws=0)
    (entry,) = effect.receipts[0]
    above = (projections(model) > middle).nonzero().flatten().tolist()
    assert list(entry.acted_tokens) == above
    assert [token.after for token in entry.tokens] == pytest.approx([middle] * 3)
    assert all(token.reached is None for token in entry.tokens) or entry.reached == pytest.approx(
        middle, abs=1e-5
    )


def test_a_cap_that_nothing_reaches_leaves_every_bit() -> None:
    model = tiny_model("llama")
    far = Intervention("resid_post.1", [steer.CapProjection(DIRECTION, 1e4)])
    effect = steer.logit_effect(model, PROMPTS, far, draws=0, if_silent="ignore")
    assert not effect.delta_logit.any()
    assert "already what was asked for" in str(effect.receipts[0][0].reason)


def test_a_cap_and_a_floor_of_one_direction_are_in_conflict() -> None:
    both = [steer.CapProjection(DIRECTION, 1.0), steer.FloorProjection(DIRECTION, -1.0)]
    with pytest.raises(InterventionError, match=r"cap_projection .*floor_projection"):
        tiny_model("llama").plans([Intervention("resid_post.1", both)])
    tiny_model("llama").plans([Intervention("resid_post.1", both, conflicts="in_order")])


@pytest.mark.parametrize("kind", [steer.CapProjection, steer.FloorProjection])
def test_json_and_digest(kind: type[steer.CapProjection]) -> None:
    edit = Intervention("resid_post.1", [kind(DIRECTION, "0.5x norm", positions="last")])
    assert Intervention.from_json(edit.to_json()) == edit
    other = Intervention("resid_post.1", [steer.ClampProjection(DIRECTION, "0.5x norm")])
    assert edit.digest != other.digest
    with pytest.raises(InterventionError, match="max"):
        kind(DIRECTION, "2x max")


@pytest.mark.parametrize(("kind", "sign"), [(steer.CapProjection, 1), (steer.FloorProjection, -1)])
def test_neuronpedia_gets_a_projection_cap(kind: type[steer.CapProjection], sign: int) -> None:
    model = tiny_model("llama")
    edit = Intervention("resid_post.1", [kind(DIRECTION, MIDDLE)])
    body = json.loads(formats.to_neuronpedia(model, edit, "tiny"))
    assert body["steer_method"] == "PROJECTION_CAP"
    (vector,) = body["vectors"]
    assert vector["strength"] == pytest.approx(sign * MIDDLE)
    given = torch.tensor(vector["steering_vector"])
    torch.testing.assert_close(given, sign * unit(len(given)))


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([steer.CapProjection(DIRECTION, 1.0, positions="last")], "some tokens only"),
        ([steer.CapProjection(DIRECTION, "0.5x norm")], "differs by token"),
        (
            [steer.CapProjection(DIRECTION, 1.0), steer.CapProjection(steer.Random(5), 1.0)],
            "one after the other",
        ),
        ([steer.CapProjection(DIRECTION, 1.0), steer.Add(4, 2.0)], "one after the other"),
    ],
)
def test_what_neuronpedia_cannot_say_is_refused(edits: list[steer.Edit], why: str) -> None:
    with pytest.raises(InterventionError, match=why):
        formats.to_neuronpedia(
            tiny_model("llama"), Intervention("tiny", edits), "tiny", (dictionary(),)
        )


def test_other_formats_refuse_it_by_name() -> None:
    edit = Intervention("resid_post.1", [steer.CapProjection(DIRECTION, 1.0)])
    for export in (formats.steering_vector, formats.to_lm_eval):
        with pytest.raises(InterventionError, match="cap_projection depends on"):
            export(tiny_model("llama"), edit)
