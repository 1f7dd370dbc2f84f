"""What an experiment found, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.reproduce import drawing
from apps.reproduce.cells import Row, Value, finite, shown
from steer.errors import SteerError
from steer.figures import files as figure_files

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Claim:
    """What the paper says, what was measured here, and whether the one bears the other out.

    holds: None where this run can't tell, with the reason in `measured`.
    source: the paper, as "Cunningham et al. 2023, figure 3".
    """

    text: str
    source: str
    measured: str
    holds: bool | None


@dataclass(frozen=True)
class Table:
    """An experiment's findings: a row per condition, the same columns in each.

    columns: name -> what it is, with its unit.
    notes: what a reader has to know to read it right.
    figure: draws the plot from this table; called once, when it is written.
    """

    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    figure: Callable[[Table], Figure] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if list(row) != list(self.columns):
                raise ValueError(f"a row has {list(row)}, the table {list(self.columns)}")

    def undecided(self, why: str) -> Table:
        """The same figures, with no verdict on the claims and the reason among the notes."""
        claims = tuple(replace(claim, holds=None) for claim in self.claims)
        return replace(self, claims=claims, notes=(why, *self.notes))


@dataclass(frozen=True)
class Result:
    """A table with all that is needed to make it again.

    seconds: wall time of this run; parts that were in the cache took none of it.
    left_out: why a file was not written, "" if all were.
    """

    name: str
    title: str
    table: Table
    settings: Mapping[str, Value]
    versions: Mapping[str, str]
    seconds: float
    left_out: str = field(default="", compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: no NaN, no infinity (null stands for both)."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": dict(self.table.columns),
            "rows": [{key: finite(value) for key, value in row.items()} for row in self.table.rows],
            "claims": [asdict(claim) for claim in self.table.claims],
            "notes": list(self.table.notes),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def markdown(self) -> str:
        """The claims and the table, for a reader."""
        columns, rows = self.table.columns, self.table.rows
        lines = [f"# {self.title}", ""]
        for claim in self.table.claims:
            verdict = {True: "holds", False: "does not hold", None: "can't be told"}[claim.holds]
            lines.append(f"- **{verdict}**: {claim.text} ({claim.source}). Here: {claim.measured}")
        lines += ["", _line(columns), _line("---" for _ in columns)]
        lines += [_line(map(shown, row.values())) for row in rows]
        lines += ["", *(f"- `{name}`: {meaning}" for name, meaning in columns.items())]
        lines += ["", *(f"{note}\n" for note in self.table.notes)]
        made = ", ".join(f"{key} {value}" for key, value in (*self.settings.items(),))
        lines.append(f"Settings: {made}. {self.seconds:.0f} seconds.")
        return "\n".join(lines) + "\n"

    def write(self, out: Path) -> str:
        """NAME.json, NAME.md and, with a figure, NAME.html and NAME.svg in folder `out`.

        Returns why the picture, or both files of the figure, were left out: "" or a sentence.
        """
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        (out / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        (out / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")
        if self.table.figure is None:
            return ""
        try:
            figure_files.check(out / f"{self.name}.html")
        except SteerError as error:
            return str(error)
        return drawing.write(self.table.figure(self.table), out, self.name)


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
