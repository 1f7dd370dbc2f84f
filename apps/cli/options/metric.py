"""What of the next token is measured: --answer and --against, or --answers for a prompt each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.text_files import read_lines
from steer.errors import SteerError

if TYPE_CHECKING:
    from steer.effects.metric import LogitDifference, Metric


@dataclass(frozen=True)
class Measured:
    """The logit of a token, or the difference of two, of all prompts or of each; else KL."""

    answer: Annotated[
        str | None, typer.Option(help='Token whose logit is the metric, such as " Mary".')
    ] = None
    against: Annotated[
        str | None, typer.Option(help="Token whose logit is subtracted from it.")
    ] = None
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For each prompt its own: a line each, ANSWER or ANSWER, tab, AGAINST.",
        ),
    ] = None

    def metric(self, prompts: Sequence[str]) -> Metric | str | list[Metric]:
        """For all prompts, or one each. Raises `SteerError` for options that contradict."""
        if self.answers is not None:
            if self.answer is not None or self.against is not None:
                raise SteerError("give --answers FILE, or --answer and --against, not both")
            return _of_lines(self.answers, len(prompts))
        if self.answer is not None:
            return _difference(self.answer, self.against)
        if self.against is not None:
            raise SteerError("--against is what --answer is compared with: give --answer too")
        return "kl"


@dataclass(frozen=True)
class Logit(Measured):
    """The same where KL will not do."""

    def metric(self, prompts: Sequence[str]) -> Metric | str | list[Metric]:
        if self.answer is None and self.answers is None:
            raise SteerError("give --answer, the token whose logit is measured, or --answers FILE")
        return super().metric(prompts)


def _of_lines(file: Path, prompts: int) -> list[Metric]:
    lines = read_lines(file)
    if len(lines) != prompts:
        raise SteerError(f"{file} has {len(lines)} answers for {prompts} prompts; give one each")
    return [_difference(*line.split("\t", 1)) for line in lines]


def _difference(answer: str, against: str | None = None) -> LogitDifference:
    from steer.effects.metric import LogitDifference

    return LogitDifference(answer, against or ())
