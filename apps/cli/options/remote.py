"""Where passes run: --remote for NDIF, another server, or a rehearsal of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options.work import Work
from steer.errors import SteerError

if TYPE_CHECKING:
    from steer.lm.remote import Remote

NDIF = "ndif"


@dataclass(frozen=True)
class Elsewhere:
    """On which server edited passes run; see `steer jobs`."""

    remote: Annotated[
        str | None,
        typer.Option(
            metavar="SERVER",
            help="Send edited passes to ndif or an address, or rehearse that: local.",
        ),
    ] = None

    @property
    def server(self) -> Remote:
        """As functions of `steer` take it."""
        return self.remote == NDIF or self.remote or False

    def beside(self, *options: tuple[str, object]) -> None:
        """Raise `SteerError` for an option (its name, and what was given) that nothing sent has."""
        for name, given in options:
            if self.remote is not None and given is not None:
                raise SteerError(
                    f"--remote {self.remote} can't be had with {name} {given}: its passes are sent "
                    "from this process, and only those of the edits; leave one of the two out"
                )


@dataclass(frozen=True)
class AnyWork(Elsewhere, Work):
    """Long work: in shards, on a cluster, or on a server."""

    def check(self, *options: tuple[str, object]) -> None:
        """Also raises `SteerError` for a cluster beside a server."""
        super().check(*options)
        self.beside(("--ray", self.ray))

    @property
    def spread(self) -> dict[str, Any]:
        """As functions of `steer` take it."""
        return {**super().spread, "remote": self.server}
