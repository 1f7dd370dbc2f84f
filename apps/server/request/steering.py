"""The field `steering` of a request: what it asks for, as interventions, or why it can't be that.

Three forms: an intervention's own JSON; a list of such; the short form, a list of
`{"feature": 1176, "clamp": "2x max"}`. An empty list is explicitly unsteered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dictionaries.files.strict_json import read_json
from steer.edits import Intervention
from steer.edits.phrases import parse_condition, parse_schedule
from steer.errors import InterventionError

_VALUED = {"clamp": "value", "add": "value", "floor": "value", "cap": "value", "scale": "factor"}
_WHERE = ("positions", "when", "schedule")
_MOST_EDITS = 512
"""Planning them takes a time that grows with their square, and holds up every text."""
_MOST_TEXTS = 32
"""Texts that edits may take values from: each is a pass of the model before anything is said."""


def read_steering(given: Any, default_dictionary: str) -> tuple[Intervention, ...]:
    """What is to act, together. Raises `InterventionError` for what is none of the forms."""
    if isinstance(given, str):
        given = read_json(given, "steering is no JSON", InterventionError)  # as in `vllm_xargs`
    items = [given] if isinstance(given, dict) else given
    if not isinstance(items, list):
        raise InterventionError(
            f"steering is an intervention, a list of them, or a list such as "
            f'[{{"feature": 1176, "clamp": "2x max"}}], not {given!r}'
        )
    _refuse_many_edits(items)
    _refuse_many_texts(items)
    read = [_read(item, default_dictionary) for item in items]
    grouped = groupby(read, key=lambda item: item.dictionary if item.short else id(item))
    return tuple(_joined(list(group)) for _, group in grouped)


class _Item:
    """One entry: an intervention, or an edit in short form with its dictionary."""

    def __init__(self, dictionary: str, data: Mapping[str, Any], short: bool) -> None:
        self.dictionary, self.data, self.short = dictionary, data, short


def _read(item: Any, default_dictionary: str) -> _Item:
    if not isinstance(item, dict):
        raise InterventionError(f"{item!r} in steering is no object such as an intervention")
    if "feature" not in item:
        return _Item("", item, short=False)
    dictionary = item.get("dictionary", default_dictionary)
    return _Item(dictionary, _edit(item), short=True)


def _joined(items: Sequence[_Item]) -> Intervention:
    if not items[0].short:
        return Intervention.from_dict(dict(items[0].data))
    edits = [dict(item.data) for item in items]
    return Intervention.from_dict({"dictionary": items[0].dictionary, "edits": edits})


def _edit(item: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of an edit in short form, whose kind is a key of its own."""
    verbs = [key for key in item if key in _VALUED or key == "ablate"]
    known = {"feature", "dictionary", *_WHERE, *_VALUED, "ablate"}
    if unknown := sorted(set(item) - known):
        raise InterventionError(
            f"unknown key {', '.join(unknown)} in {dict(item)!r}; allowed: "
            f"{', '.join(sorted(known))}"
        )
    if len(verbs) != 1:
        raise InterventionError(
            f"{dict(item)!r} needs one of {', '.join(('ablate', *_VALUED))}, and has {len(verbs)}"
        )
    (verb,) = verbs
    edit: dict[str, Any] = {"kind": verb, "feature": item["feature"]}
    if verb == "ablate":
        edit |= _ablated(item["ablate"])
    else:
        edit[_VALUED[verb]] = item[verb]
    edit |= {name: item[name] for name in _WHERE if name in item}
    if isinstance(edit.get("when"), str):
        edit["when"] = parse_condition(edit["when"]).to_dict()
    if isinstance(edit.get("schedule"), str):
        edit["schedule"] = parse_schedule(edit["schedule"]).to_dict()
    return edit


def _ablated(value: Any) -> dict[str, Any]:
    if value is True:
        return {}
    if value in ("zero", "mean"):
        return {"to": value}
    raise InterventionError(f'"ablate": {value!r} is not allowed; give true, "zero" or "mean"')


def _refuse_many_edits(items: Sequence[Any]) -> None:
    several = [item.get("edits") if isinstance(item, dict) else None for item in items]
    count = sum(len(edits) if isinstance(edits, list) else 1 for edits in several)
    if count > _MOST_EDITS:
        raise InterventionError(
            f"these are {count} edits, and at most {_MOST_EDITS} are allowed in a request: use "
            "Model.generate for more"
        )


def _refuse_many_texts(data: Any) -> None:
    count = _texts(data)
    if count > _MOST_TEXTS:
        raise InterventionError(
            f"these edits take values from {count} texts, and each is a pass of the model: at most "
            f"{_MOST_TEXTS} are allowed in a request"
        )


def _texts(data: Any) -> int:
    if isinstance(data, dict):
        own = sum(
            len(data[name])
            for name in ("positive", "negative", "reference")
            if isinstance(data.get(name), list)
        )
        return own + ("prompt" in data) + sum(_texts(value) for value in data.values())
    return sum(_texts(value) for value in data) if isinstance(data, list) else 0
