"""What `steer demo` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from apps.cli.views.edit import run_view
from apps.cli.views.effects import effect_view
from steer.shown import number, visible

if TYPE_CHECKING:
    from apps.studies.demo import Demo


def demo_view(demo: Demo) -> RenderableType:
    """The run, the effect on the next token, and the control beside it."""
    entry = demo.run.receipt[0]
    head = Text(f"{entry.kind} feature {entry.feature} of {entry.dictionary}")
    control = Text(
        "a random direction of the same norm at the same tokens: "
        f"KL {number(demo.random_kl)} nats; "
        + "  ".join(f"{visible(t.token)} {t.delta_logit:+.3g}" for t in demo.random_promoted[:5])
    )
    return Group(head, run_view(demo.run), effect_view(demo.effect), control)
