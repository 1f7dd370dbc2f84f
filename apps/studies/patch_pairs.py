"""`steer patch`: pairs of prompts, and how few features of each carry what the two differ in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from apps.text_files import read_lines
from steer.effects.patching.minimal_set import minimal_set
from steer.effects.patching.patchable import Patchable
from steer.errors import PromptError, SteerError
from steer.maths.statistics import interval
from steer.progress import Progress


def read_pairs(texts: Sequence[str], file: Path | None) -> tuple[list[str], list[str]]:
    """Bases and targets. Raises `PromptError` for what are no pairs."""
    if bool(texts) == (file is not None):
        raise PromptError("give BASE and TARGET texts, or a file with --pairs FILE")
    if len(texts) % 2:
        raise PromptError(f"{len(texts)} texts are no pairs: give BASE TARGET, BASE TARGET ...")
    pairs = [tuple(texts[i : i + 2]) for i in range(0, len(texts), 2)]
    if file is not None:
        pairs = [tuple(line.split("\t")) for line in read_lines(file)]
        wrong = [number for number, pair in enumerate(pairs, 1) if len(pair) != 2]
        if wrong or not pairs:
            where = f"line {wrong[0]}" if wrong else "it"
            raise PromptError(f"{file}: {where} is not a base, a tab and a target")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def patched(
    pair: Patchable,
    order: Sequence[int],
    kl: float | None,
    top: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """One pair: how many nodes differ, the best of them, and the fewest that reach the goal."""
    row: dict[str, Any] = {
        "base": pair.base,
        "target": pair.target,
        "differ": len(pair.nodes),
        "ranked": list(order[:top]),
        "minimal": None,
        "missed": None,
    }
    if kl is None:
        return row
    try:
        return row | {"minimal": minimal_set([pair], order, kl=kl, progress=progress).to_dict()}
    except SteerError as missed:
        return row | {"missed": str(missed)}


def one_of(progress: Progress | None, number: int, pairs: int) -> Progress | None:
    """The progress of one of several pairs, as that of all of them."""
    if progress is None:
        return None
    whole = progress

    def told(what: str, done: int, total: int) -> None:
        whole(
            f"fewest features: pair {number + 1} of {pairs}, {what}",
            number * total + done,
            pairs * total,
        )

    return told


def fewest(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The size of the smallest sets, with its interval over the pairs that reach the goal.

    Raises `SteerError` if none does.
    """
    sizes = [len(row["minimal"]["nodes"]) for row in rows if row["minimal"]]
    if not sizes:
        raise SteerError(rows[0]["missed"])
    size = interval(torch.tensor(sizes, dtype=torch.float64))
    bounds = {"mean": size.mean, "low": size.low, "high": size.high}
    return {**bounds, "reached": len(sizes), "pairs": len(rows)}
