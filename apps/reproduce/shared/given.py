"""Dictionaries that are given by folder, and rows about them that are kept in the repository.

    python -m apps.reproduce.e5_attribution.given --dictionary "frozen decoder=FOLDER"

Several experiments have such a command, for baselines with a frozen part above all. Rows go into a
ledger as they come; what is there is not measured again. A dictionary is known by its name and its
weights, so that rows of one are never taken for those of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from apps.reproduce.kept.parts import weights_of
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger, read_ledger
from steer.errors import SteerError

if TYPE_CHECKING:
    from steer.model import Model

Item = TypeVar("Item")
KeptRow = Mapping[str, Any]
"""JSON values."""
SITE = "resid_post.20"
SHIPPED = f"smollm2-135m/{SITE}"
GivenDictionaries = Annotated[
    list[str] | None,
    typer.Option("--dictionary", metavar="NAME=FOLDER", help="Or a name alone; repeat it."),
]
_MADE_HERE = "made here"
"""In place of the weights of a control, which is made anew for each run and never read."""


def read_given(
    model: Model, given: Sequence[str] | None, site: str = SITE
) -> dict[str, Dictionary]:
    """Name -> dictionary, from `NAME=FOLDER`; one without a name is called as it is.

    Raises `SteerError` for a name that is given twice and for a dictionary of another site than the
    others, and what `Model.dictionary` raises.
    """
    named: dict[str, Dictionary] = {}
    for pair in given or ():
        name, _, place = pair.partition("=") if "=" in pair else (pair, "", pair)
        if name in named:
            raise SteerError(f"two dictionaries are called {name!r}: give each a name of its own")
        dictionary = model.dictionary(place)
        if (own := model.site_of(dictionary)) != site or dictionary.is_transcoder:
            raise SteerError(
                f"{place} is of {own}, and what is measured here of {site}: give a dictionary that "
                "reads and writes that"
            )
        named[name] = replace(dictionary, name=name)
    return named


def measure_given(
    ledger: Ledger,
    named: Mapping[str, Dictionary],
    items: Mapping[str, Item],
    measure: Callable[[Dictionary, Item], Sequence[KeptRow]],
) -> list[KeptRow]:
    """All rows of the ledger, after measuring every item in every dictionary where it has none.

    Item by item, all dictionaries on each, so that a part is a fair part.
    Raises `SteerError` where it has rows of another dictionary by the same name, or of another
    measurement.
    """
    assert ledger.path is not None
    there = ledger.read()
    measured = {str(key[0]): key[1] for key in there.units}
    weights = {name: _weights(dictionary) for name, dictionary in named.items()}
    for name in named:
        if measured.get(name, weights[name]) != weights[name]:
            raise SteerError(
                f"{ledger.path} has rows of another dictionary that was called {name!r}: give this "
                "one another name, or another --out"
            )
    for about, item in items.items():
        for name, dictionary in named.items():
            key = (name, weights[name], about)
            if key not in there.units:
                rows = measure(replace(dictionary, name=name), item)
                ledger.append(key, [dict(row) for row in rows])
    return [row for rows in read_ledger(ledger.path).units.values() for row in rows]


def _weights(dictionary: Dictionary) -> str:
    return _MADE_HERE if dictionary.place is None else weights_of(dictionary)
