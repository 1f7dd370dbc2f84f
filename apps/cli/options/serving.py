"""Where `steer serve` listens, and how much it takes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from apps.server.guard import Rules
    from steer.serving.engine import Limits


@dataclass(frozen=True)
class Address:
    """Where it listens, and who may ask."""

    host: Annotated[str, typer.Option(help="Another than this machine needs a key.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000
    api_key: Annotated[
        str | None,
        typer.Option(envvar="STEER_API_KEY", help="What clients have to send as Bearer."),
    ] = None
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name that it is asked for by.")
    ] = None

    def rules(self) -> Rules:
        """Raises `SteerError` for an address that others reach, without a key."""
        from apps.server.guard import Rules

        return Rules(self.host, self.api_key, tuple(self.allow_host or ()))


@dataclass(frozen=True)
class Load:
    """How much it takes on."""

    rows: Annotated[int, typer.Option(min=1, help="Most texts decoded together.")] = 16
    queue: Annotated[int, typer.Option(min=0, help="Most that wait beside them.")] = 64
    budget: Annotated[int, typer.Option(min=1, help="Prompt tokens read in a step.")] = 64
    seconds: Annotated[float, typer.Option(min=0, help="That a request may take.")] = 300.0
    max_tokens: Annotated[int, typer.Option(min=1, help="New ones a text may ask for.")] = 1024

    def limits(self) -> Limits:
        from steer.serving.engine import Limits

        return Limits(self.rows, self.queue, self.budget, self.seconds)
