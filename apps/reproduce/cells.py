"""The cells of a table's rows: what they may hold, and how they are filled and read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from steer.maths.statistics import Interval

Value = str | int | float | bool | None
Row = Mapping[str, Value]


def row_of(columns: Mapping[str, str], cells: Row) -> Row:
    """The cells in the columns' order, None where there is none.

    Raises `ValueError` for a cell without a column.
    """
    if unknown := cells.keys() - columns.keys():
        raise ValueError(f"no column {', '.join(sorted(unknown))} among {', '.join(columns)}")
    return {name: cells.get(name) for name in columns}


def bounds(column: str, interval: Interval | None, ends: str | None = None) -> dict[str, Value]:
    """Three cells: the mean in `column`, its interval in `low` and `high` behind `ends`.

    ends: by default the column and an underscore. interval: None leaves the three empty.
    """
    ends = f"{column}_" if ends is None else ends
    mean, low, high = (interval.mean, interval.low, interval.high) if interval else (None,) * 3
    return {column: mean, f"{ends}low": low, f"{ends}high": high}


def with_bounds(meanings: Mapping[str, str], mean: str = ", mean") -> dict[str, str]:
    """Columns for the cells of `bounds`: each name with `_low` and `_high` after it."""
    endings = (("", mean), ("_low", ", 95% low"), ("_high", ", 95% high"))
    return {
        name + end: meaning + what for name, meaning in meanings.items() for end, what in endings
    }


def number(row: Row, column: str) -> float:
    """A cell that must hold a number. Raises `ValueError` if it does not."""
    value = row[column]
    if not isinstance(value, int | float):
        raise ValueError(f"{column} holds {value!r}, which is no number")
    return float(value)


def shown(value: Value) -> str:
    """A cell as a reader sees it: three significant digits."""
    if isinstance(value, bool) or not isinstance(value, float):
        return "" if value is None else str(value)
    return "" if math.isnan(value) else f"{value:.3g}"


def finite(value: Value) -> Value:
    """A cell as JSON has it: no NaN, no infinity (null stands for both)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
