"""`steer concept`: from words to an edit that writes about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options import EDIT, MODEL, Dtype, Json, ModelName, Seed, load
from apps.cli.output import emit, number, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from steer.concepts.result import Concept
    from steer.maths.statistics import Interval

app = typer.Typer()


@app.command(rich_help_panel=EDIT, epilog="Example: steer concept ocean --prompt 'Today I'")
def concept(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="A word or a short phrase.")],
    examples: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences about it, one a line.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences that are not, one a line.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="A text of yours to show it on.")] = None,
    dictionary: Annotated[
        str | None, typer.Option(help="A catalogue name or a folder; by default block 10's.")
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Nats a token that steered text may cost more.")
    ] = 1.0,
    seed: Seed = 0,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Find features that write about a word, their dose, and how surely they work."""
    about, away = (None if file is None else _sentences(file) for file in (examples, against))
    with progress_bars(not json_output) as progress:
        from steer.concepts.concept import concept as search

        found = search(
            load(model, dtype, progress),
            " ".join(words),
            examples=about,
            against=away,
            prompt=prompt,
            dictionary=dictionary,
            budget=budget,
            seed=seed,
            progress=progress,
        )
    emit(json_output, found.to_dict(), lambda: _view(found))


def _sentences(file: Path) -> list[str]:
    """The lines of a file that have text."""
    from steer.errors import SteerError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SteerError(f"{file} can't be read as text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _view(found: Concept) -> list[Any]:
    """The verdict, what it rests on, and texts without and with the edit."""
    lines: list[Any] = [f"{found.word}: {found.verdict} ({found.reason})"]
    if found.intervention is None:
        return lines
    features = ", ".join(str(feature) for feature in found.features)
    lines.append(f"{found.method} in {found.dictionary}: features {features}")
    lines.append(f"dose {found.dose:g} of the residual's norm; {found.tried} edits compared")
    lines.append(table([_row("the edit", found.on_topic, found.loss_increase), *_others(found)]))
    detector = found.detector
    lines.append(
        f"as a detector on held-out text: precision {number(detector['precision'])}, "
        f"recall {number(detector['recall'])}"
    )
    for pair in found.texts:
        about = "about it" if pair.on_topic else "not about it"
        lines += ["", f"{pair.prompt} [seed {pair.seed}, {about}]"]
        lines += [f"  untouched: {_line(pair.baseline)}", f"  edited:    {_line(pair.edited)}"]
    return lines


def _others(found: Concept) -> list[dict[str, Any]]:
    """The untouched model, then the controls."""
    untouched = _row("untouched", found.on_topic_baseline, found.on_topic_baseline)
    untouched |= {"nats": 0.0, "nats_low": None, "nats_high": None}
    return [untouched, *(_row(e.name, e.on_topic, e.loss_increase) for e in found.controls)]


def _row(what: str, on_topic: Interval, loss: Interval) -> dict[str, Any]:
    return {
        "what": what,
        "on topic": on_topic.mean,
        **_bounds("on topic", on_topic),
        "nats": loss.mean,
        **_bounds("nats", loss),
    }


def _bounds(name: str, value: Interval) -> dict[str, float]:
    return {f"{name}_low": value.low, f"{name}_high": value.high}


def _line(text: str) -> str:
    return " ".join(text.split())
