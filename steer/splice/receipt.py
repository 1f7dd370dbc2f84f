"""What an edit did, token by token: the proof that a result is steered, or the reason it is not."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from steer.errors import SilentEditError, SteerError
from steer.shown import as_html

if TYPE_CHECKING:
    import pandas


class SilentEditWarning(UserWarning):
    """An edit changed nothing."""


def check_if_silent(value: object) -> None:
    """Raise `SteerError` for what `Receipt.enforce` does not know."""
    if value not in ("warn", "raise", "ignore"):
        raise SteerError(f"if_silent={value!r} is unknown; allowed: warn, raise, ignore")


@dataclass(frozen=True)
class TokenEdit:
    """One edit at one token. Activations before, asked for and reached (re-encoded afterwards);
    relative dose ‖Δ‖/‖x‖; held: share of ‖Δ‖ that the stream's dtype kept.

    before: what is read at the site in the run, so with what edits at earlier sites did to it.
    """

    position: int
    token: str
    before: float
    after: float
    reached: float | None
    relative_dose: float
    held: float | None = None


@dataclass(frozen=True)
class EditReceipt:
    """What one edit did.

    feature: None for direction edits, which name their `direction`.
    acted_tokens: positions where the residual stream is another because of it, in any bit.
    before, after, reached, relative_dose: means over those tokens, massive ones left out (unless
        there are no others); None if it acted on none.
    touched: how many tokens its positions include.
    reason: why it did not act; None if it did.
    note: something to know about how it acted: massive tokens, other edits that cancel it.
    tokens: every token it acted on.
    error: what became of what the dictionary does not explain: `keep`, `frozen` or `drop`.
    held: share of ‖Δ‖ that the stream's dtype kept, mean over the tokens where it asked for a
        change; 0 if none of it, more than 1 where it was rounded up, None if it asked for none.
    massive: the acted tokens whose residual norm is an outlier (`OUTLIER_MEDIANS` of
        `steer.features.contexts`), such as the first one of many models.
    cancelled_by: other edits at its site that take back more than half of what it adds at some
        tokens; left: how far the stream moves there, as a share of this edit's own move.
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
    held: float | None = None
    massive: tuple[int, ...] = ()
    cancelled_by: tuple[str, ...] = ()
    left: float | None = None

    @property
    def acted(self) -> bool:
        return bool(self.acted_tokens)

    @property
    def what(self) -> str:
        """What it edits, such as `feature 1176`."""
        return f"feature {self.feature}" if self.direction is None else self.direction


@dataclass(frozen=True, repr=False)
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

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>receipt</p>{as_html(self.frame)}"

    @property
    def frame(self) -> pandas.DataFrame:
        """One row an edit: what it is, how many tokens it acted on, and means over them."""
        import pandas

        rows = [
            {
                "edit": f"{entry.kind} {entry.what}",
                "acted": len(entry.acted_tokens),
                "touched": entry.touched,
                "before": entry.before,
                "after": entry.after,
                "reached": entry.reached,
                "relative_dose": entry.relative_dose,
                "remark": entry.reason or entry.note or "",
            }
            for entry in self.entries
        ]
        return pandas.DataFrame(rows, columns=_COLUMNS)

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
        check_if_silent(if_silent)
        if if_silent == "raise":
            self.raise_if_silent()
        if if_silent == "warn":
            self.warn_if_silent()

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data, for JSON."""
        return [json.loads(json.dumps(asdict(entry))) for entry in self.entries]


_COLUMNS = ["edit", "acted", "touched", "before", "after", "reached", "relative_dose", "remark"]


def _line(entry: EditReceipt) -> str:
    head = f"{entry.kind} {entry.what} of {entry.dictionary}"
    if not entry.acted:
        return f"{head} did nothing: {entry.reason}; error {entry.error}"
    reached = "" if entry.reached is None else f" (re-encoded {entry.reached:.4g})"
    line = (
        f"{head} acted on {len(entry.acted_tokens)} of {entry.touched} tokens: mean activation "
        f"{entry.before:.4g} -> {entry.after:.4g}{reached}, "
        f"relative dose {entry.relative_dose:.2g}, held {entry.held:.2g}; error {entry.error}"
    )
    return f"{line}; {entry.note}" if entry.note else line
