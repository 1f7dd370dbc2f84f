"""What `steer patch` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from apps.cli.output import error_said, table
from steer.shown import number

if TYPE_CHECKING:
    from rich.console import RenderableType


def patch_views(curve: Mapping[str, Any], kl: float | None) -> list[RenderableType]:
    """The curve, a row a pair, and the fewest features that reach `kl` nats."""
    area = "" if curve["area"] is None else f", mean height {curve['area']['mean']:.3g} nats"
    count = f"{curve['pairs']} pairs" if curve["pairs"] > 1 else "one pair"
    ranked = f"ranked by {curve['ranking']}{area}, {curve['dtype']}"
    title = f"KL(edited‖target) in nats over {count}, {ranked}"
    pairs = [
        {
            "base": row["base"],
            "differ": row["differ"],
            **({} if kl is None else {"fewest": row["minimal"] and len(row["minimal"]["nodes"])}),
            "best first": " ".join(map(str, row["ranked"])),
        }
        for row in curve["each"]
    ]
    views: list[RenderableType] = [
        table(curve["points"], title),
        table(pairs, "features that differ"),
    ]
    if fewest := curve.get("fewest"):
        bounds = f" [{number(fewest['low'])}, {number(fewest['high'])}]"
        views.append(
            f"fewest features for a KL of {kl:g} nats: {number(fewest['mean'])}"
            + (bounds if fewest["reached"] > 1 else "")
            + f", reached by {fewest['reached']} of {count}"
        )
    return [*views, _SAID[curve["error"]]]


_SAID = {"keep": f"{error_said(['keep'])}, the base's own", "patch": "error term patched: a node"}
