"""What an edit did, token by token: the proof that a result is steered, or the reason it is not."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from steer.edits import DirectionEdit, Edit, FeatureEdit, Intervention
from steer.errors import SilentEditError, SteerError
from steer.splice.splice import Record

_OUTLIER = 10.0
"""A residual norm this many times the run's median is a massive activation (Sun et al. 2024)."""


class SilentEditWarning(UserWarning):
    """An edit changed nothing."""


@dataclass(frozen=True)
class TokenEdit:
    """One edit at one token. Activations before, asked for and reached (re-encoded afterwards);
    relative dose ‖Δ‖/‖x‖."""

    position: int
    token: str
    before: float
    after: float
    reached: float | None
    relative_dose: float


@dataclass(frozen=True)
class EditReceipt:
    """What one edit did.

    feature: None for direction edits, which name their `direction`.
    acted_tokens: positions where the residual stream changed because of it.
    before, after, reached, relative_dose: means over those tokens; None if there are none.
    touched: how many tokens its positions include.
    reason: why it did not act; None if it did.
    note: something to know about how it acted, such as a massive activation among its tokens.
    tokens: every token it acted on.
    error: what became of what the dictionary does not explain: `keep`, `frozen` or `drop`.
    """

    dictionary: str
    feature: int | None
    kind: str
    direction: str | None
    acted_tokens: tuple[int, ...]
    touched: int
    before: float | None
    after: float | None
    reached: float | None
    relative_dose: float | None
    reason: str | None
    note: str | None
    tokens: tuple[TokenEdit, ...]
    error: str = "keep"

    @property
    def acted(self) -> bool:
        return bool(self.acted_tokens)


@dataclass(frozen=True)
class Receipt:
    """One entry an edit, in the order in which they were given."""

    entries: tuple[EditReceipt, ...]

    def __iter__(self) -> Iterator[EditReceipt]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> EditReceipt:
        return self.entries[index]

    def __str__(self) -> str:
        return "\n".join(_line(entry) for entry in self.entries)

    @property
    def silent(self) -> tuple[EditReceipt, ...]:
        """The edits that changed nothing."""
        return tuple(entry for entry in self.entries if not entry.acted)

    def raise_if_silent(self) -> None:
        """Raise `SilentEditError` if any edit changed nothing."""
        if self.silent:
            raise SilentEditError("; ".join(_line(entry) for entry in self.silent))

    def warn_if_silent(self) -> None:
        """Warn with `SilentEditWarning` for every edit that changed nothing."""
        for entry in self.silent:
            warnings.warn(_line(entry), SilentEditWarning, stacklevel=4)

    def enforce(self, if_silent: str) -> None:
        """Raise, warn about or ignore edits that changed nothing."""
        match if_silent:
            case "raise":
                self.raise_if_silent()
            case "warn":
                self.warn_if_silent()
            case "ignore":
                pass
            case _:
                raise SteerError(
                    f"if_silent={if_silent!r} is unknown; allowed: warn, raise, ignore"
                )

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data, for JSON."""
        return [json.loads(json.dumps(asdict(entry))) for entry in self.entries]


def _line(entry: EditReceipt) -> str:
    what = f"feature {entry.feature}" if entry.direction is None else entry.direction
    head = f"{entry.kind} {what} of {entry.dictionary}"
    if not entry.acted:
        return f"{head} did nothing: {entry.reason}; error {entry.error}"
    reached = "" if entry.reached is None else f" (re-encoded {entry.reached:.4g})"
    line = (
        f"{head} acted on {len(entry.acted_tokens)} of {entry.touched} tokens: mean activation "
        f"{entry.before:.4g} -> {entry.after:.4g}{reached}, "
        f"relative dose {entry.relative_dose:.2g}; error {entry.error}"
    )
    return f"{line}; {entry.note}" if entry.note else line


@dataclass(frozen=True, eq=False)
class _Flat:
    """A plan's records of one row, steps joined: [t] or [t, k]."""

    absolute: Tensor
    touched: Tensor
    fired: Tensor
    before: Tensor
    after: Tensor
    reached: Tensor
    dose: Tensor
    norm: Tensor
    moved: Tensor

    @classmethod
    def of(cls, steps: Sequence[Record], row: int, stop: int) -> _Flat:
        """Tokens before position `stop`; padding has negative positions and is left out.

        Without a cache every step reads the whole text again: only its last token is new.
        """
        new = [slice(None), *[slice(-1, None)] * (len(steps) - 1)]
        parts = list(zip(steps, new, strict=True))

        def join(name: str) -> Tensor:
            return torch.cat([getattr(step, name)[row, part] for step, part in parts])

        absolute = join("absolute")
        kept = (absolute >= 0) & (absolute < stop)
        return cls(**{name: join(name)[kept] for name in cls.__dataclass_fields__})


