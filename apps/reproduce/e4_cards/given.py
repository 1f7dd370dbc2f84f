"""E4's detectors in dictionaries that are given by folder, such as baselines with a frozen part.

    python -m apps.reproduce.e4_cards.given --dictionary "frozen decoder=FOLDER"

In each, at the shipped dictionary's site and beside it, the feature that best finds a kind of
token, or the token before one, is searched on training documents of its recipe, and judged on
documents that no dictionary of it was trained on. So are principal components and neurons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from apps.labels.reading import Reading
from apps.reproduce.cells import bounds
from apps.reproduce.e4_cards.experiment import CASES, Read, judged, of_kind, search
from apps.reproduce.settings import silent
from apps.reproduce.shared import bases
from apps.reproduce.shared.given import (
    SHIPPED,
    GivenDictionaries,
    KeptRow,
    measure_given,
    read_given,
)
from apps.reproduce.shared.recipe_text import about, recipe_text
from dictionaries.baselines import neurons, pca
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.loading import load
from steer.model import Model

RESULTS = Path(__file__).parents[1] / "results" / "e4_given.jsonl"
REVISION = 1
"""Of what a row means: raise it, and kept rows are refused."""
MEASURES = ("precision", "recall", "f1")


def run(model: Model, named: Mapping[str, Dictionary], text: Reading, out: Path) -> list[KeptRow]:
    """A row a case and dictionary; what was measured before too.

    text: as many contexts that choose as such that judge, those that choose first.
    """
    read = Read(text.tokens, text.activations.float(), text.keep)
    fitted = read.x[: read.half][read.keep[: read.half]]
    centred = bases.centred(neurons(read.x.shape[-1]), fitted.mean(0))
    every = {**named, "PCA": pca(fitted), "neurons": centred}

    def measure(dictionary: Dictionary, item: tuple[str, str]) -> list[KeptRow]:
        case, pattern = item
        row = detected(model, dictionary, pattern, read)
        return [{"dictionary": dictionary.name, "case": case, **row}]

    header = {"what": "E4, given", "revision": REVISION, **about(text)}
    asked = {case: (case, pattern) for case, pattern in CASES.items()}
    return measure_given(Ledger(out, header), every, asked, measure)


def detected(model: Model, dictionary: Dictionary, pattern: str, read: Read) -> dict[str, Any]:
    """The best feature on the half that is searched, and its figures on the other; None and 0 where
    no feature finds three of the tokens."""
    kinds = {place: mask & read.keep for place, mask in of_kind(model, read.ids, pattern).items()}
    place, detector = search(dictionary, read, kinds)
    row: dict[str, Any] = {"place": place, "tokens": int(kinds[place][read.half :].sum())}
    if not detector.f1:
        return {**row, "feature": None, **dict.fromkeys(MEASURES, 0.0)}
    scores = judged(dictionary, detector, read, kinds[place])
    row |= {"feature": detector.feature, "threshold": detector.threshold, "searched": detector.f1}
    for measure in MEASURES:
        row |= bounds(measure, getattr(scores, measure))
    return row


def table(rows: Sequence[KeptRow]) -> str:
    """F1, precision and recall of the best feature of each dictionary, with intervals over
    contexts."""
    lines = ["| case | | feature | F1 | precision, recall | tokens |", "|---" * 6 + "|"]
    for row in sorted(rows, key=lambda row: list(CASES).index(row["case"])):
        f1, precision, recall = (f"{row[measure]:.2f}" for measure in ("f1", *MEASURES[:2]))
        span = f" [{row['f1_low']:.2f}, {row['f1_high']:.2f}]" if "f1_low" in row else ""
        feature = "none" if row["feature"] is None else f"{row['feature']}, {row['place']} it"
        lines.append(
            f"| {row['case']} | {row['dictionary']} | {feature} | {f1}{span} | "
            f"{precision}, {recall} | {row['tokens']} |"
        )
    return "\n".join(lines)


def main(
    dictionary: GivenDictionaries = None,
    contexts: int = 100,
    work: Path | None = None,
    out: Path = RESULTS,
) -> None:
    """Run what is missing, and print the table. CONTEXTS, of 256 tokens: to search; to judge."""
    model = load()
    named = read_given(model, [f"shipped={SHIPPED}", *(dictionary or ())])
    text, _ = recipe_text(contexts, contexts, work=work, progress=silent)
    print(table(run(model, named, text, out)))


if __name__ == "__main__":
    typer.run(main)
