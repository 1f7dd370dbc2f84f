"""Interventions whose positions differ by row, as they are for some rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from steer.edits.base import Edit
from steer.edits.intervention import Intervention
from steer.edits.positions import Positions, Rows, canonical, refuse_other_rows


def of_row(interventions: Sequence[Intervention], row: int, rows: int) -> tuple[Intervention, ...]:
    """What the interventions are for one row of a batch of so many, with its positions alone.

    Raises `InterventionError` for positions of another number of rows.
    """

    def own(positions: Rows) -> Positions:
        return positions.specs[row]

    return tuple(_with(intervention, own, rows) for intervention in interventions)


def of_rows(
    interventions: Sequence[Intervention], part: slice, rows: int
) -> tuple[Intervention, ...]:
    """The same for some rows of the batch, as a batch of their own."""

    def own(positions: Rows) -> Positions:
        return Rows(*positions.specs[part])

    return tuple(_with(intervention, own, rows) for intervention in interventions)


def row_count(interventions: Sequence[Intervention]) -> int | None:
    """How many rows the positions are for; None if they serve any number.

    Raises `InterventionError` if they disagree.
    """
    touched = [
        canonical(edit.positions) for intervention in interventions for edit in intervention.edits
    ]
    by_row = [positions for positions in touched if isinstance(positions, Rows)]
    for positions in by_row:
        refuse_other_rows(positions, len(by_row[0]))
    return len(by_row[0]) if by_row else None


def _with(intervention: Intervention, own: Callable[[Rows], Positions], rows: int) -> Intervention:
    if row_count([intervention]) is None:
        return intervention
    return replace(intervention, edits=[_edit(edit, own, rows) for edit in intervention.edits])


def _edit(edit: Edit, own: Callable[[Rows], Positions], rows: int) -> Edit:
    positions = canonical(edit.positions)
    refuse_other_rows(positions, rows)
    return replace(edit, positions=own(positions)) if isinstance(positions, Rows) else edit
