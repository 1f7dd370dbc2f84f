"""What is shown of every feature at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apps.cli.output import error_said, ran_said, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_BRIEF = ("feature", "effect", "low", "high", "active", "control", "q_control", "significant")
_MATCH = ("density", "control_density", "control_density_low", "control_density_high")


def swept_view(swept: Mapping[str, Any], title: str) -> list[RenderableType]:
    """A sweep with the columns that fit on a screen, and how estimates agree with it."""
    rows = [
        {key: row[key] for key in (*_BRIEF, *_MATCH) if key in row} for row in swept["features"]
    ]
    lines = [*_screened(swept.get("screened")), *agreements(swept.get("agreement", ()))]
    return [table(rows, title), *lines, error_said([swept["error"]]), *ran_said(swept)]


def _screened(screened: Mapping[str, Any] | None) -> list[RenderableType]:
    from steer.effects.sweep.result import Screened

    return [] if screened is None else [str(Screened(**screened))]


def agreements(estimates: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """A line an estimate: how far it agrees with exact ablation."""
    return [
        f"{estimate['estimate']} against exact ablation: "
        + ", ".join(f"{name} {estimate[name]['mean']:.3f}" for name in ("pearson", "spearman"))
        + f", {estimate['overlap']['mean']:.0%} of the {estimate['k']} largest"
        for estimate in estimates
    ]
