"""What the commands that edit show: two texts, and what the edits did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from apps.cli.output import error_said

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
    foot = Text(f"{run.model}, {run.dtype}{_settings(run)}", style="dim")
    return Group(table, receipt_view(run.receipt), error_view(run.interventions), foot)


def _continued(prompt: str, text: str) -> Text:
    return Text.assemble((prompt, "dim"), text)


def receipt_view(receipt: Receipt) -> RenderableType:
    """A row an edit; what did not act says why."""
    table = Table(title="receipt", title_justify="left", expand=True)
    for column in ("edit", "acted on", "activation", "re-encoded", "‖Δ‖/‖x‖", "remark"):
        table.add_column(column)
    for entry in receipt:
        name = f"{entry.kind} {entry.direction or entry.feature}"
        if entry.acted:
            table.add_row(
                name,
                f"{len(entry.acted_tokens)} of {entry.touched} tokens",
                f"{entry.before:.3g} → {entry.after:.3g}",
                "" if entry.reached is None else f"{entry.reached:.3g}",
                f"{entry.relative_dose:.2f}",
                _remark(entry),
            )
        else:
            table.add_row(
                Text(name, "bold red"), Text("nothing", "bold red"), "", "", "", entry.reason
            )
    return table


def error_view(interventions: Sequence[Intervention]) -> Text:
    """A line an intervention: what became of what its dictionary does not explain."""
    lines = [f"{error_said([each.error])} at {each.dictionary}" for each in interventions]
    return Text("\n".join(dict.fromkeys(lines)))


def _remark(entry: EditReceipt) -> str:
    """What there is to know about how an edit acted, the loss to a low dtype included."""
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
