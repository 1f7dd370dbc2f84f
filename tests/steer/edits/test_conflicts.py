"""Two wants for one place: refused within an intervention and between those of one run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from steer.edits import Clamp, Intervention
from steer.splice import passes
from tests.support.tiny import PROMPT, D, dictionary, tiny_model


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


GIVEN = [
    dictionary(),
    replace(dictionary(seed=8), name="other"),
    replace(dictionary(), name="copy"),
]
LINE = steer.Vector([float(i % 5 - 2) for i in range(D)])
TWICE = steer.Vector([2.0 * (i % 5 - 2) for i in range(D)])
BACK = steer.Vector([-float(i % 5 - 2) for i in range(D)])
ROW = steer.Vector(dictionary().W_dec[5].tolist())
TURN = steer.ClampProjection(steer.Random(1), 2.0)

REFUSED: dict[str, tuple[list[Intervention], str]] = {
    "within": (
        [Intervention("tiny", [Clamp(5, 1.0), Clamp(5, 2.0)])],
        "feature 5 has two edits that can touch the same token",
    ),
    "between": (
        [Intervention("tiny", [Clamp(5, 1.0)]), Intervention("tiny", [steer.Ablate(5)])],
        "two interventions edit feature 5 of tiny",
    ),
    "between, though each has an order": (
        [Intervention("tiny", [Clamp(5, v)], conflicts="in_order") for v in (1.0, 2.0)],
        "two interventions edit feature 5",
    ),
    "directions of one site": (
        [Intervention("resid_post.1", [TURN]), Intervention("blocks.1.hook_resid_post", [TURN])],
        r"two interventions edit Random\(seed=1\)",
    ),
    "a direction in a dictionary's intervention": (
        [Intervention("resid_post.1", [TURN]), Intervention("tiny", [TURN])],
        r"two interventions edit Random\(seed=1\)",
    ),
    "one direction at two lengths": (
        [
            Intervention("resid_post.1", [steer.ProjectOut(LINE)]),
            Intervention("resid_post.1", [steer.ClampProjection(TWICE, 1.0)]),
        ],
        r"two interventions edit Vector\(",
    ),
    "one direction at two lengths within": (
        [Intervention("resid_post.1", [steer.ProjectOut(LINE), steer.AddDirection(TWICE, 1.0)])],
        r"has two edits that can touch the same token \(project_out .*, add_direction",
    ),
    "opposite directions": (
        [
            Intervention("resid_post.1", [steer.ClampProjection(LINE, 1.0)]),
            Intervention("resid_post.1", [steer.ClampProjection(BACK, 1.0)]),
        ],
        "point opposite ways along one line .* give both along the same direction",
    ),
    "a decoder row and its numbers": (
        [
            Intervention("resid_post.1", [steer.ProjectOut(steer.DecoderRow("tiny", 5))]),
            Intervention("resid_post.1", [steer.ProjectOut(ROW)]),
        ],
        "two interventions edit DecoderRow",
    ),
    "one dictionary under two names": (
        [Intervention("tiny", [Clamp(5, 1.0)]), Intervention("copy", [Clamp(5, 2.0)])],
        r"two interventions edit feature 5 of tiny \(the same under the name copy\) .* in one "
        r"intervention of tiny with conflicts='in_order'",
    ),
    "positions that meet": (
        [Intervention("tiny", [Clamp(5, v, positions=p)]) for v, p in ((1.0, "0:3"), (2.0, "2:4"))],
        "give positions that share no token",
    ),
    "the error twice": (
        [Intervention("tiny", [], "drop"), Intervention("other", [], "drop")],
        "both change the error term at resid_post.1",
    ),
}


@pytest.mark.parametrize(("edits", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_wherever_it_is_run(
    edits: list[Intervention], why: str, model: steer.Model
) -> None:
    for run in (model.generate, model.stream):
        with pytest.raises(steer.InterventionError, match=why):
            run(PROMPT, edits, dictionaries=GIVEN)
    with pytest.raises(steer.InterventionError, match=why):
        steer.logit_effect(model, [PROMPT], edits, dictionaries=GIVEN)
    with pytest.raises(steer.InterventionError, match=why):
        model.explain(edits, dictionaries=GIVEN)


ALLOWED: dict[str, list[Intervention]] = {
    "other positions": [Intervention("tiny", [Clamp(5, 1.0, positions=i)]) for i in (1, 2)],
    "other features": [Intervention("tiny", [Clamp(i, 1.0)]) for i in (5, 6)],
    "another dictionary": [Intervention(name, [Clamp(5, 1.0)]) for name in ("tiny", "other")],
    "another site": [Intervention(name, [TURN]) for name in ("resid_post.0", "resid_post.1")],
    "slices that share no token": [
        Intervention("tiny", [Clamp(5, 1.0, positions=p)]) for p in ("0:2", "2:4", "4::2", "5::2")
    ],
    "two tokens": [
        Intervention("tiny", [Clamp(5, 1.0, positions=steer.Tokens(t))]) for t in ("w7", "w31", 12)
    ],
    "another feature of the copy": [
        Intervention("tiny", [Clamp(5, 1.0)]),
        Intervention("copy", [Clamp(6, 1.0)]),
    ],
    "opposite directions that only add": [
        Intervention("resid_post.1", [steer.AddDirection(d, 2.0)]) for d in (LINE, BACK)
    ],
    "one changes the error": [Intervention("tiny", [], "drop"), Intervention("other", [TURN])],
}


@pytest.mark.parametrize("edits", ALLOWED.values(), ids=ALLOWED.keys())
def test_allowed(edits: list[Intervention], model: steer.Model) -> None:
    run = model.generate(PROMPT, edits, dictionaries=GIVEN, max_new_tokens=2, if_silent="ignore")
    assert run.interventions == tuple(edits)


def test_rows_of_a_batch_are_no_conflict(model: steer.Model) -> None:
    edits = [Intervention("tiny", [Clamp(5, value)]) for value in (1.0, 2.0)]
    runs = model.generate_batch([PROMPT], edits, dictionaries=GIVEN, max_new_tokens=1)
    assert [run.receipt[0].after for run in runs] == [1.0, 2.0]


def test_in_order_each_starts_from_what_the_one_before_left(model: steer.Model) -> None:
    edits = [Clamp(5, 2.0), steer.Scale(5, 3.0), steer.Add(5, 1.0, positions="last")]
    edit = Intervention("tiny", edits, conflicts="in_order")
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([edit], GIVEN)
    _, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    assert record.after[0, :, 1].tolist() == [6.0] * 6
    assert record.after[0, -1].tolist() == [2.0, 6.0, 7.0]
    moved = record.delta_norm[0] / dictionary().W_dec[5].norm()
    wanted = torch.tensor([6.0] * 5 + [7.0]) - record.before[0, :, 0]
    torch.testing.assert_close(moved, wanted.abs(), atol=1e-4, rtol=1e-4)


def test_the_advice_can_be_taken(model: steer.Model) -> None:
    """In one intervention and in order, one direction at two lengths is one target."""
    edits = [steer.ClampProjection(LINE, 3.0), steer.AddDirection(TWICE, "1x vector")]
    together = Intervention("resid_post.1", edits, conflicts="in_order")
    run = model.generate(PROMPT, together, max_new_tokens=1)
    length = sum(v * v for v in TWICE.values) ** 0.5
    assert run.receipt[0].after == pytest.approx(3.0, rel=1e-5)
    assert run.receipt[1].before == pytest.approx(3.0, rel=1e-5)
    assert run.receipt[1].after == pytest.approx(3.0 + length, rel=1e-5)
    assert run.receipt[1].reached == pytest.approx(3.0 + length, rel=1e-4)


def test_explain_lists_what_an_order_settles(model: steer.Model) -> None:
    edits: list[Any] = [Clamp(5, 2.0), steer.Scale(5, 3.0, positions=2), Clamp(7, 1.0)]
    plan = model.explain(
        Intervention("tiny", edits, conflicts="in_order"), dictionaries=GIVEN, prompt=PROMPT
    )
    assert plan.plans[0].conflicts == ("clamp at 'all', then scale at 2 of feature 5",)
    assert "in order: clamp at 'all', then scale at 2 of feature 5" in str(plan)
    alone = model.explain(Intervention("tiny", edits[:1]), dictionaries=GIVEN, prompt=PROMPT)
    assert alone.plans[0].conflicts == ()
