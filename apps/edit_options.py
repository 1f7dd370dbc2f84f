"""Edits on the command line: `--clamp 123=5x --ablate 77 --scale 9=2 --add 4=3`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from steer.edits import Edit, Intervention

Value = TypeVar("Value")

Clamp = Annotated[
    list[str] | None,
    typer.Option("--clamp", metavar="ID=VALUE", help="Set it: 123=5x (times its max) or 123=80."),
]
Ablate = Annotated[list[int] | None, typer.Option("--ablate", metavar="ID", help="Set it to 0.")]
Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="ID=FACTOR", help="Multiply it where it is active: 9=2."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--edit", help="An intervention saved as JSON; several act together."),
]
Add = Annotated[
    list[str] | None,
    typer.Option("--add", metavar="ID=VALUE", help="Add to it: 4=3 or 4=0.5x."),
]
When = Annotated[
    str | None,
    typer.Option("--when", help='Only where features say so: "7 > 2.5 and not seen 3".'),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule", help='Strength over time: "first 5", "after 3", "ramp 10", "decay 8".'
    ),
]


def interventions(
    dictionary: str,
    files: Sequence[Path] | None,
    positions: str,
    *,
    clamp: Sequence[str] | None = None,
    ablate: Sequence[int] | None = None,
    scale: Sequence[str] | None = None,
    add: Sequence[str] | None = None,
    when: str | None = None,
    schedule: str | None = None,
) -> list[Intervention]:
    """The intervention that the options describe, or those in the files.

    Raises `InterventionError` for malformed options, for none, or for both.
    """
    from steer import edits
    from steer.errors import InterventionError
    from steer.phrases import parse_condition, parse_schedule

    common: dict[str, Any] = {
        "positions": int(positions) if positions.removeprefix("-").isdecimal() else positions,
        "when": parse_condition(when) if when else None,
        "schedule": parse_schedule(schedule) if schedule else None,
    }
    found: list[Edit] = []
    found += [edits.Clamp(f, v, **common) for f, v in _pairs("clamp", clamp, str)]
    found += [edits.Ablate(f, **common) for f in ablate or ()]
    found += [edits.Scale(f, v, **common) for f, v in _pairs("scale", scale, float)]
    found += [edits.Add(f, v, **common) for f, v in _pairs("add", add, str)]
    if files and (found or when or schedule):
        raise InterventionError(
            "give either --edit FILE or edits such as --clamp 123=5x with --when and --schedule, "
            "not both"
        )
    if files:
        return [read_intervention(file) for file in files]
    if not found:
        raise InterventionError("no edit was given: add one such as --clamp 123=5x or --ablate 77")
    return [edits.Intervention(dictionary, found)]


def read_intervention(file: Path) -> Intervention:
    """An intervention saved as JSON. Raises `InterventionError` if there is none."""
    from steer.edits import Intervention
    from steer.errors import InterventionError

    if not file.is_file():
        raise InterventionError(f"there is no file {file}")
    return Intervention.load(file)


def _pairs(
    option: str, given: Sequence[str] | None, convert: Callable[[str], Value]
) -> list[tuple[int, Value]]:
    from steer.errors import InterventionError

    pairs = []
    for text in given or ():
        feature, equals, value = text.partition("=")
        try:
            if not equals:
                raise ValueError
            pairs.append((int(feature), convert(value)))
        except ValueError:
            raise InterventionError(
                f"--{option} {text} is not of the form ID=VALUE, such as --{option} 123=5"
            ) from None
    return pairs
