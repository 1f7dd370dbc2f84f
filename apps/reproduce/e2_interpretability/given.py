"""E2 for dictionaries that are given by folder, such as baselines with a frozen part.

    python -m apps.reproduce.e2_interpretability.given --dictionary "frozen decoder=FOLDER"

The rules of E2, at the shipped dictionary's site and beside it, on text of its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from apps.labels.reading import Reading, token_texts
from apps.reproduce.cells import number
from apps.reproduce.e2_interpretability.experiment import described
from apps.reproduce.settings import silent
from apps.reproduce.shared.given import (
    SHIPPED,
    GivenDictionaries,
    KeptRow,
    measure_given,
    read_given,
)
from apps.reproduce.shared.recipe_text import about, recipe_text
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.interpretation.activity import find_activity
from steer.interpretation.views import groupings
from steer.loading import load

RESULTS = Path(__file__).parents[1] / "results" / "e2_given.jsonl"
REVISION = 1
"""Of what a row means: raise it, and kept rows are refused."""


def run(
    named: Mapping[str, Dictionary], reading: Reading, tokenizer: Any, out: Path
) -> list[KeptRow]:
    """A row a dictionary; what was measured before too."""
    partitions = groupings(token_texts(tokenizer, len(tokenizer)))

    def measure(dictionary: Dictionary, text: Reading) -> list[KeptRow]:
        activity = find_activity(dictionary, text.activations, text.keep, text.heldout)
        row, _ = described(dictionary.name, activity, text.tokens, partitions, seed=0)
        return [row]

    header = {"what": "E2, given", "revision": REVISION, **about(reading)}
    return measure_given(Ledger(out, header), named, {"rules": reading}, measure)


def table(rows: Sequence[KeptRow]) -> str:
    """The share of features with a good rule, its interval over features, and medians."""
    lines = [
        "| | features | with a rule of F1 > .8 | on their strongest tenth | median F1 | density |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        good, low, high = (number(row, f"good{end}") for end in ("", " low", " high"))
        lines.append(
            f"| {row['directions']} | {row['features']:,} | {good:.1%} [{low:.1%}, {high:.1%}] | "
            f"{row['good, strongest']:.1%} | {row['F1']:.2f} | {row['density']:.2%} |"
        )
    return "\n".join(lines)


def main(
    dictionary: GivenDictionaries = None,
    fit: int = 300,
    heldout: int = 150,
    work: Path | None = None,
    out: Path = RESULTS,
) -> None:
    """Run what is missing, and print the table. FIT and HELDOUT are contexts of 256 tokens."""
    named = read_given(load(), [f"shipped={SHIPPED}", *(dictionary or ())])
    reading, tokenizer = recipe_text(fit, heldout, work=work, progress=silent)
    print(table(run(named, reading, tokenizer, out)))


if __name__ == "__main__":
    typer.run(main)
