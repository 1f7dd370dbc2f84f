"""`steer jobs`: what was sent to a server and not taken yet."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from dictionaries.errors import SteerError

if TYPE_CHECKING:
    from steer.lm.remote_jobs import RemoteJob

ALL = "all"


@command("steer jobs --json")
def jobs(
    *,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Drop it here; all for all of them.")
    ] = None,
    output: Output,
) -> None:
    """Jobs sent with --remote, how far each is; answers that are there are fetched.

    The call that sent a job takes its answer when it is run again, and sends nothing twice.
    """
    from apps.cli.views.jobs import jobs_view
    from steer.lm.remote_jobs import kept_jobs

    told: list[dict[str, Any]] = []
    for job in _chosen(kept_jobs(), forget or ()):
        if forget:
            job.forget()
        told.append({**asdict(job), "state": "forgotten" if forget else _state(job)})
    output.emit(told, lambda: jobs_view(told))


def _chosen(all_jobs: list[RemoteJob], named: list[str] | tuple[str, ...]) -> list[RemoteJob]:
    """All that are kept, or those that are named. Raises `SteerError` for one that is not kept."""
    unknown = [name for name in named if name != ALL and name not in {job.id for job in all_jobs}]
    if unknown:
        ids = ", ".join(job.id for job in all_jobs) or "none"
        raise SteerError(f"no job {unknown[0]!r} is kept; there are: {ids}. Give one, or {ALL}")
    return all_jobs if not named or ALL in named else [job for job in all_jobs if job.id in named]


def _state(job: RemoteJob) -> str:
    """How far it is, or why that can't be told."""
    try:
        return job.look()
    except SteerError as error:
        return str(error)
