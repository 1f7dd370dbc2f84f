"""What edits did over a whole evaluation: a receipt summed over thousands of requests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from steer.edits import Edit, FeatureEdit, Intervention
from steer.errors import SilentEditError, SteerError
from steer.features.contexts import OUTLIER_MEDIANS
from steer.splice.receipt import SilentEditWarning
from steer.splice.record import Record

_COUNTS = ("touched", "fired", "changed", "acted", "moved", "massive", "counted")
_SUMS = ("before", "after", "relative_dose", "held")


@dataclass(frozen=True)
class EditTally:
    """One edit. Tokens are counted as the model read them: once, where requests share a pass.

    name: such as `clamp 1176 of smollm2-135m/resid_post.20`.
    requests, acted_requests: how many were run, and in how many of them the edit changed anything.
    touched, fired, changed, acted: tokens that its positions mean; where condition and schedule
        let it act as well; where the activation was not yet what it asked for; and where the
        residual stream is another because of it. moved: where it would be, but for other edits
        that take it back.
    massive: of the acted tokens, those whose residual norm is an outlier of the batch, such as the
        first one of many models (`OUTLIER_MEDIANS` of `steer.features.contexts`).
    before, after, relative_dose, held: sums over the acted tokens that are not massive, or over
        all of them in a batch without others (`counted` tokens); see `mean`, and a receipt's.
    """

    name: str
    positions: str
    requests: int = 0
    acted_requests: int = 0
    touched: int = 0
    fired: int = 0
    changed: int = 0
    acted: int = 0
    moved: int = 0
    massive: int = 0
    counted: int = 0
    before: float = 0.0
    after: float = 0.0
    relative_dose: float = 0.0
    held: float = 0.0

    def mean(self, total: float) -> float | None:
        """A sum over the counted tokens as their mean; None if there are none."""
        return total / self.counted if self.counted else None

    @property
    def reason(self) -> str | None:
        """Why it never acted; None if it did, or if nothing was run."""
        if self.acted or not self.requests:
            return None
        if not self.touched:
            return f"no token of {self.requests} requests is at positions {self.positions}"
        if self.moved:
            return "cancelled by other edits: nothing of it is left in the stream"
        if self.changed:
            return "the change is smaller than the model's dtype can hold"
        if not self.fired:
            return f"its condition, schedule or source held it back at all {self.touched} tokens"
        return (
            "nothing to change: the activation was already what was asked for at all "
            f"{self.fired} tokens (0, if it scales a silent feature)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; means instead of sums."""
        means = {name: self.mean(getattr(self, name)) for name in _SUMS}
        return {**asdict(self), **means, "reason": self.reason}

    def __str__(self) -> str:
        if self.reason is not None:
            return f"{self.name} did nothing: {self.reason}"
        if not self.acted:
            return f"{self.name}: nothing was run"
        line = (
            f"{self.name} acted on {self.acted:,} of {self.touched:,} tokens, in "
            f"{self.acted_requests:,} of {self.requests:,} requests: mean activation "
            f"{self.mean(self.before):.4g} -> {self.mean(self.after):.4g}, "
            f"relative dose {self.mean(self.relative_dose):.2g}, held {self.mean(self.held):.2g}"
        )
        left_out = f"; {self.massive:,} massive activations left out of the means"
        return line + (left_out if self.massive else "")


