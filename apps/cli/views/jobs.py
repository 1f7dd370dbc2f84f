"""What `steer jobs` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from apps.cli.fitted import Fitted


def jobs_view(told: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row a job."""
    if not told:
        return Text("no job is waited for: none was sent, or all answers were taken")
    rows: list[list[str | Text]] = [
        [job["id"], job["state"], job["of"], job["host"], job["sent"]] for job in told
    ]
    return Fitted(("job", "state", "of", "server", "sent"), rows, "jobs whose answers wait")
