"""`steer verify`: does an edit do what is claimed of it, or would a control do as well?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.edits import Edits
from apps.cli.options.many import many_edits
from apps.cli.options.run import Reading
from apps.cli.options.single import SEEDS
from apps.cli.options.work import Work
from apps.cli.output import records, table

if TYPE_CHECKING:
    from steer.verdicts.claim import Claim


OF_THE_RUN = ("--model", "--dtype", "--device-map", "--quantize", "--json")
"""What a protocol leaves open."""


@dataclass(frozen=True)
class Claimed:
    """The tokens that are claimed; none for those that the edit chooses."""

    more: Annotated[
        list[str] | None,
        typer.Option(help='A token that becomes likelier, such as " than"; repeat it.'),
    ] = None
    less: Annotated[
        list[str] | None, typer.Option(help="Beside which; all tokens if left out.")
    ] = None

    def claim(self) -> Claim | None:
        """Raises `SteerError` for --less alone."""
        from steer.errors import SteerError
        from steer.verdicts.claim import Claim

        if self.more:
            return Claim(tuple(self.more), tuple(self.less or ()))
        if self.less:
            raise SteerError("--less is what --more is compared with: give --more too")
        return None


@dataclass(frozen=True)
class Drawn:
    """What the edit is compared with."""

    draws: Annotated[int, typer.Option(min=4, help="Random directions to compare with.")] = 24
    seed: Annotated[int, typer.Option(min=0, max=SEEDS, help="Of the draws and the split.")] = 0
    frozen: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="A dictionary of the site trained with a frozen decoder: its rows are a control.",
        ),
    ] = None


@command("steer verify --clamp 1176=2x --out verdict.json")
def verify(
    *,
    edits: Edits,
    claimed: Claimed,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own prompts, a line each; else forty of ours."),
    ] = None,
    drawn: Drawn,
    many: Annotated[
        Path | None,
        typer.Option(
            "--edits",
            metavar="FILE_OR_FOLDER",
            help="Many instead: a line each such as 1176=2x, or a folder of JSON; with --file.",
        ),
    ] = None,
    work: Work,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Gets the protocol before it runs, then the verdict."),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run the protocol in FILE; exit code 1 if it differs."),
    ] = None,
    run: Reading,
) -> None:
    """A verdict on an edit: `steers`, `no better than …`, `harms …` or `undecided`.

    A registered protocol: held-out prompts in three wordings, and controls that cost the same
    cross-entropy on neutral text: random directions, features of equal density, the sign turned,
    another block, a prompt that asks, and rows of a dictionary that was trained with a frozen
    decoder if --frozen names one. Without --more the edit and each random direction choose
    their own tokens on prompts that are not used again. --edits gives each of many its own.
    """
    from steer.errors import SteerError
    from steer.verdicts.table import verify_table
    from steer.verdicts.verify import verify as run_verify
    from steer.verdicts.verify import verify_again

    claim = claimed.claim()
    if many is None and (work.file or work.shard or work.ray):
        raise SteerError("--file, --shard and --ray spread many edits: give them with --edits")
    if again is not None:
        others = sorted(set(edits.typed) - {"--again", *OF_THE_RUN})
        if others:
            raise SteerError(
                f"--again FILE runs the protocol in FILE, which says all: leave out {others[0]}"
            )
        with run.loaded() as (model, progress):
            result = verify_again(model, again, progress=progress)
        document = {"same": result.same, "said": result.said, **result.verdict.to_dict()}
        told = "the same verdict" if result.same else f"another verdict than {result.said}"
        run.emit(
            document, lambda: [repr(result.verdict), told if result.said else "not run before"]
        )
        if not result.same:
            raise typer.Exit(1)
        return
    from apps.text_files import read_lines

    settings: dict[str, Any] = {
        **asdict(drawn),
        "prompts": None if prompts is None else read_lines(prompts),
    }
    if many is not None:
        if out is not None:
            raise SteerError("--out is of one edit: with --edits give --file, for all protocols")
        asked = many_edits(many, edits, run.dictionary)
        with run.loaded() as (model, progress):
            several = verify_table(
                model, asked, claim, **work.spread, progress=progress, **settings
            )
        if not work.told(run.emit):
            title = repr(several).splitlines()[0]
            shown = several.frame.drop(columns=["why", "more", "harms", "protocol"])
            run.emit(several.to_dict(), lambda: table(records(shown), title))
        return
    with run.loaded() as (model, progress):
        verdict = run_verify(
            model,
            edits.intervention(run.dictionary),
            claim,
            out=out,
            progress=progress,
            **settings,
        )
    run.emit(verdict.to_dict(), lambda: repr(verdict))
