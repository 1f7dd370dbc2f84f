"""A plan: what the splice needs to know of an intervention, as tensors.

The splice works on *targets*: the features and directions that are edited or asked about. Each has
a reading (an activation, or a projection) and a row of `W_dec` that it writes. An edit points at
its target; several edits may share one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Edit
from steer.edits.conditions import Leaf
from steer.edits.positions import Canonical, select
from steer.lm.anatomy import Site
from steer.lm.span import Span


@dataclass(frozen=True, eq=False)
class LoweredEdit:
    """One edit, ready to run.

    target: index among the plan's targets.
    amount, per_norm: value = amount + per_norm · ‖x‖ / ‖W_dec[target]‖.
    table: values by absolute position [t] instead, NaN where the edit does not act.
    """

    edit: Edit
    target: int
    positions: Canonical
    amount: float
    per_norm: float
    table: Tensor | None
    leaves: dict[Leaf, int]

    def to(self, device: torch.device) -> LoweredEdit:
        return self if self.table is None else replace(self, table=self.table.to(device))

    def value(self, norm: Tensor, row_norm: Tensor, span: Span) -> Tensor | float:
        """The edit's value at each token: a number, or [b, s]."""
        if self.table is not None:
            return self.table[span.absolute.clamp(min=0, max=len(self.table) - 1)]
        if self.per_norm:
            return self.amount + self.per_norm * norm / row_norm[self.target]
        return self.amount


@dataclass(frozen=True, eq=False)
class LaterSite:
    """A site beyond `out` that the targets of a cross-layer transcoder write, W_dec [n, d]."""

    site: Site
    W_dec: Tensor


@dataclass(frozen=True, eq=False)
class SitePlan:
    """One intervention at its site.

    site, out: where it reads and where it writes; the same but for transcoders.
    dictionary: restricted to the features needed, or whole; None for direction edits alone.
    columns: where the feature targets are among the dictionary's features, [n].
    directions: unit direction targets [k, d], after the features.
    W_dec: what each target writes [n + k + m, d]; zeros for a subspace, which writes the stream's
        own part in it.
    rows: the batch rows that are edited; clean: those of the same texts without edits, for the
        frozen error.
    error: keep, frozen or drop.
    later: what else the features write, in the order of the forward pass.
    """

    site: Site
    out: Site
    dictionary: Dictionary | None
    columns: Tensor
    directions: Tensor
    W_dec: Tensor
    edits: tuple[LoweredEdit, ...]
    rows: slice = field(default_factory=lambda: slice(None))
    clean: slice | None = None
    error: str = "keep"
    later: tuple[LaterSite, ...] = ()
    subspaces: tuple[Tensor, ...] = ()
    """Orthonormal rows [., d] of each of the m subspaces, the last targets."""

    @property
    def outs(self) -> tuple[Site, ...]:
        """Every site that it writes."""
        return (self.out, *(place.site for place in self.later))

    def rows_at(self, site: Site) -> Tensor:
        """What each target writes at one of `outs` [n + k, d]."""
        return next((place.W_dec for place in self.later if place.site == site), self.W_dec)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, whatever the model's own dtype is."""
        return self.W_dec.dtype

    @property
    def nbytes(self) -> int:
        """Size of its tensors: what a remote run carries besides the source."""
        tensors = [self.columns, self.directions, self.W_dec, *self.subspaces]
        if self.dictionary is not None:
            tensors += [getattr(self.dictionary, n) for n in self.dictionary.tensor_names()]
            tensors += [] if self.dictionary.W_skip is None else [self.dictionary.W_skip]
        tensors += [place.W_dec for place in self.later]
        tensors += [edit.table for edit in self.edits if edit.table is not None]
        return sum(tensor.nbytes for tensor in tensors)

    def to(self, device: torch.device) -> SitePlan:
        """The same plan on another device; a server's model is not where this one is."""
        if self.W_dec.device == device:
            return self
        return replace(
            self,
            dictionary=None if self.dictionary is None else self.dictionary.to(device),
            columns=self.columns.to(device),
            directions=self.directions.to(device),
            W_dec=self.W_dec.to(device),
            subspaces=tuple(rows.to(device) for rows in self.subspaces),
            edits=tuple(edit.to(device) for edit in self.edits),
            later=tuple(replace(e, W_dec=e.W_dec.to(device)) for e in self.later),
        )

    @property
    def row_norm(self) -> Tensor:
        """Norm of what a unit of each target writes, [n + k + m]."""
        norms = self.W_dec.norm(dim=-1)
        norms[self.first_subspace :] = 1
        return norms

    @property
    def first_subspace(self) -> int:
        """The number of the first target that is a subspace."""
        return len(self.columns) + len(self.directions)

    @property
    def leaves(self) -> dict[Leaf, int]:
        """Conditions on features, and the target that each looks at."""
        return {leaf: target for edit in self.edits for leaf, target in edit.leaves.items()}

    @property
    def feature_edits(self) -> list[LoweredEdit]:
        return [edit for edit in self.edits if edit.target < len(self.columns)]

    @property
    def direction_edits(self) -> list[LoweredEdit]:
        n, stop = len(self.columns), self.first_subspace
        return [edit for edit in self.edits if n <= edit.target < stop]

    @property
    def subspace_edits(self) -> list[LoweredEdit]:
        return [edit for edit in self.edits if edit.target >= self.first_subspace]

    def touched(self, span: Span) -> list[Tensor]:
        """For each edit, mask [b, s] of the tokens that its positions mean."""
        masks = {places: select(places, span) for places in {e.positions for e in self.edits}}
        return [masks[edit.positions] for edit in self.edits]
