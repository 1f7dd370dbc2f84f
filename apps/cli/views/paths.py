"""What is shown of the way an effect takes: `steer downstream`, `tree` and `direct`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apps.cli.output import error_said, match_said, records, table
from steer.shown import measured

if TYPE_CHECKING:
    from rich.console import RenderableType

    from steer.effects.tree.result import CausalTree


def downstream_views(
    changes: Mapping[str, Any], title: str, controls: bool
) -> list[RenderableType]:
    """The later features, and all of them together beside the controls."""
    overall = [table(changes["overall"], "all later features together")] if controls else []
    return [
        table([{k: row[k] for k in _CHANGES if k in row} for row in changes["features"]], title),
        *overall,
        *match_said(changes["matched"]),
        error_said([changes["error"]]),
    ]


def tree_views(tree: CausalTree, title: str) -> list[RenderableType]:
    """A row an edge, and the edges that stand in for the best parent."""
    columns = ["child", "parent", "share", "share_low", "share_high", "q", "active"]
    views: list[RenderableType] = [table(records(tree.to_frame()[columns]), title)]
    if tree.backups:
        backups = [vars(backup) for backup in tree.backups]
        views.append(table(backups, "with the best parent ablated too"))
    return [*views, error_said([tree.error])]


def direct_views(effect: Mapping[str, Any]) -> list[RenderableType]:
    """The paths, if there are any, and the tokens that the direct one changes most."""
    from steer.effects.paths.direct import LABEL

    tokens = [table(effect[name], f"{name} ({LABEL})") for name in ("promoted", "suppressed")]
    matched = match_said(effect["matched"])
    if "paths" not in effect:
        return [*tokens, *matched]
    paths = table(
        _brief(effect["paths"]), f"change of {measured(effect['metric'])}, {effect['dtype']}"
    )
    return [paths, *tokens, *matched, error_said([effect["error"]])]


def _brief(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without the p-values behind `significant`."""
    return [{k: v for k, v in row.items() if not k.startswith(_TESTS)} for row in rows]


_CHANGES = (
    *("feature", "before", "after", "change", "low", "high"),
    *("random", "matched", "significant", "token"),
)
_TESTS = ("p_", "q_")
