"""Progress bars on stderr, from the plain callbacks that the library takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from steer.progress import Progress


@contextmanager
def progress_bars(shown: bool) -> Iterator[Progress | None]:
    """A `Progress` with a bar for each thing that is done; None if not shown, or no terminal."""
    from rich.console import Console

    if not shown or not Console(stderr=True).is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        current: list[tuple[str, int]] = []

        def report(what: str, done: int, total: int) -> None:
            topic = what.split(":")[0]
            if not current or current[-1][0] != topic:
                current.append((topic, bars.add_task(what, total=total)))
            bars.update(bars.task_ids[-1], description=what, completed=done, total=total)

        yield report
