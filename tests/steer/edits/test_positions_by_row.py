"""Positions that differ by row: each row of a batch is edited where it would be alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import steer
from steer.edits.positions import Positions, Rows, Tokens
from steer.effects.controls.controls import controls
from steer.effects.downstream.downstream import downstream
from steer.splice import passes
from tests.support import plain, tiny
from tests.support.tiny import PROMPTS

GIVEN = tiny.dictionary()
ROWS = Rows("last", [1, -2], "3:")
OWN: tuple[Positions, ...] = ("last", [1, -2], "3:")
MASK = [[False, True, False, False, True, True], [False, False], [True] + [False] * 8]
OF_MASK: tuple[Positions, ...] = ([1, 4, 5], ":0", [0])


def edit(positions: Positions) -> steer.Intervention:
    return steer.Intervention("tiny", [steer.Clamp(5, 9.0, positions=positions)])


def options(**more: Any) -> dict[str, Any]:
    return {"dictionaries": [GIVEN], "if_silent": "ignore", **more}


def acted(receipts: Any) -> list[tuple[int, ...]]:
    return [receipt[0].acted_tokens for receipt in receipts]


BY_ROW = pytest.mark.parametrize(
    ("positions", "own"), [(ROWS, OWN), (torch.tensor([[True] * 2] * 3), ([0, 1],) * 3)]
)


@BY_ROW
def test_a_generated_batch_is_each_row_alone(
    positions: Positions, own: tuple[Positions, ...], model: steer.Model
) -> None:
    """Baseline rows of the same batch stand before the edited ones, and are not counted."""
    how = options(max_new_tokens=5, temperature=0)
    for use_cache in (True, False):
        runs = model.generate_batch(PROMPTS, [edit(positions)], use_cache=use_cache, **how)
        for run, prompt, where in zip(runs, PROMPTS, own, strict=True):
            alone = model.generate(prompt, edit(where), **how)
            assert (run.ids, run.baseline) == (alone.ids, alone.baseline)
            assert acted([run.receipt]) == acted([alone.receipt])
            assert run.interventions == alone.interventions


def test_logits_equal_plain_hooks(model: steer.Model, untouched: Any, family: str) -> None:
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans([edit(ROWS)], [GIVEN], rows=slice(0, 3))
    ours, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    by_row: tuple[plain.Touches, ...] = (
        lambda at, prompt: at == prompt - 1,
        lambda at, prompt: at in (1, prompt - 2),
        lambda at, prompt: at >= 3,
    )
    path, side = plain.path_of(family, "resid_post.1")
    site = plain.PlainSite(path, side, GIVEN, [plain.PlainEdit(5, "clamp", 9.0, by_row=by_row)])
    theirs = plain.logits(untouched, ids, mask, [site])
    assert (ours - theirs)[mask.bool()].abs().max() <= 1e-5
    assert record.touched[..., 0].sum(1).tolist() == [1, 2, 6]


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize("error", ["keep", "frozen", "drop"])
def test_the_effect_on_each_prompt_is_that_of_its_own_positions(
    batch: int, error: Any, llama: steer.Model
) -> None:
    """Also where prompts are more than a batch, and where clean and edited rows share one."""
    both = steer.Intervention("tiny", edit(ROWS).edits, error=error)
    how = options(draws=0, continuation=0 if error == "frozen" else 2)
    effect = steer.logit_effect(llama, PROMPTS, both, batch=batch, **how)
    for row, prompt in enumerate(PROMPTS):
        single = steer.Intervention("tiny", edit(OWN[row]).edits, error=error)
        alone = steer.logit_effect(llama, prompt, single, **how)
        assert acted(effect.receipts)[row] == acted(alone.receipts)[0]
        torch.testing.assert_close(effect.delta_logit[row], alone.delta_logit[0], atol=1e-5, rtol=0)


def test_controls_and_later_features_follow_each_prompts_positions(llama: steer.Model) -> None:
    later = tiny.dictionary("resid_post.2")
    together = controls(llama, PROMPTS, edit(ROWS), dictionaries=[GIVEN], draws=2).to_rows()
    changed = downstream(llama, PROMPTS, edit(ROWS), later, dictionaries=[GIVEN])
    for row, prompt in enumerate(PROMPTS):
        alone = controls(llama, [prompt], edit(OWN[row]), dictionaries=[GIVEN], draws=2).to_rows()
        ours = together[(together["prompt"] == row) & (together["control"] == "edit")]
        theirs = alone[alone["control"] == "edit"]
        assert ours["norm"].item() == pytest.approx(theirs["norm"].item())
        assert ours["effect"].item() == pytest.approx(theirs["effect"].item(), abs=1e-7)
        single = downstream(llama, [prompt], edit(OWN[row]), later, dictionaries=[GIVEN])
        torch.testing.assert_close(changed.changed[row].change, single.changed[0].change)


@pytest.mark.parametrize("mask", [MASK, [list(row) for row in MASK]], ids=["tuple", "lists"])
def test_a_mask_means_the_positions_where_it_is_true(mask: Any) -> None:
    assert steer.Ablate(1, positions=mask).positions == Rows(*OF_MASK)


def test_the_padding_of_a_mask_is_not_counted(llama: steer.Model) -> None:
    """A mask over the tokenizer's own left-padded ids, with its attention mask."""
    ids, real = llama.tokenize(list(PROMPTS))
    wanted = (ids == 31) | (ids == 3) | (ids == 80)
    assert Rows.of_mask(wanted, real) == Rows([1], [1], [1])
    with pytest.raises(steer.InterventionError, match="true at padding"):
        Rows.of_mask(torch.ones_like(real).bool(), real)


