"""Edits as values: what they mean, how they travel, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import steer
from steer import Ablate, Add, Cap, Clamp, Edit, Floor, Intervention, InterventionError, Scale
from tests.support import tiny

NAME = "smollm2-135m/resid_post.20"

finite = st.floats(allow_nan=False, allow_infinity=False)
units = st.sampled_from(["max", "mean", "q10", "q99", ""])
amounts = st.floats(min_value=-1e18, max_value=1e18, allow_subnormal=False)
multiples = st.builds(lambda amount, unit: f"{amount!r}x {unit}".strip(), amounts, units)
values = finite | st.integers(-(10**9), 10**9) | multiples
places = (
    st.sampled_from(["all", "prompt", "generated", "last"])
    | st.integers(-100, 100)
    | st.lists(st.integers(-100, 100), min_size=1, max_size=4)
    | st.builds(slice, st.integers(-9, 9) | st.none(), st.integers(-9, 9) | st.none())
)
features = st.integers(0, 10**6)
edits = (
    st.builds(Ablate, features, positions=places)
    | st.builds(Scale, features, finite, positions=places)
    | st.sampled_from([Clamp, Add, Floor, Cap]).flatmap(
        lambda kind: st.builds(kind, features, values, positions=places)
    )
)
interventions = st.builds(
    Intervention,
    st.text(min_size=1, max_size=9),
    st.lists(edits, max_size=4),
    st.sampled_from(["keep", "drop"]),
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (steer.Clamp(5, -0.0), steer.Clamp(5, 0.0)),
        (steer.Clamp(5, "-0x"), steer.Clamp(5, "0x max")),
        (steer.Scale(5, -0.0), steer.Scale(5, 0)),
        (steer.Ablate(5, when=steer.Active(3, -0.0)), steer.Ablate(5, when=steer.Active(3))),
        (steer.ProjectOut(steer.Vector([1, -0.0])), steer.ProjectOut(steer.Vector([1.0, 0]))),
        (steer.Ablate(5, positions="01:"), steer.Ablate(5, positions=slice(1, None))),
        (steer.Ablate(5, positions="2:-03:1"), steer.Ablate(5, positions="2:-3")),
    ],
)
def test_what_is_equal_is_the_same_text(one: steer.Edit, other: steer.Edit) -> None:
    """So that it has one digest, by which runs, files and servers know it."""
    first, second = (steer.Intervention("tiny", [edit]) for edit in (one, other))
    assert first == second
    assert (first.to_json(), first.digest) == (second.to_json(), second.digest)


@given(interventions)
def test_json_round_trip(edit: Intervention) -> None:
    again = Intervention.from_json(edit.to_json())
    assert again == edit
    assert hash(again) == hash(edit)
    assert again.to_json() == edit.to_json()
    assert again.digest == edit.digest


@given(interventions, interventions)
def test_the_digest_tells_interventions_apart(one: Intervention, other: Intervention) -> None:
    assert (one == other) == (one.digest == other.digest)


@given(multiples)
def test_a_multiple_keeps_its_amount(value: str) -> None:
    amount, _, unit = value.partition("x")
    stored = Clamp(0, value).value
    assert isinstance(stored, str)
    kept, _, kept_unit = stored.partition("x")
    assert float(kept) == float(amount)
    assert kept_unit.strip() == (unit.strip() or "max")


def test_a_file_round_trip(tmp_path: Path) -> None:
    edit = Intervention(NAME, [Clamp(1, "5x max"), Ablate(2, positions=[1, 2])])
    edit.save(tmp_path / "edit.json")
    assert Intervention.load(tmp_path / "edit.json") == edit


def test_equal_by_content() -> None:
    one = Intervention(NAME, [Clamp(1, "5x max"), Scale(2, 3)])
    assert one == Intervention(NAME, (Clamp(feature=1, value=" 5 x"), Scale(2, factor=3.0)))
    assert Clamp(1, 5) == Clamp(1, 5.0) == Clamp(1, "5") != Clamp(1, "5x")
    assert Clamp(1, 5, positions=slice(2, 5)) == Clamp(1, 5, positions="2:5")
    assert Clamp(1, 5, positions=[2, 5]) == Clamp(1, 5, positions=(2, 5))
    different = [Add(1, 5), Floor(1, 5), Cap(1, 5), Clamp(2, 5), Clamp(1, 5, positions="last")]
    assert all(Clamp(1, 5) != edit for edit in different)
    assert one != Intervention(NAME, [Scale(2, 3), Clamp(1, "5x max")])
    assert one != Intervention(NAME, one.edits, "drop")


def test_one_edit_needs_no_list() -> None:
    assert Intervention(NAME, Clamp(1, 5)) == Intervention(NAME, [Clamp(1, 5)])  # type: ignore[arg-type]


BAD_VALUES = [math.nan, math.inf, -math.inf, "nan", "inf", "", "x", "max", "5y", "5x most"]
BAD_VALUES += ["5x q100", "5 max", "--5x", "5xx", None, True, [5], "1e999x", "٥x5"]


@pytest.mark.parametrize("kind", [Clamp, Add, Floor, Cap])
@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_bad_values(kind: Any, value: Any) -> None:
    with pytest.raises(InterventionError, match="value"):
        kind(1, value)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf, "2", "2x", None, True, [2]])
def test_bad_factors(factor: Any) -> None:
    with pytest.raises(InterventionError):
        Scale(1, factor)


@pytest.mark.parametrize("feature", [-1, 1.0, "1", None, True, [1]], ids=repr)
def test_bad_features(feature: Any) -> None:
    with pytest.raises(InterventionError, match="feature"):
        Ablate(feature)


@pytest.mark.parametrize("dictionary", ["", None, 3])
def test_bad_dictionary_names(dictionary: Any) -> None:
    with pytest.raises(InterventionError, match="dictionary must be a name"):
        Intervention(dictionary, [Ablate(1)])


@pytest.mark.parametrize("edits", [["clamp"], [None], [{"kind": "ablate", "feature": 1}]])
def test_what_is_no_edit(edits: Any) -> None:
    with pytest.raises(InterventionError, match="is not an edit"):
        Intervention(NAME, edits)


def test_bad_error_policy() -> None:
    with pytest.raises(InterventionError, match=r"error='lose' is unknown; allowed: keep,.* drop"):
        Intervention(NAME, [Ablate(1)], "lose")  # type: ignore[arg-type]


GOOD: dict[str, Any] = json.loads(Intervention(NAME, [Clamp(1, "5x max")]).to_json())
CLAMP: dict[str, Any] = GOOD["edits"][0]
BAD_JSON = {
    "no json": "{",
    "a list": "[]",
    "null": "null",
    "unknown key": json.dumps(GOOD | {"dictionnary": "x"}),
    "unknown version": json.dumps(GOOD | {"version": 99}),
    "no dictionary": json.dumps({"edits": []}),
    "no edits": json.dumps({"dictionary": NAME}),
    "edits no list": json.dumps(GOOD | {"edits": 3}),
    "edits of text": json.dumps(GOOD | {"edits": ["clamp"]}),
    "unknown kind": json.dumps(GOOD | {"edits": [CLAMP | {"kind": "clmap"}]}),
    "kind a list": json.dumps(GOOD | {"edits": [CLAMP | {"kind": []}]}),
    "unknown edit key": json.dumps(GOOD | {"edits": [CLAMP | {"strength": 3}]}),
    "key of another kind": json.dumps(GOOD | {"edits": [CLAMP | {"factor": 3}]}),
    "no value": json.dumps(GOOD | {"edits": [{"kind": "clamp", "feature": 1}]}),
    "no feature": json.dumps(GOOD | {"edits": [{"kind": "ablate"}]}),
    "nan": json.dumps(GOOD | {"edits": [CLAMP | {"value": math.nan}]}),
    "infinite": json.dumps(GOOD | {"edits": [CLAMP | {"value": math.inf}]}),
    "positions a number": json.dumps(GOOD | {"edits": [CLAMP | {"positions": 2.5}]}),
    "positions null": json.dumps(GOOD | {"edits": [CLAMP | {"positions": None}]}),
    "positions empty": json.dumps(GOOD | {"edits": [CLAMP | {"positions": []}]}),
    "positions unknown": json.dumps(GOOD | {"edits": [CLAMP | {"positions": "first"}]}),
    "positions of text": json.dumps(GOOD | {"edits": [CLAMP | {"positions": ["a"]}]}),
    "error unknown": json.dumps(GOOD | {"error": "lose"}),
    "error a list": json.dumps(GOOD | {"error": []}),
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(text: str) -> None:
    with pytest.raises(InterventionError):
        Intervention.from_json(text)


def test_unknown_names_are_answered_with_what_is_allowed() -> None:
    with pytest.raises(InterventionError, match=r"'clmap' is unknown; allowed: ablate, clamp"):
        Intervention.from_json(BAD_JSON["unknown kind"])
    with pytest.raises(InterventionError, match=r"no 'strength'; allowed: .*feature.*value"):
        Intervention.from_json(BAD_JSON["unknown edit key"])
    with pytest.raises(InterventionError, match=r"no 'dictionnary'; allowed: .*dictionary"):
        Intervention.from_json(BAD_JSON["unknown key"])


# -- against a model ---------------------------------------------------------------------------


def check(model: steer.Model, *edits: Edit, error: Any = "keep") -> None:
    sae = tiny.dictionary()
    model.plans([Intervention("tiny", edits, error)], [sae])


CONFLICTS = {
    "everywhere": (Clamp(5, 1), Ablate(5)),
    "named": (Clamp(5, 1, positions="prompt"), Ablate(5, positions="generated")),
    "last and a number": (Clamp(5, 1, positions="last"), Ablate(5, positions=3)),
    "the same number": (Clamp(5, 1, positions=3), Ablate(5, positions=[2, 3])),
    "from both ends": (Clamp(5, 1, positions=3), Ablate(5, positions=-1)),
    "twice the same": (Clamp(5, 1), Clamp(5, 1)),
}


@pytest.mark.parametrize("pair", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_conflicting_edits_are_refused(pair: tuple[Edit, Edit], llama: steer.Model) -> None:
    with pytest.raises(InterventionError, match="feature 5 has two edits"):
        check(llama, *pair)


def test_edits_apart_are_no_conflict(llama: steer.Model) -> None:
    check(llama, Clamp(5, 1, positions=3), Ablate(5, positions=[1, 2]), Ablate(6))


def test_no_edits_are_refused_unless_the_error_is_dropped(llama: steer.Model) -> None:
    with pytest.raises(InterventionError, match="no edits"):
        check(llama)
    check(llama, error="drop")


def test_a_multiple_needs_statistics(llama: steer.Model) -> None:
    edit = Intervention("tiny", [Clamp(5, "5x max")])
    with pytest.raises(InterventionError, match="tiny has no statistics"):
        llama.plans([edit], [tiny.dictionary(with_statistics=False)])


@pytest.mark.parametrize("value", ["5x max", "1x mean", "2x q99"])
def test_a_multiple_of_a_feature_that_was_never_active(value: str, llama: steer.Model) -> None:
    with pytest.raises(steer.DictionaryError, match="feature 0 was never above 0"):
        check(llama, Clamp(0, value))


def test_a_quantile_that_was_not_kept(llama: steer.Model) -> None:
    with pytest.raises(steer.DictionaryError, match="q37 was not kept; kept: q10, q25"):
        check(llama, Clamp(5, "1x q37"))


@pytest.mark.parametrize(
    ("value", "share"), [("3x max", 3.0), ("3x", 3.0), ("2x mean", 1.0), ("2x q90", 1.8)]
)
def test_multiples_are_of_the_statistics(value: str, share: float, llama: steer.Model) -> None:
    sae = tiny.dictionary()
    assert sae.statistics is not None
    effect = steer.logit_effect(
        llama, tiny.PROMPT, Intervention("tiny", [Clamp(5, value)]), dictionaries=[sae]
    )
    asked = effect.receipts[0][0].after
    assert asked == pytest.approx(share * sae.statistics.maximum[5].item(), rel=1e-6)
