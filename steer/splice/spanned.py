"""Subspaces as orthonormal rows, and edits that would change one part of the stream twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from steer.edits import SubspaceEdit
from steer.edits.conflicts import named
from steer.edits.directions import Direction
from steer.edits.overlap import may_overlap
from steer.edits.subspaces import Subspace
from steer.errors import InterventionError
from steer.splice.plan import LoweredEdit, SitePlan

_INDEPENDENT = 1e-4
"""Smallest singular value of the unit directions of a subspace."""
_ALIKE = 1e-5
"""Squared sine of the largest angle between two subspaces that differ by rounding."""


def spanned(subspace: Subspace, resolve: Callable[[Direction], Tensor]) -> Tensor:
    """Orthonormal rows [k, d], float64. Raises `InterventionError` for dependent directions."""
    vectors = torch.stack([resolve(span).double().cpu() for span in subspace.spans])
    units = vectors / vectors.norm(dim=1, keepdim=True)
    _, sizes, rows = torch.linalg.svd(units, full_matrices=False)
    independent = int((sizes > _INDEPENDENT).sum())
    if independent < len(units):
        raise InterventionError(
            f"{subspace!r} is given by {len(units)} directions that span {independent} dimensions: "
            "leave out those that are sums of the others"
        )
    return rows


def distinct_subspaces(
    rows_of: dict[Subspace, Tensor],
) -> tuple[tuple[Tensor, ...], dict[Subspace, int]]:
    """Each space once, and which one a list of directions spans."""
    distinct: list[Tensor] = []
    number_of = {}
    for subspace, rows in rows_of.items():
        same = [number for number, other in enumerate(distinct) if _equal(rows, other)]
        number_of[subspace] = same[0] if same else len(distinct)
        distinct += [] if same else [rows]
    return tuple(distinct), number_of


def _equal(rows: Tensor, others: Tensor) -> bool:
    return rows.shape == others.shape and _inside(rows, others)


def _inside(rows: Tensor, others: Tensor) -> bool:
    """Whether the span of rows [j, d] lies in that of others [k, d]; both orthonormal."""
    left = rows - rows @ others.T @ others
    return bool(left.square().sum(1).amax() < _ALIKE)


def same_subspaces(first: SitePlan, second: SitePlan) -> list[tuple[LoweredEdit, LoweredEdit]]:
    """Edits of two plans that are of one space, however it is spanned."""
    pairs = product(first.subspace_edits, second.subspace_edits)
    return [(one, other) for one, other in pairs if _equal(_rows(first, one), _rows(second, other))]


def refuse_inside(first: SitePlan, second: SitePlan) -> None:
    """Raise `InterventionError` for an edit of what lies inside the subspace of another.

    Both would change the part that they share, and what they write adds up.
    """
    for one, other in product(
        first.subspace_edits, [*second.direction_edits, *second.subspace_edits]
    ):
        ours, theirs = _rows(first, one), _rows(second, other)
        one_target = isinstance(other.edit, SubspaceEdit) and _equal(ours, theirs)
        if one_target or not may_overlap(one.positions, other.positions):
            continue
        if _inside(theirs, ours):
            raise InterventionError(
                f"{named(other.edit)} and {named(one.edit)} share a part of the stream and can "
                f"touch the same token ({other.edit.kind}, {one.edit.kind}): one of them would be "
                "lost; keep one, or give them positions that share no token"
            )


def _rows(plan: SitePlan, edit: LoweredEdit) -> Tensor:
    """Orthonormal rows [., d] of what a direction or subspace edit is of."""
    if edit.target >= plan.first_subspace:
        return plan.subspaces[edit.target - plan.first_subspace]
    return plan.directions[edit.target - len(plan.columns)].unsqueeze(0)
