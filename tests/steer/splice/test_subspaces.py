"""Edits of a subspace against a plain hook, beside other edits, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import torch
from torch import Tensor

import steer
from steer.edits import Intervention
from steer.edits.schema import json_schema
from steer.errors import InterventionError
from steer.exchange import formats
from steer.splice import passes
from tests.support import plain
from tests.support.tiny import FAMILIES, PROMPTS, dictionary, plain_model, tiny_model

SPANS = (steer.Random(4), steer.Random(5), steer.Random(6))
SUBSPACE = steer.Subspace(SPANS)
SITE = "resid_post.1"

Change = Callable[[Tensor], Tensor]
"""From the stream's part inside the subspace [..., d] to what it becomes."""


def projection(d: int) -> Tensor:
    """P [d, d], by the normal equations."""
    spans = torch.stack(
        [torch.randn(d, generator=torch.Generator().manual_seed(seed)) for seed in (4, 5, 6)]
    ).double()
    return (spans.T @ torch.linalg.inv(spans @ spans.T) @ spans).float()


def resized(length: float) -> Change:
    return lambda part: part / part.norm(dim=-1, keepdim=True) * length


CASES: dict[str, tuple[steer.Edit, Change]] = {
    "ablate": (steer.AblateSubspace(SUBSPACE), torch.zeros_like),
    "halve": (steer.ScaleSubspace(SUBSPACE, 0.5), lambda part: 0.5 * part),
    "turn": (steer.ScaleSubspace(SUBSPACE, -1), lambda part: -part),
    "clamp": (steer.ClampSubspace(SUBSPACE, 2.5), resized(2.5)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_what_a_plain_hook_does(family: str, case: str) -> None:
    model, module = tiny_model(family), plain_model(family)
    edit, change = CASES[case]

    def hook(_: Any, __: Any, output: Any) -> Any:
        x = output if isinstance(output, Tensor) else output[0]
        part = x @ projection(x.shape[-1])
        changed = x + change(part) - part
        return changed if isinstance(output, Tensor) else (changed, *output[1:])

    ids, mask = model.tokenize([PROMPTS[0]])
    plans = model.plans([Intervention(SITE, [edit])])
    ours, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    handle = plain.block(module, 1).register_forward_hook(hook)
    try:
        with torch.inference_mode():
            theirs = module(input_ids=ids).logits
    finally:
        handle.remove()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def parts(model: steer.Model) -> Tensor:
    """Length of the stream's part inside, at each token [s]."""
    ids, mask = model.tokenize([PROMPTS[0]])
    (x,) = model.collect(ids, mask, [SITE]).values()
    return (x[0] @ projection(x.shape[-1])).norm(dim=-1)


def test_the_receipt_has_the_length_before_asked_for_and_reached() -> None:
    model = tiny_model("llama")
    edit = Intervention(SITE, [steer.ClampSubspace(SUBSPACE, 2.5)])
    effect = steer.logit_effect(model, PROMPTS[:1], edit, draws=0)
    (entry,) = effect.receipts[0]
    assert [token.before for token in entry.tokens] == pytest.approx(
        parts(model).tolist(), rel=1e-4
    )
    assert [token.after for token in entry.tokens] == pytest.approx([2.5] * len(entry.tokens))
    assert [token.reached for token in entry.tokens] == pytest.approx(
        [2.5] * len(entry.tokens), rel=1e-4
    )
    assert entry.direction == str(SUBSPACE)
    assert entry.feature is None


def test_ablating_twice_is_once_and_by_one_leaves_every_bit() -> None:
    model = tiny_model("llama")
    ablate, same = steer.AblateSubspace(SUBSPACE), steer.ScaleSubspace(SUBSPACE, 1.0)
    once = Intervention(SITE, [ablate])
    twice = Intervention(SITE, [ablate, ablate], conflicts="in_order")
    effects = [steer.logit_effect(model, PROMPTS, edit, draws=0, if_silent="ignore").delta_logit
               for edit in (once, twice)]  # fmt: skip
    torch.testing.assert_close(*effects)
    nothing = steer.logit_effect(
        model, PROMPTS, Intervention(SITE, [same]), draws=0, if_silent="ignore"
    )
    assert not nothing.delta_logit.any()
    assert nothing.receipts[0][0].reason


def test_a_line_is_a_projection_without_its_sign() -> None:
    model, one = tiny_model("llama"), steer.Subspace([steer.Random(4)])
    pairs = [
        (steer.AblateSubspace(one), steer.ProjectOut(steer.Random(4))),
        (steer.AblateSubspace(steer.Subspace([steer.Vector([1.0] * model.d)])),
         steer.ProjectOut(steer.Vector([1.0] * model.d))),
    ]  # fmt: skip
    for ours, theirs in pairs:
        found = [
            steer.logit_effect(model, PROMPTS, Intervention(SITE, [each]), draws=0).delta_logit
            for each in (ours, theirs)
        ]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_other_directions_of_the_same_span_are_the_same_target() -> None:
    model = tiny_model("llama")
    rows = torch.stack(
        [torch.randn(model.d, generator=torch.Generator().manual_seed(s)) for s in (4, 5, 6)]
    )
    mixed = steer.Subspace(torch.tensor([[1.0, 1, 0], [0, 1, -2], [3, 0, 1]]) @ rows)
    both = [steer.AblateSubspace(SUBSPACE), steer.ClampSubspace(mixed, 1.0)]
    with pytest.raises(InterventionError, match=r"ablate_subspace .*clamp_subspace"):
        model.plans([Intervention(SITE, both)])
    with pytest.raises(InterventionError, match="two interventions edit"):
        model.plans([Intervention(SITE, both[:1]), Intervention(SITE, both[1:])])
    (plan,) = model.plans([Intervention(SITE, both, conflicts="in_order")])
    assert len(plan.subspaces) == 1
    torch.testing.assert_close(plan.subspaces[0] @ plan.subspaces[0].T, torch.eye(3))


@pytest.mark.parametrize(
    "other",
    [
        steer.ProjectOut(steer.Random(5)),
        steer.AblateSubspace(steer.Subspace(SPANS[:2])),
        steer.AblateSubspace(steer.Subspace([*SPANS, steer.Random(7)])),
    ],
)
def test_what_lies_inside_is_not_edited_beside_it(other: steer.Edit) -> None:
    model, edit = tiny_model("llama"), steer.ScaleSubspace(SUBSPACE, 2.0)
    for several in ([Intervention(SITE, [edit, other])],
                    [Intervention(SITE, [edit]), Intervention(SITE, [other])],
                    [Intervention(SITE, [other]), Intervention(SITE, [edit])]):  # fmt: skip
        with pytest.raises(InterventionError, match="share a part of the stream"):
            model.plans(several)
    apart = [
        steer.ScaleSubspace(SUBSPACE, 2.0, positions=1),
        steer.ProjectOut(SPANS[0], positions=2),
    ]
    model.plans([Intervention(SITE, apart)])


@pytest.mark.parametrize("case", CASES)
def test_json_digest_and_schema(case: str) -> None:
    numbers = steer.Subspace(torch.eye(3)[:2])
    for edit in (CASES[case][0], steer.AblateSubspace(numbers, positions="last")):
        whole = Intervention(SITE, [edit])
        again = Intervention.from_json(whole.to_json())
        assert again == whole
        assert again.digest == whole.digest
        jsonschema.validate(json.loads(again.to_json()), json_schema())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: steer.Subspace([]), "one or more directions"),
        (lambda: steer.Subspace(steer.Random(1)), "one or more directions"),  # type: ignore[arg-type]
        (lambda: steer.Subspace(["x"]), "no direction"),  # type: ignore[list-item]
        (lambda: steer.AblateSubspace(steer.Random(1)), "no subspace"),  # type: ignore[arg-type]
        (lambda: steer.ClampSubspace(SUBSPACE, -1.0), "negative"),
        (lambda: steer.ClampSubspace(SUBSPACE, "2x max"), "max"),
        (lambda: steer.ScaleSubspace(SUBSPACE, float("nan")), "nan"),
    ],
)
def test_what_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(InterventionError, match=why):
        make()


def test_dependent_directions_and_those_of_another_width_are_refused() -> None:
    model = tiny_model("llama")
    twice = steer.Subspace([steer.Random(1), steer.Random(2), steer.Random(1)])
    with pytest.raises(InterventionError, match="3 directions that span 2"):
        model.plans([Intervention(SITE, [steer.AblateSubspace(twice)])])
    narrow = steer.Subspace([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(InterventionError, match="width"):
        model.plans([Intervention(SITE, [steer.AblateSubspace(narrow)])])


def test_sweeps_and_other_formats_refuse_it_by_name() -> None:
    model, edit = tiny_model("llama"), Intervention(SITE, [steer.AblateSubspace(SUBSPACE)])
    for export in (formats.steering_vector, formats.to_lm_eval):
        with pytest.raises(InterventionError, match="ablate_subspace depends on"):
            export(model, edit)
    beside = Intervention("tiny", [steer.AblateSubspace(SUBSPACE), steer.Clamp(5, 2.0)])
    effect = steer.logit_effect(model, PROMPTS[:1], beside, dictionaries=[dictionary()], draws=0)
    assert {entry.kind for entry in effect.receipts[0]} == {"ablate_subspace", "clamp"}
    assert all(entry.reason is None for entry in effect.receipts[0])