def build(
    interventions: Sequence[Intervention],
    steps: Sequence[Sequence[Record]],
    tokens: Sequence[str],
    *,
    row: int = 0,
) -> Receipt:
    """The receipt of one batch row.

    steps: for each forward pass, one record per intervention, in their order.
    tokens: the text of every position that was read, prompt and generated.
    """
    entries: list[EditReceipt] = []
    for number, intervention in enumerate(interventions):
        flat = _Flat.of([step[number] for step in steps], row, len(tokens))
        for column, edit in enumerate(intervention.edits):
            entries.append(_entry(intervention, edit, flat, column, tokens))
    return Receipt(tuple(entries))


def _entry(
    intervention: Intervention, edit: Edit, flat: _Flat, column: int, tokens: Sequence[str]
) -> EditReceipt:
    touched, fired = flat.touched[:, column], flat.fired[:, column]
    changed = fired & (flat.before[:, column] != flat.after[:, column])
    acted = changed & flat.moved
    index = acted.nonzero().flatten()
    relative = flat.dose[index, column] / flat.norm[index].clamp(min=1e-12)
    rows = tuple(
        TokenEdit(
            position=int(flat.absolute[i]),
            token=tokens[int(flat.absolute[i])],
            before=flat.before[i, column].item(),
            after=flat.after[i, column].item(),
            reached=_or_none(flat.reached[i, column].item()),
            relative_dose=dose,
        )
        for i, dose in zip(index.tolist(), relative.tolist(), strict=True)
    )
    return EditReceipt(
        dictionary=intervention.dictionary,
        feature=edit.feature if isinstance(edit, FeatureEdit) else None,
        kind=edit.kind,
        direction=str(edit.direction) if isinstance(edit, DirectionEdit) else None,
        acted_tokens=tuple(row.position for row in rows),
        touched=int(touched.sum()),
        before=_mean([row.before for row in rows]),
        after=_mean([row.after for row in rows]),
        reached=_mean([row.reached for row in rows if row.reached is not None]),
        relative_dose=_mean([row.relative_dose for row in rows]),
        reason=None if rows else _reason(edit, touched, fired, changed, flat.before[:, column]),
        note=_note(flat, index),
        tokens=rows,
        error=intervention.error,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _reason(edit: Edit, touched: Tensor, fired: Tensor, changed: Tensor, before: Tensor) -> str:
    count = int(touched.sum())
    if not count:
        return f"no token is at positions {edit.positions!r}"
    if changed.any():
        return "the change is smaller than the model's dtype can hold"
    if not fired.any():
        return f"{_held_back(edit)} at all {count} touched tokens"
    numbers = edit.numbers
    scales = not (numbers.adds or numbers.floors or numbers.caps)
    if scales and not before[fired].any():
        return f"the feature is silent (activation 0) at all {int(fired.sum())} touched tokens"
    return f"the activation was already what was asked for at all {int(fired.sum())} touched tokens"


def _held_back(edit: Edit) -> str:
    causes = []
    if edit.when is not None:
        causes.append("its condition did not hold")
    if edit.schedule is not None:
        causes.append("its schedule had no strength")
    return " or ".join(causes) or "there is no value to take from the other text"


def _note(flat: _Flat, index: Tensor) -> str | None:
    if not len(index):
        return None
    median = flat.norm.median()
    massive = index[flat.norm[index] > _OUTLIER * median]
    if not len(massive):
        return None
    at = ", ".join(str(int(p)) for p in flat.absolute[massive][:5])
    ratio = (flat.norm[massive].max() / median).item()
    return f"massive activation at position {at} (norm up to {ratio:.0f}x the median)"
