"""Concepts that were once found, for tests of what is done with one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apps.studies import concept_table
from steer import Add, Intervention
from steer.concepts.result import Concept


def recorded(word: str | None = None) -> Concept:
    """One that works, of the default model, from the study's own results."""
    row = next(
        row
        for row in concept_table.rows(concept_table.RESULTS)
        if row["verdict"] == "works" and word in (None, row["word"])
    )
    data = {name: value for name, value in row.items() if name not in ("kind", "seconds")}
    return Concept.from_dict({**data, "examples": {}})


def tiny_concept(**changes: Any) -> Concept:
    """The same, said of two features of the tiny dictionary, at a dose of 0.4."""
    edits = Intervention("tiny", [Add(5, 2.0), Add(9, 1.0)])
    return replace(
        recorded(), intervention=edits, dictionary="tiny", features=(5, 9), dose=0.4, **changes
    )