def test_a_row_of_no_token_is_untouched(model: steer.Model) -> None:
    effect = steer.logit_effect(model, PROMPTS, edit(MASK), **options(draws=0))
    assert acted(effect.receipts) == [(1, 4, 5), (), (0,)]
    assert not effect.delta_logit[1].any()
    with pytest.warns(steer.SilentEditWarning, match="no token is at positions ':0'"):
        steer.logit_effect(model, PROMPTS, edit(MASK), dictionaries=[GIVEN], draws=0)


def test_rows_are_kept_in_json() -> None:
    mixed = edit(Rows("last", Tokens("w7", 3), [0, 2], -1, slice(2, 5)))
    again = steer.Intervention.from_json(mixed.to_json())
    assert again == mixed
    assert again.digest == mixed.digest
    assert json.loads(mixed.to_json())["edits"][0]["positions"] == {
        "rows": ["last", {"tokens": ["w7", 3]}, [0, 2], -1, "2:5"]
    }


ANOTHER_NUMBER: dict[str, Any] = {
    "generate": lambda m: m.generate(PROMPTS[0], edit(ROWS), dictionaries=[GIVEN]),
    "stream": lambda m: m.stream(PROMPTS[0], edit(ROWS), dictionaries=[GIVEN]),
    "generate_batch": lambda m: m.generate_batch(PROMPTS[:2], [edit(ROWS)], dictionaries=[GIVEN]),
    "logit_effect": lambda m: steer.logit_effect(m, PROMPTS[:2], edit(ROWS), dictionaries=[GIVEN]),
    "controls": lambda m: controls(m, PROMPTS[:2], edit(ROWS), dictionaries=[GIVEN]),
    "plans": lambda m: m.plans([edit(ROWS)], [GIVEN]),
    "plans of two rows": lambda m: m.plans([edit(ROWS)], [GIVEN], rows=slice(1, 3)),
    "sweep": lambda m: steer.ablation_sweep(m, PROMPTS, GIVEN, positions=ROWS),
    "explain": lambda m: m.explain([edit(ROWS), edit(Rows("last", 2))], dictionaries=[GIVEN]),
}


@pytest.mark.parametrize("call", ANOTHER_NUMBER.values(), ids=ANOTHER_NUMBER.keys())
def test_another_number_of_rows_is_refused(call: Any, llama: steer.Model) -> None:
    with pytest.raises(steer.InterventionError, match=r"are for the \d rows of one batch"):
        call(llama)


BAD: list[Any] = [[[1, 2], [3]], [[True, 1]], [["last"]], torch.ones(2, 3), torch.ones(3).bool()]


@pytest.mark.parametrize("positions", BAD, ids=repr)
def test_what_is_no_mask_is_refused(positions: Any) -> None:
    with pytest.raises(steer.InterventionError, match="is not allowed"):
        steer.Ablate(1, positions=positions)


@pytest.mark.parametrize("specs", [(), (Rows("last"),), ([],), ("first",)], ids=repr)
def test_what_is_no_rows_is_refused(specs: tuple[Any, ...]) -> None:
    with pytest.raises(steer.InterventionError):
        Rows(*specs)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (Rows(1, 2), Rows(2, 1), False),
        (Rows(1, 2), Rows(2, [1, 2]), True),
        (Rows(1, 2), 3, False),
        (Rows(1, 2), 2, True),
        (Rows(1, ":0"), Rows(2, "all"), False),
        (Rows(1, "last"), Rows(2, 4), True),
    ],
)
def test_conflicts_are_of_the_same_row(one: Any, other: Any, clash: bool) -> None:
    edits = [steer.Clamp(5, 1.0, positions=one), steer.Scale(5, 2.0, positions=other)]
    model, both = tiny.tiny_model("llama"), steer.Intervention("tiny", edits)
    if clash:
        with pytest.raises(steer.InterventionError, match="can touch the same token"):
            model.plans([both], [GIVEN], rows=slice(0, 2))
    else:
        assert model.plans([both], [GIVEN], rows=slice(0, 2))


def test_explain_measures_every_row(llama: steer.Model) -> None:
    plan = llama.explain(edit(Rows("1:", ":0", 40)), dictionaries=[GIVEN], prompt=PROMPTS[0])
    (described,) = plan.plans[0].edits
    alone = llama.explain(edit("1:"), dictionaries=[GIVEN], prompt=PROMPTS[0]).plans[0].edits[0]
    assert described.relative_dose == pytest.approx(alone.relative_dose)
    assert described.positions == "Rows('1:', ':0', 40)"
    assert described.silent is not None
    assert "row 1: no token" in described.silent
    assert "row 2: no token" in described.silent
    assert "row 0" not in described.silent


def test_a_rehearsed_remote_run_is_the_run_here(llama: steer.Model) -> None:
    here, there = (
        steer.logit_effect(llama, PROMPTS, edit(ROWS), **options(draws=0, remote=remote))
        for remote in (False, "local")
    )
    assert torch.equal(here.delta_logit, there.delta_logit)
    assert acted(here.receipts) == acted(there.receipts)
