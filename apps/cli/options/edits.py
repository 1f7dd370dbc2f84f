"""Edits on the command line: `--clamp 123=5x --ablate 77 --when "7 > 2.5" --error drop`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer

from apps.cli.options.given import Given

if TYPE_CHECKING:
    from steer.edits import Edit, Intervention

Value = TypeVar("Value")
_KINDS = ("clamp", "ablate", "scale", "add", "cap_projection", "floor_projection")
OF_AN_EDIT = ("--positions", "--when", "--schedule", "--error", "--in-order")
"""What says how edits act, and nothing without one."""


@dataclass(frozen=True)
class Changes(Given):
    """The options that describe edits, which together make one intervention."""

    default_positions: ClassVar[str] = "all"

    clamp: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=VALUE", help="Set it: 123=5x (times its max) or 123=80."),
    ] = None
    ablate: Annotated[list[int] | None, typer.Option(metavar="ID", help="Set it to 0.")] = None
    scale: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=FACTOR", help="Multiply it where it is active: 9=2."),
    ] = None
    add: Annotated[
        list[str] | None, typer.Option(metavar="ID=VALUE", help="Add to it: 4=3 or 4=0.5x.")
    ] = None
    cap_projection: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=VALUE", help="The stream along its decoder row, at most: 9=20 or 9=.1x."
        ),
    ] = None
    floor_projection: Annotated[
        list[str] | None, typer.Option(metavar="ID=VALUE", help="The same, at least.")
    ] = None
    positions: Annotated[
        str | None,
        typer.Option(help="Where edits act: all if left out; prompt, generated, last, 3 or 2:5."),
    ] = None
    when: Annotated[
        str | None, typer.Option(help='Only where features say so: "7 > 2.5 and not seen 3".')
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(help='Strength over time: "first 5", "after 3", "ramp 10", "decay 8".'),
    ] = None
    error: Annotated[
        str,
        typer.Option(help="What the dictionary does not explain: keep, frozen or drop."),
    ] = "keep"

    in_order: Annotated[
        bool,
        typer.Option(
            "--in-order",
            help="Edits of one feature act one after another, as typed; else they are refused.",
        ),
    ] = False

    @property
    def given(self) -> bool:
        """Whether any edit was."""
        return any(getattr(self, name) for name in _KINDS)

    def __str__(self) -> str:
        said = {
            kind: [f"{kind.replace('_', ' ')} {spec}" for spec in getattr(self, kind) or ()]
            for kind in _KINDS
        }
        return " ".join(self._as_typed(said))

    def interventions(self, dictionary: str) -> list[Intervention]:
        """The intervention that they describe.

        Raises `InterventionError` for malformed options, or for none.
        """
        from typing import cast

        from steer.edits import Intervention
        from steer.errors import InterventionError

        edits = self._edits(dictionary)
        if not edits:
            raise InterventionError(
                "no edit was given: add one such as --clamp 123=5x or --ablate 77"
            )
        conflicts = cast("Any", "in_order" if self.in_order else "refuse")
        return [Intervention(dictionary, edits, cast("Any", self.error), conflicts)]

    def _edits(self, dictionary: str) -> list[Edit]:
        from steer import edits
        from steer.edits.directions import DecoderRow
        from steer.edits.phrases import parse_condition, parse_positions, parse_schedule

        common: dict[str, Any] = {
            "positions": parse_positions(
                self.default_positions if self.positions is None else self.positions
            ),
            "when": None if self.when is None else parse_condition(self.when),
            "schedule": None if self.schedule is None else parse_schedule(self.schedule),
        }

        def read(kind: str, convert: Callable[[str], Any], make: Callable[..., Edit]) -> list[Edit]:
            given = _pairs(kind.replace("_", "-"), getattr(self, kind), convert)
            return [make(*pair, **common) for pair in given]

        def along(kind: type[edits.CapProjection] | type[edits.FloorProjection]) -> Any:
            return lambda feature, value, **rest: kind(
                DecoderRow(dictionary, feature), value, **rest
            )

        made: dict[str, list[Edit]] = {
            "clamp": read("clamp", str, edits.Clamp),
            "ablate": [edits.Ablate(feature, **common) for feature in self.ablate or ()],
            "scale": read("scale", float, edits.Scale),
            "add": read("add", str, edits.Add),
            "cap_projection": read("cap_projection", str, along(edits.CapProjection)),
            "floor_projection": read("floor_projection", str, along(edits.FloorProjection)),
        }
        return list(self._as_typed(made))

    def _as_typed(self, kinds: Mapping[str, Sequence[Value]]) -> Iterator[Value]:
        """What each kind's options became, in the order in which they were typed."""
        left = {kind: iter(values) for kind, values in kinds.items()}
        typed = [option.removeprefix("--").replace("-", "_") for option in self.typed]
        for name in typed or [kind for kind, values in kinds.items() for _ in values]:
            if name in left:
                yield next(left[name])


@dataclass(frozen=True)
class Edits(Changes):
    """Those options, or interventions from files."""

    edit: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An intervention as JSON; several act together."),
    ] = None

    @property
    def given(self) -> bool:
        return bool(self.edit) or super().given

    def interventions(self, dictionary: str) -> list[Intervention]:
        """The intervention that the options describe, or those in the files.

        Raises `InterventionError` for malformed options, for none, or for both.
        """
        from steer.errors import InterventionError

        if not self.edit:
            return super().interventions(dictionary)
        if super().given or set(OF_AN_EDIT) & set(self.typed):
            raise InterventionError(
                "give either --edit FILE or edits such as --clamp 123=5x with --positions, --when, "
                "--schedule, --error and --in-order, not both"
            )
        read = [read_intervention(file) for file in self.edit]
        if dictionary not in (own.dictionary for own in read):
            self.refuse(f"--edit {self.edit[0]} is of {read[0].dictionary}", "--dictionary")
        return read

    def intervention(self, dictionary: str) -> Intervention:
        """As `interventions`, for what takes only one. Raises `InterventionError` for several."""
        from steer.errors import InterventionError

        interventions = self.interventions(dictionary)
        if len(interventions) > 1:
            raise InterventionError(
                f"{len(interventions)} --edit files were given; this command takes one"
            )
        return interventions[0]


@dataclass(frozen=True)
class TextEdits(Edits):
    """The same, but not at the first token: its massive activation would be all that is seen."""

    default_positions: ClassVar[str] = "1:"
    positions: Annotated[
        str | None,
        typer.Option(help="Where edits act: 1: (not the first) if left out; all, last or 3."),
    ] = None


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
