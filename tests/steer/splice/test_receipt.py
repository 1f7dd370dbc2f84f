"""What a receipt says: where an edit acted, how much, or why it did not."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.splice import passes
from steer.splice.receipt import EditReceipt
from tests.support import plain, tiny
from tests.support.tiny import PROMPT, PROMPTS


def run(
    *edits: steer.Edit,
    model: steer.Model | None = None,
    sae: Dictionary | None = None,
    if_silent: Any = "ignore",
) -> steer.Run:
    return (model or tiny.tiny_model("llama")).generate(
        PROMPT,
        steer.Intervention("tiny", edits),
        dictionaries=[sae or tiny.dictionary()],
        max_new_tokens=4,
        temperature=0,
        if_silent=if_silent,
    )


def read_by(found: steer.Run, module: Any) -> torch.Tensor:
    """The clean residual at the site, at every token that was read in the prompt."""
    ids = tiny.tiny_model("llama").tokenize([PROMPT])[0]
    with plain.recorded(plain.block(module, 2), "input") as residual:
        plain.logits(module, ids)
    return residual[0][0]


def test_what_acted(llama: steer.Model) -> None:
    sae, edited_run = tiny.dictionary(), run(steer.Clamp(5, 9, positions="prompt"))
    (entry,) = edited_run.receipt
    x = read_by(edited_run, tiny.plain_model("llama"))
    before = sae.encode(x)[0][:, 5]
    edited = x + (9 - before).unsqueeze(1) * sae.W_dec[5]
    dose = (9 - before) * sae.W_dec[5].norm() / x.norm(dim=-1)
    assert (entry.dictionary, entry.feature, entry.kind) == ("tiny", 5, "clamp")
    assert entry.acted_tokens == tuple(range(6))
    assert (entry.acted, entry.touched, entry.reason) == (True, 6, None)
    tokens = entry.tokens
    assert [token.token for token in tokens] == PROMPT.split()
    for name, expected in (
        ("before", before),
        ("after", torch.full_like(before, 9.0)),
        ("reached", sae.encode(edited)[0][:, 5]),
        ("relative_dose", dose),
    ):
        given = torch.tensor([getattr(token, name) for token in tokens])
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
        assert getattr(entry, name) == pytest.approx(expected.mean().item(), rel=1e-5)


def test_only_tokens_that_were_read_are_in_it() -> None:
    answer = run(steer.Clamp(5, 9))
    assert answer.receipt[0].acted_tokens == tuple(range(6 + 4 - 1))
    generated = [token.token for token in answer.receipt[0].tokens[6:]]
    assert generated == [f"w{i}" for i in answer.ids[:3]]


def test_an_edit_of_active_tokens_acts_on_those(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    feature = tiny.active_features(llama, sae)[0]
    active = llama.features(PROMPT, sae).activations[:, feature].nonzero().flatten().tolist()
    entry = run(steer.Ablate(feature, positions="prompt")).receipt[0]
    assert list(entry.acted_tokens) == active
    assert entry.touched == 6
    assert entry.after == 0


# -- what did not act --------------------------------------------------------------------------


def silent_cases() -> dict[str, tuple[steer.Edit, str]]:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary()
    silent, active = tiny.silent_feature(model, sae), tiny.active_features(model, sae)[0]
    return {
        "no position": (steer.Clamp(5, 9, positions=50), "no token is at positions 50"),
        "silent": (
            steer.Ablate(silent, positions="prompt"),
            r"silent \(activation 0\) at all 6 touched tokens",
        ),
        "scaled": (steer.Scale(silent, 9, positions=[0, 1]), "silent .* at all 2 touched tokens"),
        "already": (steer.Cap(active, 1e6, positions="prompt"), "already what was asked .* all 6"),
    }


@pytest.mark.parametrize("name", ["no position", "silent", "scaled", "already"])
def test_the_reason_why_not(name: str) -> None:
    edit, reason = silent_cases()[name]
    answer = run(edit)
    (entry,) = answer.receipt
    assert (entry.acted, entry.acted_tokens, entry.tokens) == (False, (), ())
    assert entry.before is entry.after is entry.reached is entry.relative_dose is None
    assert answer.ids == answer.baseline.ids
    assert entry.reason is not None
    with pytest.raises(steer.SilentEditError, match=f"did nothing: .*{reason}"):
        answer.receipt.raise_if_silent()
    with pytest.warns(steer.SilentEditWarning, match=f"{edit.kind} feature .* of tiny .*{reason}"):
        answer.receipt.warn_if_silent()


def test_a_change_that_the_dtype_cannot_hold() -> None:
    """float16 ends at 6e-8, so that not even an entry of 0 can take 1e-10; float32 goes on."""
    model = tiny.tiny_model("llama", torch.float16)
    (entry,) = run(steer.Add(5, 1e-10, positions="prompt"), model=model).receipt
    assert entry.reason == "the change is smaller than the model's dtype can hold"
    assert entry.held == 0
    assert run(steer.Add(5, 1e-6, positions="prompt")).receipt[0].acted


def test_what_to_do_about_silence() -> None:
    edit = steer.Clamp(5, 9, positions=50)
    with pytest.warns(steer.SilentEditWarning):
        run(edit, if_silent="warn")
    with pytest.raises(steer.SilentEditError):
        run(edit, if_silent="raise")
    with pytest.raises(steer.SteerError, match="if_silent='shout' is unknown; allowed: warn"):
        run(edit, if_silent="shout")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(edit, if_silent="ignore")
        run(steer.Clamp(5, 9), if_silent="warn")
        run(steer.Clamp(5, 9), if_silent="raise")


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(steer.SilentEditWarning) as caught:
        tiny.tiny_model("llama").generate(
            PROMPT,
            steer.Intervention("tiny", [steer.Clamp(5, 9, positions=50)]),
            dictionaries=[tiny.dictionary()],
            max_new_tokens=1,
        )
    assert caught[0].filename == __file__


def test_silent_entries_are_found_among_others() -> None:
    answer = run(steer.Clamp(5, 9), steer.Clamp(6, 9, positions=50))
    assert [entry.feature for entry in answer.receipt.silent] == [6]
    assert len(answer.receipt) == 2
    text = str(answer.receipt).splitlines()
    assert "clamp feature 5 of tiny acted on 9 of 9 tokens" in text[0]
    assert "clamp feature 6 of tiny did nothing" in text[1]


def test_a_massive_activation_is_noted(llama: steer.Model) -> None:
    sae = replace(tiny.dictionary("resid_post.0"), name="first")
    blow_up = steer.Intervention("first", [steer.Clamp(5, 3000, positions=2)])
    edit = steer.Intervention("tiny", [steer.Clamp(5, 9, positions="prompt")])
    generated = llama.generate(
        PROMPT, [blow_up, edit], dictionaries=[sae, tiny.dictionary()], max_new_tokens=3
    )
    assert str(generated.receipt[1].note).startswith(
        "massive activation at position 2 (norm up to "
    )
    assert generated.receipt[0].note is None


def test_a_massive_token_is_in_no_mean(llama: steer.Model) -> None:
    """Nor is it said to be there if it is the only one: then the means are of it."""
    sae = replace(tiny.dictionary("resid_post.0"), name="first")
    blow_up = steer.Intervention("first", [steer.Clamp(5, 3000, positions=2)])

    def receipt(positions: Any) -> EditReceipt:
        edit = steer.Intervention("tiny", [steer.Clamp(5, 9, positions=positions)])
        given: Any = {"dictionaries": [sae, tiny.dictionary()], "max_new_tokens": 3}
        return llama.generate(PROMPT, [blow_up, edit], **given).receipt[1]

    entry = receipt("prompt")
    assert entry.massive == (2,)
    assert entry.acted_tokens == tuple(range(6))
    rest = [token for token in entry.tokens if token.position != 2]
    for name in ("before", "after", "reached", "relative_dose"):
        wanted = sum(getattr(token, name) for token in rest) / 5
        assert getattr(entry, name) == pytest.approx(wanted, rel=1e-6)
    assert "'w12', left out of the means" in str(entry.note)
    (only,) = receipt(2).tokens
    assert receipt(2).before == only.before
    assert "it acted on no other" in str(receipt(2).note)


# -- each edit for itself ----------------------------------------------------------------------


def residual(model: steer.Model, interventions: list[steer.Intervention]) -> torch.Tensor:
    """What leaves the edited block [s, d], and the logits [s, V] beside it."""
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans(interventions, [tiny.dictionary()])
    with plain.recorded(plain.block(model.module, 2), "input") as seen:
        logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    return torch.cat([seen[0][0], logits[0]], dim=-1)


EDITS: list[steer.Edit] = [
    steer.Clamp(3, 50.0, positions=[0, 1, 2]),
    steer.Add(5, 1e-6),
    steer.Scale(8, 3.0),
    steer.AddDirection(steer.Random(2), 1e-3, positions=[1, 4]),
    steer.Add(9, 0.02, positions="last"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("apart", [False, True])
def test_an_edit_acted_where_the_stream_is_another_without_it(
    dtype: torch.dtype, apart: bool
) -> None:
    """To the bit, in one intervention or in one each."""
    model = tiny.tiny_model("llama", dtype)

    def interventions(edits: list[steer.Edit]) -> list[steer.Intervention]:
        groups = [[edit] for edit in edits] if apart else [edits]
        return [steer.Intervention("tiny", group) for group in groups]

    given: Any = {"dictionaries": [tiny.dictionary()], "if_silent": "ignore", "draws": 0}
    (receipt,) = steer.logit_effect(model, PROMPT, interventions(EDITS), **given).receipts
    everything = residual(model, interventions(EDITS))
    for number, entry in enumerate(receipt):
        rest = [edit for place, edit in enumerate(EDITS) if place != number]
        another = (everything != residual(model, interventions(rest)))[:, : tiny.D].any(-1)
        told = torch.zeros(6).bool()
        told[list(entry.acted_tokens)] = True
        assert torch.equal(told, another), entry
    assert [bool(entry.acted) for entry in receipt].count(False) == (dtype != torch.float32)


def test_an_edit_that_changed_no_bit_is_silent_beside_one_that_acted() -> None:
    model = tiny.tiny_model("llama", torch.bfloat16)
    answer = run(steer.Clamp(3, 50.0), steer.Add(5, 1e-6), model=model)
    assert [entry.acted for entry in answer.receipt] == [True, False]
    assert answer.receipt[1].held == 0
    alone, both = (
        residual(model, [steer.Intervention("tiny", edits)])
        for edits in ([steer.Clamp(3, 50.0)], [steer.Clamp(3, 50.0), steer.Add(5, 1e-6)])
    )
    assert torch.equal(alone, both)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_the_dtype_held_is_measured_and_nothing_silent_moved_a_logit(
    dtype: torch.dtype,
) -> None:
    model, given = tiny.tiny_model("llama", dtype), tiny.dictionary()
    clean = residual(model, [])
    shares = []
    for exponent in range(-12, 3):
        edit = steer.Intervention("tiny", [steer.Add(5, 10.0**exponent, positions=3)])
        edited = residual(model, [edit])
        options: Any = {"dictionaries": [given], "if_silent": "ignore", "draws": 0}
        (entry,) = steer.logit_effect(model, PROMPT, edit, **options).receipts[0]
        moved = (edited - clean)[3, : tiny.D].float().norm().item()
        before = given.encode(clean[3, : tiny.D].float())[0][5]
        asked = (before + 10.0**exponent) - before
        assert entry.acted == (moved > 0)
        if asked > 0:
            assert entry.held == pytest.approx(moved / asked.item(), abs=2e-3)
        if not entry.acted:
            assert torch.equal(edited, clean)
        shares.append(entry.held or 0.0)
    assert shares[-1] == pytest.approx(1.0, abs=0.01)
    assert shares[0] < 0.01 or dtype == torch.float32


TURN = steer.Vector([float(i == 0) for i in range(tiny.D)])
BACK = steer.Vector([-float(i == 0) for i in range(tiny.D)])


@pytest.mark.parametrize("first", [0, 1])
def test_two_that_partly_cancel_both_acted_and_say_so(first: int) -> None:
    edits = [
        steer.Intervention("resid_post.1", [steer.AddDirection(TURN, 10.0)]),
        steer.Intervention("resid_post.1", [steer.AddDirection(BACK, 9.0)]),
    ]
    pair = [edits[first], edits[1 - first]]
    given: Any = {"max_new_tokens": 1, "temperature": 0}
    receipt = tiny.tiny_model("llama").generate(PROMPT, pair, if_silent="raise", **given).receipt
    for entry, other, own in zip(receipt, (receipt[1], receipt[0]), (10, 9), strict=False):
        size = own if first == 0 else 19 - own
        assert entry.acted_tokens == tuple(range(6))
        assert entry.held == pytest.approx(1.0, abs=1e-3)
        assert entry.cancelled_by == (f"add_direction {other.direction} of resid_post.1",)
        assert entry.left == pytest.approx(1 / size, abs=1e-3)
        assert f"alone it moves the stream by {size}, with them it moves by 1" in str(entry.note)


@pytest.mark.parametrize("added", [1.0, 0.9])
def test_an_edit_of_a_subspace_is_named_where_it_takes_another_back(added: float) -> None:
    """Its row differs by token: here it is along the stream of each, and so is what is added."""
    model = tiny.tiny_model("llama")
    x = residual(model, [])[3, : tiny.D]
    along = x / x.norm()
    aside = along + 0.1 * torch.nn.functional.normalize(along.roll(1), dim=0)
    add = steer.AddDirection(steer.Vector(aside), added * x.norm().item(), positions=3)
    ablate = steer.AblateSubspace(steer.Subspace([steer.Vector(along)]), positions=3)
    pair = [steer.Intervention("resid_post.1", [edit]) for edit in (add, ablate)]
    given: Any = {"max_new_tokens": 1, "temperature": 0}
    receipt = model.generate(PROMPT, pair, **given).receipt
    adding, ablating = receipt
    assert adding.cancelled_by == (f"ablate_subspace {ablating.direction} of resid_post.1",)
    assert ablating.cancelled_by == (f"add_direction {adding.direction} of resid_post.1",)
    left = added * torch.nn.functional.normalize(aside, dim=0) - along
    assert ablating.left == pytest.approx(left.norm().item(), abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_in_order_that_cancel_exactly_give_that_as_the_reason(dtype: torch.dtype) -> None:
    edits = [steer.Add(5, 0.7), steer.Add(5, -0.7)]
    model = tiny.tiny_model("llama", dtype)
    pair = steer.Intervention("tiny", edits, conflicts="in_order")
    given: Any = {"dictionaries": [tiny.dictionary()], "max_new_tokens": 1, "if_silent": "ignore"}
    for entry in model.generate(PROMPT, pair, **given).receipt:
        assert not entry.acted
        assert entry.reason == (
            "cancelled by add feature 5 of tiny: nothing of it is left in the stream"
        )
    assert torch.equal(residual(model, [pair]), residual(model, []))


def test_edits_of_other_directions_cancel_nothing() -> None:
    for entry in run(steer.Clamp(5, 9), steer.Clamp(6, 9), steer.Clamp(7, 9)).receipt:
        assert (entry.cancelled_by, entry.left, entry.note) == ((), None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_patch_from_the_same_prompt_is_nothing_to_change(dtype: torch.dtype) -> None:
    """Though the prompt is read there in a batch of another shape, and its last bits differ."""
    model = tiny.tiny_model("llama", dtype)
    edits = [steer.Patch(feature, PROMPT) for feature in range(1, 20)]
    effect = steer.logit_effect(
        model, [PROMPT, PROMPTS[2]], steer.Intervention("tiny", edits),
        dictionaries=[tiny.dictionary()], draws=0, if_silent="ignore",
    )  # fmt: skip
    for entry in effect.receipts[0]:
        assert "nothing to change" in str(entry.reason)
    assert effect.kl[0] == 0
    assert any(entry.acted for entry in effect.receipts[1])


def test_as_plain_data() -> None:
    entries = run(steer.Clamp(5, 9), steer.Clamp(6, 9, positions=50)).receipt.to_list()
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    needed = {"feature", "kind", "acted_tokens", "before", "after", "relative_dose", "reason"}
    assert all(needed <= set(entry) for entry in entries)
    assert entries[1]["acted_tokens"] == []
