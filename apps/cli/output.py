"""What commands print: one JSON document for machines, or a view for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steer.shown import number, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from apps.cli.fitted import Fitted

    View = Callable[[], RenderableType | list[RenderableType]]

ERRORS = {"keep": "live", "frozen": "frozen", "drop": "dropped"}
"""What became of the part of the residual that the dictionary does not explain."""


def emit(as_json: bool, data: Any, view: View) -> None:
    """The data as JSON, or what `view()` gives: text, a table, or a list of them."""
    if as_json:
        print_json(data)
        return
    from rich.console import Console

    console = Console()
    shown = view()
    for item in shown if isinstance(shown, list) else [shown]:
        # Square brackets in tokens are text, not markup; a line such as a command is not broken.
        console.print(item, markup=False, highlight=False, soft_wrap=isinstance(item, str))


def print_json(data: Any) -> None:
    """One line of strict JSON; with escapes where standard output is not in Unicode."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print(json.dumps(finite(data), ensure_ascii=not unicode, allow_nan=False))


def finite(data: Any) -> Any:
    """The same data with None for NaN and the infinities, which JSON has no word for."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows of a DataFrame as plain data; NaN becomes None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def table(
    rows: Sequence[Mapping[str, Any]], title: str = "", under: Sequence[str] = ()
) -> Fitted | str:
    """A column a key of the first row, an interval in the column of its mean; under: lines below.

    Only the title where there are no rows.
    """
    from apps.cli.fitted import Fitted

    if not rows:
        return "\n".join([f"{title}: none" if title else "none", *under])
    cells = [_joined(row) for row in rows]
    heads = {name: name.replace("_", " ") for name in cells[0]}
    wordy = {name for name in heads if any(isinstance(row[name], str | bool) for row in rows)}
    right = frozenset(head for name, head in heads.items() if name not in wordy)
    body = [list(cell.values()) for cell in cells]
    return Fitted(list(heads.values()), body, title, right, under)


def error_said(policies: Iterable[str]) -> str:
    """The error policies of interventions in words."""
    return f"error term {', '.join(ERRORS[policy] for policy in policies)}"


def ran_said(result: Mapping[str, Any]) -> list[str]:
    """A line: where passes were sent to; nothing if they ran here."""
    return [f"passes sent to {result['remote']}"] if result.get("remote") else []


def match_said(matched: Mapping[str, Any] | None) -> list[str]:
    """A line: how near the matched controls are; nothing if there are none."""
    if matched is None:
        return []
    own, mean, low, high = (
        f"{matched[name]:.3%}"
        for name in (
            "density",
            "control_density",
            "control_density_low",
            "control_density_high",
        )
    )
    return [
        f"{matched['features']} matched features: active on {mean} of tokens [{low}, {high}], "
        f"the edit's on {own}"
    ]


def _joined(row: Mapping[str, Any]) -> dict[str, str]:
    """Cells, each mean with its bounds: `kl` with `kl_low` and `kl_high`, or with the `low` and
    `high` that follow it."""
    from apps.cli.fitted import HARD

    names = list(row)
    follows = names[names.index("low") - 1] if "low" in names else None
    cells = {}
    for name in names:
        prefix = "" if name == follows else f"{name}_"
        low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
        known = low is not None and high is not None and low == low
        # A bound is never parted from the other: that space does not break.
        value = visible(row[name]) if name == "token" else number(row[name])
        cells[name] = value + (f" [{number(low)},{HARD}{number(high)}]" if known else "")
    ends = {f"{prefix}{end}" for prefix in ("", *(f"{n}_" for n in names)) for end in _ENDS}
    return {name: cell for name, cell in cells.items() if name not in ends}


_ENDS = ("low", "high")
