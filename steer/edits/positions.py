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
| a slice       | as Python slices the text, its step positive; negative bounds count from   |
|               | the prompt's end                                                           |
| a list        | those positions                                                            |
| `Tokens(…)`   | tokens of these texts or ids                                               |
| `"text"`      | every token but special ones                                               |
| `Rows(…)`     | any of these for each row of the batch, in the order of the prompts        |
| a mask        | bool [b, s]: column t is position t of the row's text, padding not counted |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer.edits.values import check_int64
from steer.errors import InterventionError
from steer.lm.span import Span

NAMED = ("all", "prompt", "generated", "last", "text")
NOWHERE = ":0"
"""A slice of no token: what a mask says of a row in which nothing is true."""

_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+))?")


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


@dataclass(frozen=True, init=False, repr=False)
class Rows:
    """Positions for each row of a batch; each counts within its own text.

    In a batch of prompts the n-th is for the n-th prompt; a batch of another size refuses them.
    """

    specs: tuple[RowPositions, ...]

    def __init__(self, *specs: Positions) -> None:
        if not specs:
            raise InterventionError("Rows() is of no row: give positions for each row of the batch")
        own = tuple(canonical(spec) for spec in specs)
        for spec in own:
            if isinstance(spec, Rows):
                raise InterventionError(f"{spec!r} can't be the positions of a single row")
        object.__setattr__(self, "specs", own)

    @classmethod
    def of_mask(cls, mask: Mask, real: Mask | None = None) -> Rows:
        """Where a mask [b, s] is true, row by row.

        real: attention mask [b, s] of a padded batch, whose padding is then left out of the count.
        Raises `InterventionError` for a mask that is not boolean, or true at padding.
        """
        marks = _bools(mask)
        real_marks = [[True] * len(row) for row in marks] if real is None else _bools(real)
        return cls(*(_true(*pair) for pair in zip(marks, real_marks, strict=True)))

    def __len__(self) -> int:
        return len(self.specs)

    def to_dict(self) -> dict[str, list[Any]]:
        plain = [spec.to_dict() if isinstance(spec, Tokens) else spec for spec in self.specs]
        return {"rows": [list(spec) if isinstance(spec, tuple) else spec for spec in plain]}

    def __repr__(self) -> str:
        shown = [list(spec) if isinstance(spec, tuple) else spec for spec in self.specs]
        return f"Rows({', '.join(map(repr, shown))})"


Mask = Tensor | Sequence[Sequence[bool]]
Positions = str | int | slice | Sequence[int] | Tokens | Rows | Mask
RowPositions = str | int | tuple[int, ...] | Tokens
Canonical = RowPositions | Rows


def _bools(mask: Any) -> list[list[bool]]:
    """A mask [b, s] as lists. An attention mask's zeros and ones will do."""
    rows = mask.tolist() if isinstance(mask, Tensor) else mask
    nested = isinstance(rows, Sequence) and all(isinstance(row, Sequence) for row in rows)
    if not nested or not rows or any(mark not in (True, False) for row in rows for mark in row):
        raise InterventionError("a mask of positions is boolean and has a row for each prompt")
    return [[bool(mark) for mark in row] for row in rows]


def _true(marks: list[bool], real: list[bool]) -> tuple[int, ...] | str:
    """Positions of one row's true marks, padding not counted."""
    pairs = list(zip(marks, real, strict=True))
    if any(mark and not there for mark, there in pairs):
        raise InterventionError("the mask is true at padding, which an edit never touches")
    own = [mark for mark, there in pairs if there]
    return tuple(place for place, mark in enumerate(own) if mark) or NOWHERE


def _is_mask(positions: object) -> bool:
    """A boolean tensor [b, s], or lists of lists of bools."""
    if isinstance(positions, Tensor):
        return positions.dtype == torch.bool and positions.dim() == 2
    return isinstance(positions, Sequence) and any(
        isinstance(row, Sequence) and not isinstance(row, str) and all(type(m) is bool for m in row)
        for row in positions
    )


