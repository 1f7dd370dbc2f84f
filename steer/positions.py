"""Which tokens an edit touches.

Positions are absolute: token 0 is the first real token of the text, padding is never counted and
never touched, and a position means the same in the prefill and at a cached decoding step.

| spec          | tokens                                                                     |
|---------------|----------------------------------------------------------------------------|
| `"all"`       | every token, of the prompt and of the generated text                       |
| `"prompt"`    | the prompt's tokens                                                        |
| `"generated"` | every position whose output is a generated token: the prompt's last one on |
| `"last"`      | the prompt's last token                                                    |
| an int        | that position; negative ones count from the end of the prompt              |
| a slice       | as Python slices the text; negative bounds count from the prompt's end     |
| a list        | those positions                                                            |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.errors import InterventionError

Positions = str | int | slice | Sequence[int]
NAMED = ("all", "prompt", "generated", "last")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?")


@dataclass(frozen=True, eq=False)
class Span:
    """The tokens of one forward pass. absolute [b, s]; real [b, s]; prompt_length [b]."""

    absolute: Tensor
    real: Tensor
    prompt_length: Tensor

    @classmethod
    def prefill(cls, mask: Tensor) -> Span:
        """The first pass over a left-padded batch with attention mask [b, s]."""
        real = mask.bool()
        return cls(real.long().cumsum(1) - 1, real, real.sum(1))

    def rows(self, rows: slice) -> Span:
        """The same tokens, of some rows of the batch only."""
        return Span(self.absolute[rows], self.real[rows], self.prompt_length[rows])

    def step(self, number: int) -> Span:
        """The single token of cached decoding step `number` (0 is the prefill itself)."""
        if number == 0:
            return self
        absolute = (self.prompt_length + number - 1).unsqueeze(1)
        return Span(absolute, torch.ones_like(absolute, dtype=torch.bool), self.prompt_length)


def canonical(positions: Positions) -> str | int | tuple[int, ...]:
    """The form that is stored, compared and written to JSON; slices become `"start:stop"`.

    Raises `InterventionError` for anything that is not in the table above.
    """
    if isinstance(positions, bool):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    if isinstance(positions, int):
        return positions
    if isinstance(positions, slice):
        parts = [positions.start, positions.stop, *([positions.step] if positions.step else [])]
        return canonical(":".join("" if part is None else str(part) for part in parts))
    if isinstance(positions, str):
        match = _SLICE.fullmatch(positions)
        if positions not in NAMED and not match:
            raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
        if match and match[3] == "0":
            raise InterventionError("a slice's step must be positive")
        return positions
    items = tuple(positions)
    if not items or not all(isinstance(i, int) and not isinstance(i, bool) for i in items):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    return items


def _allowed() -> str:
    return f"allowed: {', '.join(NAMED)}, an int, a slice such as 2:5, or a list of ints"


def select(positions: str | int | tuple[int, ...], span: Span) -> Tensor:
    """Mask [b, s] of the span's tokens that a canonical `positions` means."""
    at, prompt = span.absolute, span.prompt_length.unsqueeze(1)
    match positions:
        case "all":
            chosen = torch.ones_like(span.real)
        case "prompt":
            chosen = at < prompt
        case "generated":
            chosen = at >= prompt - 1
        case "last":
            chosen = at == prompt - 1
        case int():
            chosen = at == _from_end(positions, prompt)
        case str():
            chosen = _slice(positions, at, prompt)
        case _:
            chosen = torch.stack([at == _from_end(p, prompt) for p in positions]).any(0)
    return chosen & span.real


def _from_end(position: int, prompt: Tensor) -> Tensor | int:
    return prompt + position if position < 0 else position


def _slice(text: str, at: Tensor, prompt: Tensor) -> Tensor:
    match = _SLICE.fullmatch(text)
    assert match is not None
    start, stop, step = (int(part) if part else None for part in match.groups())
    begin = _from_end(start or 0, prompt)
    chosen = at >= begin
    if stop is not None:
        chosen &= at < _from_end(stop, prompt)
    if step:
        chosen &= (at - begin) % step == 0
    return chosen
