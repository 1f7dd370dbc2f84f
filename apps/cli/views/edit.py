"""What the commands that edit show: two texts, and what the edits did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from apps.cli.fitted import HARD, Fitted
from apps.cli.output import error_said
from steer.shown import at, number

if TYPE_CHECKING:
    from steer.edits import Intervention
    from steer.runs.generate import Run
    from steer.splice.receipt import EditReceipt, Receipt

_LOST = 0.01
"""A share of an edit that is worth a word when the dtype did not hold it."""


def run_view(run: Run) -> RenderableType:
    """Baseline and steered text side by side, and the receipt."""
    table = Table(expand=True, show_lines=False)
    table.add_column("baseline", ratio=1)
    table.add_column("steered", ratio=1)
    table.add_row(_continued(run.prompt, run.baseline.text), _continued(run.prompt, run.text))
    foot = Text(f"{run.model}, decoded in {run.dtype}{_settings(run)}{at(run.remote)}", style="dim")
    return Group(table, receipt_view(run.receipt), error_view(run.interventions), foot)


def _continued(prompt: str, text: str) -> Text:
    return Text.assemble((prompt, "dim"), text)


def receipt_view(receipt: Receipt) -> RenderableType:
    """A row an edit, and below what there is to remark; what did not act says why there."""
    heads = ("edit", "acted on", "activation", "re-encoded", "‖Δ‖/‖x‖")
    remarks = [(_name(entry), _remark(entry)) for entry in receipt]
    under = [f"{name}: {remark}" for name, remark in remarks if remark]
    return Fitted(heads, [_row(entry) for entry in receipt], "receipt", under=under)


def _row(entry: EditReceipt) -> list[str | Text]:
    if not entry.acted:
        return [Text(_name(entry), "bold red"), Text("nothing", "bold red"), "", "", ""]
    return [
        _name(entry),
        f"{len(entry.acted_tokens)} of {entry.touched} tokens",
        f"{number(entry.before)}{HARD}→{HARD}{number(entry.after)}",
        "" if entry.reached is None else number(entry.reached),
        number(entry.relative_dose),
    ]


def _name(entry: EditReceipt) -> str:
    return f"{entry.kind} {entry.direction or entry.feature}"


def error_view(interventions: Sequence[Intervention]) -> Text:
    """A line an intervention: what became of what its dictionary does not explain."""
    lines = [
        f"{error_said([intervention.error])} at {intervention.dictionary}"
        for intervention in interventions
    ]
    return Text("\n".join(dict.fromkeys(lines)))


def _remark(entry: EditReceipt) -> str:
    """What there is to know about how an edit acted, the loss to a low dtype included; or why it
    did not."""
    if not entry.acted:
        return f"did nothing: {entry.reason}"
    lost = entry.held is not None and abs(1 - entry.held) >= _LOST
    said = [f"the dtype held {entry.held:.0%} of it"] if lost else []
    return "; ".join([*said, *([entry.note] if entry.note else [])])


def _settings(run: Run) -> str:
    """What the model's own generation_config did, if anything."""
    groups = (
        ("the model's own settings act", run.inherited.acting),
        ("left out of the model's own settings", run.inherited.left_out),
    )
    lines = [
        f"{what}: {', '.join(f'{name}={value}' for name, value in values.items())}"
        for what, values in groups
        if values
    ]
    return "".join(f"\n{line}" for line in lines)