def canonical(positions: Positions) -> Canonical:
    """The form that is stored and compared; slices become `"start:stop"`, lists tuples.

    Raises `InterventionError` for anything that is not in the table above.
    """
    if isinstance(positions, Tokens | Rows):
        return positions
    if _is_mask(positions):
        return Rows.of_mask(positions)  # type: ignore[arg-type]  # `of_mask` refuses what is none
    if isinstance(positions, bool):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    if isinstance(positions, int):
        check_int64("positions", positions)
        return positions
    if isinstance(positions, slice):
        step = [] if positions.step is None else [positions.step]
        parts = [positions.start, positions.stop, *step]
        return canonical(":".join("" if part is None else str(part) for part in parts))
    if isinstance(positions, str):
        match = _SLICE.fullmatch(positions)
        if positions not in NAMED and not match:
            raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
        if match and match[3] and int(match[3]) <= 0:
            raise InterventionError(
                f"positions={positions!r} is not allowed: a slice's step must be positive"
            )
        if not match:
            return positions
        start, stop, stride = slice_parts(positions)
        for part in (start, stop, stride):
            check_int64("positions", part or 0)
        ends = ":".join("" if part is None else str(part) for part in (start, stop))
        return ends if stride in (None, 1) else f"{ends}:{stride}"
    if not isinstance(positions, Sequence):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    items = tuple(i for i in positions if isinstance(i, int) and not isinstance(i, bool))
    if not items or len(items) != len(positions):
        raise InterventionError(f"positions={positions!r} is not allowed; {_allowed()}")
    for item in items:
        check_int64("positions", item)
    return items


def _allowed() -> str:
    return (
        f"allowed: {', '.join(NAMED)}, an int, a slice such as 2:5, a list of ints, Tokens(…), or "
        "one of these for each row of the batch: Rows(…) or a boolean mask [b, s]"
    )


def positions_from_json(data: object) -> Positions:
    """What `json.loads` gives for stored positions."""
    match data:
        case {"tokens": list(tokens), **rest} if not rest:
            return Tokens(*tokens)
        case {"rows": list(specs), **rest} if not rest:
            return Rows(*map(positions_from_json, specs))
        case dict():
            raise InterventionError(f"positions={data!r} is not allowed; {_allowed()}")
    return data  # type: ignore[return-value]  # `canonical` refuses what is no Positions


def resolve(positions: Canonical, token_id: Callable[[str | int], int]) -> Canonical:
    """Token texts become ids, and ids are checked; everything else stays as it is."""
    if isinstance(positions, Tokens):
        return Tokens(*(token_id(token) for token in positions.tokens))
    if isinstance(positions, Rows):
        return Rows(*(resolve(spec, token_id) for spec in positions.specs))
    return positions


def refuse_other_rows(positions: Canonical, rows: int | None) -> None:
    """Raise `InterventionError` for positions by row, unless the batch has as many rows.

    rows: None where edits are made without telling rows apart.
    """
    if isinstance(positions, Rows) and len(positions) != rows:
        here = "rows are not told apart" if rows is None else f"the batch has {rows}"
        raise InterventionError(
            f"positions={positions!r} are for the {len(positions)} rows of one batch, and here "
            f"{here}: give as many as there are prompts, or positions that serve every row"
        )


def select(positions: Canonical, span: Span) -> Tensor:
    """Mask [b, s] of the span's tokens that canonical, resolved `positions` mean.

    Raises `InterventionError` for positions of another number of rows.
    """
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
        case Rows(specs=specs):
            refuse_other_rows(positions, len(at))
            rows = [select(spec, span.rows(slice(n, n + 1))) for n, spec in enumerate(specs)]
            chosen = torch.cat(rows)
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


def slice_parts(text: str) -> tuple[int | None, int | None, int | None]:
    """Start, stop and step of a slice in its canonical form."""
    match = _SLICE.fullmatch(text)
    assert match is not None
    start, stop, step = (int(part) if part else None for part in match.groups())
    return start, stop, step


def _slice(text: str, at: Tensor, prompt: Tensor) -> Tensor:
    start, stop, step = slice_parts(text)
    begin = _from_end(start or 0, prompt)
    if isinstance(begin, Tensor):  # a start before the text is its start, as in Python
        begin = begin.clamp(min=0)
    chosen = at >= begin
    if stop is not None:
        chosen &= at < _from_end(stop, prompt)
    if step:
        chosen &= (at - begin) % step == 0
    return chosen
