"""What `steer evaluate` compares with the baseline, and lm-eval's own options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.options.edits import OF_AN_EDIT, Changes

if TYPE_CHECKING:
    from steer.edits import Intervention


@dataclass(frozen=True)
class Compared(Changes):
    """Edits by option, which act together, and interventions from files, each compared alone."""

    edit: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            metavar="FILE",
            help=f"An intervention saved as JSON; each is compared with the baseline. "
            f"a.json{os.pathsep}b.json act together.",
        ),
    ] = None

    def named(self, dictionary: str) -> dict[str, Sequence[Intervention]]:
        """What is compared: name -> interventions that act together.

        Raises `InterventionError` for a file that was given twice, or is none.
        """
        from steer.errors import InterventionError
        from steer.evals.files import read_interventions

        if not self.given:
            self.refuse("no edit such as --clamp 123=5x was typed", *OF_AN_EDIT)
        compared: dict[str, Sequence[Intervention]] = {}
        for given in self.edit or ():
            files = [Path(part) for part in given.split(os.pathsep)]
            stems = "+".join(file.stem for file in files)
            name = given if stems in compared else stems
            if name in compared:
                raise InterventionError(f"--edit {given} was given twice")
            compared[name] = read_interventions(files)
        named = {own.dictionary for several in compared.values() for own in several}
        if not self.given and dictionary not in named:
            self.refuse("no edit such as --clamp 123=5x was typed", "--dictionary")
        if self.given:
            compared[str(self)] = self.interventions(dictionary)
        return compared


@dataclass(frozen=True)
class Harness:
    """Options that lm-eval has under the same names."""

    limit: Annotated[int | None, typer.Option(min=1, help="Documents of each task.")] = None
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt.")] = None
    batch_size: Annotated[int, typer.Option(min=1)] = 16
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template")] = False
    fewshot_as_multiturn: Annotated[bool, typer.Option("--fewshot-as-multiturn")] = False
    include_path: Annotated[Path | None, typer.Option(help="A folder with more tasks.")] = None
    seed: Annotated[int, typer.Option(min=0, help="Of few-shot examples and sampling.")] = 0