@dataclass(frozen=True)
class Tally:
    """An entry an edit, in the order in which they were given."""

    entries: tuple[EditTally, ...]

    @classmethod
    def of(cls, interventions: Sequence[Intervention]) -> Tally:
        """Nothing has been run yet."""
        return cls(
            tuple(
                EditTally(_name(edit, intervention.dictionary), repr(edit.positions))
                for intervention in interventions
                for edit in intervention.edits
            )
        )

    def plus(self, steps: Sequence[Sequence[Record]], stop: Tensor, served: Tensor) -> Tally:
        """With a batch of b rows added.

        steps: for each forward pass, one record an intervention.
        stop [b]: tokens at this position of a row's text or later do not count.
        served [b]: how many requests each row answers.
        """
        columns = [
            [(step[plan], edit) for step in steps]
            for plan in range(len(steps[0]))
            for edit in range(steps[0][plan].fired.shape[-1])
        ]
        return Tally(
            tuple(
                _added(entry, column, stop, served)
                for entry, column in zip(self.entries, columns, strict=True)
            )
        )

    def merged(self, other: Tally) -> Tally:
        """Of both together: of the same edits, over other requests."""
        pairs = zip(self.entries, other.entries, strict=True)
        return Tally(tuple(_sum(one, another) for one, another in pairs))

    @property
    def silent(self) -> tuple[EditTally, ...]:
        """The edits that have changed nothing although something was run."""
        return tuple(entry for entry in self.entries if entry.reason is not None)

    def enforce(self, if_silent: str) -> None:
        """Raise `SilentEditError`, warn about or ignore edits that changed nothing."""
        if if_silent not in ("warn", "raise", "ignore"):
            raise SteerError(f"if_silent={if_silent!r} is unknown; allowed: warn, raise, ignore")
        if if_silent == "raise" and self.silent:
            raise SilentEditError("; ".join(str(entry) for entry in self.silent))
        if if_silent == "warn":
            for entry in self.silent:
                warnings.warn(str(entry), SilentEditWarning, stacklevel=4)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data, for JSON."""
        return [entry.to_dict() for entry in self.entries]

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self.entries)


def _name(edit: Edit, dictionary: str) -> str:
    if isinstance(edit, FeatureEdit):
        return f"{edit.kind} {edit.feature} of {dictionary}"
    return f"{edit.kind} {edit.target} of {dictionary}"


def _sum(one: EditTally, other: EditTally) -> EditTally:
    summed = ("requests", "acted_requests", *_COUNTS, *_SUMS)
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in summed})


def _added(
    entry: EditTally, column: Sequence[tuple[Record, int]], stop: Tensor, served: Tensor
) -> EditTally:
    totals = asdict(entry)
    acted_rows = stop < 0
    read = [_counted(record, stop) for record, _ in column]
    later = [mask & (r.absolute > 0) for (r, _), mask in zip(column, read, strict=True)]
    norms = [r.norm[mask] for (r, _), mask in zip(column, later, strict=True)]
    cutoff = OUTLIER_MEDIANS * torch.cat(norms).median()
    for (record, edit), counted in zip(column, read, strict=True):
        before, after = record.before[..., edit], record.after[..., edit]
        touched = record.touched[..., edit] & counted
        fired = record.fired[..., edit] & counted
        changed = record.changed[..., edit] & counted
        acted = record.acted[..., edit] & counted
        moved = changed & (record.moved[..., edit] > 0)
        massive = acted & (record.norm > cutoff)
        ordinary = acted & ~massive if bool((acted & ~massive).any()) else acted
        relative = record.dose[..., edit] / record.norm.clamp(min=1e-12)
        held = record.moved[..., edit] / record.asked[..., edit]
        acted_rows = acted_rows | acted.any(1)
        masks = (touched, fired, changed, acted, moved, massive, ordinary)
        for name, mask in zip(_COUNTS, masks, strict=True):
            totals[name] += int(mask.sum())
        for name, values in zip(_SUMS, (before, after, relative, held), strict=True):
            totals[name] += values[ordinary].double().sum().item()
    totals["requests"] += int(served.sum())
    totals["acted_requests"] += int(served[acted_rows].sum())
    return EditTally(**totals)


def _counted(record: Record, stop: Tensor) -> Tensor:
    """Tokens [b, s] that are neither pads nor after the row's end."""
    return (record.absolute >= 0) & (record.absolute < stop.unsqueeze(1))
