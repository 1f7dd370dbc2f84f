"""E5 for dictionaries that are given by folder, such as baselines with a frozen part.

    python -m apps.reproduce.e5_attribution.given --dictionary "frozen decoder=FOLDER"

The prompts of E5's indirect objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import typer

from apps.reproduce.e5_attribution.experiment import REVISION, Case, agreements
from apps.reproduce.e5_attribution.table import ESTIMATES, Found
from apps.reproduce.shared.given import GivenDictionaries, measure_given, read_given
from apps.studies import ioi_prompts
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.loading import load
from steer.maths.statistics import interval
from steer.model import Model

RESULTS = Path(__file__).parents[1] / "results" / "e5_given.jsonl"


def run(
    model: Model, named: Mapping[str, Dictionary], cases: Sequence[Case], out: Path
) -> list[Found]:
    """Every prompt in every dictionary; what was measured before too."""
    header = {"what": "E5, given", "revision": REVISION, "model": model.fingerprint}
    asked = {case.prompt: (number, case) for number, case in enumerate(cases)}

    def measure(dictionary: Dictionary, item: tuple[int, Case]) -> list[dict[str, object]]:
        number, case = item
        return [asdict(row) for row in agreements(model, dictionary, case, number, seed=0)]

    rows = measure_given(Ledger(out, header), named, asked, measure)
    return [Found(**row) for row in rows]


def table(rows: Sequence[Found]) -> str:
    """Mean Pearson correlation with exact ablation over the prompts, a row a dictionary."""
    lines = ["| | prompts | " + " | ".join(ESTIMATES) + " |", "|---" * (len(ESTIMATES) + 2) + "|"]
    for name in dict.fromkeys(row.dictionary for row in rows):
        cells = []
        for estimate in ESTIMATES:
            own = [e.pearson for e in rows if (e.dictionary, e.estimate) == (name, estimate)]
            cells.append(str(interval(torch.tensor(own))))
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(dictionary: GivenDictionaries = None, prompts: int = 4, out: Path = RESULTS) -> None:
    """Run what is missing, and print the table."""
    model = load()
    pairs = ioi_prompts.pairs(model, prompts, 0)
    cases = [Case("ioi", pair.prompt, pair.metric) for pair in pairs]
    print(table(run(model, read_given(model, dictionary), cases, out)))


if __name__ == "__main__":
    typer.run(main)
