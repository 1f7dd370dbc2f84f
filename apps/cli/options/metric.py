"""What of the next token is measured: --answer and --against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from steer.effects.metric import LogitDifference, Metric

Against = Annotated[str | None, typer.Option(help="Token whose logit is subtracted from it.")]


@dataclass(frozen=True)
class Logit:
    """The logit of a token, or the difference of two."""

    answer: Annotated[str, typer.Option(help='Token whose logit is the metric: " Mary".')]
    against: Against = None

    @property
    def metric(self) -> LogitDifference:
        return _difference(self.answer, self.against)


@dataclass(frozen=True)
class Measured:
    """The same, or KL if no token is given."""

    answer: Annotated[
        str | None, typer.Option(help='Token whose logit is the metric, such as " Mary".')
    ] = None
    against: Against = None

    @property
    def metric(self) -> Metric | str:
        return "kl" if self.answer is None else _difference(self.answer, self.against)


def _difference(answer: str, against: str | None) -> LogitDifference:
    from steer.effects.metric import LogitDifference

    return LogitDifference(answer, against or ())
