"""What is known of a model's blocks, as values with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Literal

from torch import Tensor

from steer.errors import HookpointError
from steer.lm.hookpoints import KINDS, Hookpoint, parse

Side = Literal["input", "output"]


@dataclass(frozen=True)
class Site:
    """A hookpoint found in a model: a module path, and which side of it to read and write.

    alone: the module is given a copy, since what it reads goes elsewhere too.
    width: d of the site; 0 if it was not measured.
    """

    hookpoint: Hookpoint
    path: str
    side: Side
    alone: bool = False
    width: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Place:
    """A site within a block: path of a module in it, "" for the block itself. See `Site`."""

    path: str
    side: Side
    width: int
    alone: bool = False


@dataclass(frozen=True)
class Skip:
    """A block that does not run: its path, and what its forward returns around the stream.

    container: tensor, tuple or list; values: how many are in it.
    """

    path: str
    container: str = "tensor"
    values: int = 1

    def output(self, x: Tensor) -> Any:
        """What stands in for the block's output, if the stream is x [b, s, d]."""
        if self.container == "tensor":
            return x
        several = (x, *[None] * (self.values - 1))
        return several if self.container == "tuple" else list(several)


@dataclass(frozen=True)
class BlockAnatomy:
    """One block: its sites by kind; why it has no others; what its forward returns, see `Skip`."""

    sites: Mapping[str, Place]
    refused: Mapping[str, str]
    container: str = "tensor"
    values: int = 1

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BlockAnatomy:
        """Inverse of `dataclasses.asdict`."""
        sites = {kind: Place(**place) for kind, place in data["sites"].items()}
        return cls(sites, dict(data["refused"]), data["container"], data["values"])


@dataclass(frozen=True)
class Anatomy:
    """A model's blocks as measured on a few tokens.

    model: its class; stack: path of the list of blocks.
    final_norm: path of the norm that runs last, behind the blocks; None if there is none.
    batches: whether rows that are written together from a cache are what each is alone.
    pads: whether left-padded rows are.
    resumes: whether blocks hand on nothing but the stream, so that a pass can start above them.
    """

    model: str
    stack: str
    blocks: Sequence[BlockAnatomy]
    final_norm: str | None = None
    batches: bool = True
    pads: bool = True
    resumes: bool = True

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def locate(self, name: str | Hookpoint) -> Site:
        """Where a hookpoint is.

        Raises `HookpointError` for a layer out of range, or for a site that the block does not
        have, with what was measured.
        """
        hookpoint = parse(name) if isinstance(name, str) else name
        if not 0 <= hookpoint.layer < self.depth:
            raise HookpointError(
                f"hookpoint {hookpoint}: the model has blocks 0 to {self.depth - 1}"
            )
        block = self.blocks[hookpoint.layer]
        place = block.sites.get(hookpoint.kind)
        if place is None:
            have = ", ".join(kind for kind in KINDS if kind in block.sites)
            raise HookpointError(
                f"{self.model} has no {hookpoint.kind}; it has: {have or 'no site'} "
                f"({block.refused.get(hookpoint.kind, 'not found')})"
            )
        path = f"{self.stack}.{hookpoint.layer}{place.path and '.' + place.path}"
        return Site(hookpoint, path, place.side, place.alone, place.width)

    def below(self, layer: int) -> list[Skip]:
        """The blocks below one, to be skipped."""
        return [
            Skip(f"{self.stack}.{number}", block.container, block.values)
            for number, block in enumerate(self.blocks[:layer])
        ]

    def groups(self) -> list[tuple[range, BlockAnatomy]]:
        """Blocks that are alike, one after the other."""
        runs, start = [], 0
        for block, members in groupby(self.blocks):
            stop = start + len(list(members))
            runs.append((range(start, stop), block))
            start = stop
        return runs

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: a run of equal blocks once, with the first and the last of it."""
        return {
            "model": self.model,
            "stack": self.stack,
            "final_norm": self.final_norm,
            "batches": self.batches,
            "pads": self.pads,
            "resumes": self.resumes,
            "blocks": [
                {"first": run.start, "last": run.stop - 1, **asdict(block)}
                for run, block in self.groups()
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Anatomy:
        """Inverse of `to_dict`."""
        blocks: list[BlockAnatomy] = []
        for run in data["blocks"]:
            blocks += [BlockAnatomy.from_dict(run)] * (run["last"] - run["first"] + 1)
        names = ("model", "stack", "final_norm", "batches", "pads", "resumes")
        about = {name: data[name] for name in names}
        return cls(blocks=tuple(blocks), **about)
