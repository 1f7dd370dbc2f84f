"""E5 for dictionaries that are given by path, such as baselines with a frozen part.

    python -m apps.reproduce.e5_attribution.given --dictionary "frozen decoder=FOLDER"

The prompts of E5's indirect objects; a line of JSON a prompt and an estimate is appended to OUT,
and what is there is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from apps.reproduce.e5_attribution.experiment import Case, agreements
from apps.reproduce.e5_attribution.table import ESTIMATES, Found
from apps.studies import ioi_prompts
from dictionaries.dictionary import Dictionary
from steer.loading import load
from steer.maths.statistics import interval
from steer.model import Model

RESULTS = Path(__file__).parents[1] / "results" / "e5_given.jsonl"


def run(model: Model, named: dict[str, Dictionary], cases: Sequence[Case], out: Path) -> None:
    """Prompt by prompt, all dictionaries on each, so that a part is a fair part."""
    done = {(row.dictionary, row.prompt) for row in rows(out)}
    for number, case in enumerate(cases):
        for name, dictionary in named.items():
            if (name, number) in done:
                continue
            found = agreements(model, replace(dictionary, name=name), case, number, seed=0)
            with out.open("a") as file:
                file.write("".join(json.dumps(asdict(each)) + "\n" for each in found))


def rows(out: Path) -> list[Found]:
    """What was measured so far."""
    return (
        [Found(**json.loads(line)) for line in out.read_text().splitlines()] if out.exists() else []
    )


def table(found: Sequence[Found]) -> str:
    """Mean Pearson correlation with exact ablation over the prompts, a row a dictionary."""
    lines = ["| | prompts | " + " | ".join(ESTIMATES) + " |", "|---" * (len(ESTIMATES) + 2) + "|"]
    for name in dict.fromkeys(each.dictionary for each in found):
        cells = []
        for estimate in ESTIMATES:
            own = [e.pearson for e in found if (e.dictionary, e.estimate) == (name, estimate)]
            cells.append(str(interval(torch.tensor(own))))
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    dictionary: Annotated[list[str], typer.Option(help="NAME=FOLDER, or a name; repeat it.")],
    prompts: int = 4,
    out: Path = RESULTS,
) -> None:
    """Run what is missing, and print the table."""
    model = load()
    given = (each.rpartition("=") for each in dictionary)
    named = {name or place: model.dictionary(place) for name, _, place in given}
    pairs = ioi_prompts.pairs(model, prompts, 0)
    run(model, named, [Case("ioi", pair.prompt, pair.metric) for pair in pairs], out)
    print(table(rows(out)))


if __name__ == "__main__":
    typer.run(main)
