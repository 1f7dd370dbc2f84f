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
| `Tokens(…)`   | tokens of these texts or ids                                               |
| `"text"`      | every token but special ones                                               |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steer.errors import InterventionError

NAMED = ("all", "prompt", "generated", "last", "text")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?")


@dataclass(frozen=True, init=False, repr=False)
class Tokens:
    """Tokens by text (each must be exactly one token of the model) or by id."""

    tokens: tuple[str | int, ...]

    def __init__(self, *tokens: str | int) -> None:
        if not tokens or not all(_is_token(t) for t in tokens):
            raise InterventionError(f"Tokens{tokens!r}: give one or more token texts or ids")
        object.__setattr__(self, "tokens", tokens)

    def to_dict(self) -> dict[str, list[str | int]]:
        return {"tokens": list(self.tokens)}

    def __repr__(self) -> str:
        return f"Tokens({', '.join(map(repr, self.tokens))})"


def _is_token(token: object) -> bool:
    return bool(token) if isinstance(token, str) else type(token) is int and token >= 0


Positions = str | int | slice | Sequence[int] | Tokens
Canonical = str | int | tuple[int, ...] | Tokens


@dataclass(frozen=True, eq=False)
class Span:
    """The tokens of one forward pass.

    absolute, real, ids [b, s]: position in the text, whether it is no padding, and token id.
    prompt_length [b]; special [n]: ids of the special tokens.
    """

    absolute: Tensor
    real: Tensor
    prompt_length: Tensor
    ids: Tensor
    special: Tensor

    @classmethod
    def prefill(cls, ids: Tensor, mask: Tensor, special: Sequence[int] = ()) -> Span:
        """The first pass over a left-padded batch with ids and attention mask [b, s]."""
        real = mask.bool()
        listed = torch.tensor(list(special), dtype=torch.long, device=ids.device)
        return cls(real.long().cumsum(1) - 1, real, real.sum(1), ids, listed)

    def rows(self, rows: slice) -> Span:
        """The same tokens, of some rows of the batch only."""
        return replace(
            self,
            absolute=self.absolute[rows],
            real=self.real[rows],
            prompt_length=self.prompt_length[rows],
            ids=self.ids[rows],
        )

    def to(self, device: torch.device) -> Span:
        """The same tokens on another device."""
        if self.absolute.device == device:
            return self
        return Span(**{name: value.to(device) for name, value in vars(self).items()})

    def repeat(self, times: int) -> Span:
        """The rows several times over, one copy below the other."""
        return replace(
            self,
            absolute=self.absolute.repeat(times, 1),
            real=self.real.repeat(times, 1),
            prompt_length=self.prompt_length.repeat(times),
            ids=self.ids.repeat(times, 1),
        )

    def step(self, number: int, ids: Tensor) -> Span:
        """The tokens of decoding step `number` (0 is the prefill, this span itself).

        ids: the newest ones [b, 1], or without a cache the whole text [b, s + number] again.
        """
        if number == 0:
            return self
        later = torch.arange(number, device=ids.device) + self.prompt_length.unsqueeze(1)
        real = torch.ones_like(later, dtype=torch.bool)
        if ids.shape[1] > 1:
            later = torch.cat([self.absolute, later], dim=1)
            real = torch.cat([self.real, real], dim=1)
        read = ids.shape[1]
        return replace(self, absolute=later[:, -read:], real=real[:, -read:], ids=ids)

    @property
    def generated(self) -> Tensor:
        """Index [b, s] of the generated token that each position's output is; 0 in the prompt."""
        return (self.absolute - self.prompt_length.unsqueeze(1) + 1).clamp(min=0)


def canonical(positions: Positions) -> Canonical:
    """The form that is stored and compared; slices become `"start:stop"`, lists tuples.

    Raises `InterventionError` for anything that is not in the table above.
    """
    if isinstance(positions, Tokens):
        return positions
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
    if not isinstance(positions, Sequence):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    items = tuple(i for i in positions if isinstance(i, int) and not isinstance(i, bool))
    if not items or len(items) != len(positions):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    return items


def _allowed() -> str:
    return f"allowed: {', '.join(NAMED)}, an int, a slice such as 2:5, a list of ints, or Tokens(…)"


def positions_from_json(data: object) -> Positions:
    """What `json.loads` gives for stored positions."""
    if isinstance(data, dict):
        if set(data) != {"tokens"} or not isinstance(data["tokens"], list):
            raise InterventionError(f"positions={data!r} is not allowed; {_allowed()}")
        return Tokens(*data["tokens"])
    return data  # type: ignore[return-value]  # `canonical` refuses what is no Positions


def resolve(positions: Canonical, token_id: Callable[[str | int], int]) -> Canonical:
    """Token texts become ids, and ids are checked; everything else stays as it is."""
    if isinstance(positions, Tokens):
        return Tokens(*(token_id(token) for token in positions.tokens))
    return positions


def select(positions: Canonical, span: Span) -> Tensor:
    """Mask [b, s] of the span's tokens that canonical, resolved `positions` mean."""
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
        case "text":
            chosen = ~torch.isin(span.ids, span.special)
        case Tokens():
            chosen = torch.isin(span.ids, torch.tensor(positions.tokens, device=at.device))
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
