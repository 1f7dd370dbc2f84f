"""What interventions mean, token by token in plain Python, on one uncached text.

Written from the documentation of `steer.edits` (`kinds`, `positions`, `conditions`, `schedules`);
it shares no code with the splice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer import edits
from steer.edits import conditions, schedules
from steer.edits.directions import DecoderRow, Random, Vector
from steer.edits.positions import Rows, Tokens
from tests.support.plain import path_of


def token_id(token: str | int) -> int:
    """`w7` is token 7 of the tests' tokenizer."""
    return token if isinstance(token, int) else int(token.removeprefix("w"))


def touches(
    positions: Any, at: int, ids: Sequence[int], prompt: int, special: set[int], row: int = 0
) -> bool:
    """Whether an edit with these positions touches token `at` of a row of the batch."""
    if isinstance(positions, Rows):
        return touches(positions.specs[row], at, ids, prompt, special)
    if isinstance(positions, Tokens):
        return ids[at] in {token_id(token) for token in positions.tokens}
    if isinstance(positions, int):
        return at == (positions + prompt if positions < 0 else positions)
    if isinstance(positions, tuple):
        return any(touches(position, at, ids, prompt, special) for position in positions)
    named = {
        "all": True,
        "prompt": at < prompt,
        "generated": at >= prompt - 1,
        "last": at == prompt - 1,
        "text": ids[at] not in special,
    }
    if positions in named:
        return named[positions]
    parts = [int(part) if part else None for part in positions.split(":")]
    start, stop, step = (*parts, None)[:3]
    begin = 0 if start is None else max(0, start + prompt) if start < 0 else start
    end = math.inf if stop is None else stop + prompt if stop < 0 else stop
    return begin <= at < end and (at - begin) % (step or 1) == 0


def holds(condition: conditions.Condition | None, f: Tensor, at: int) -> bool:
    """Whether a condition holds at token `at` of clean features f [s, width]."""
    match condition:
        case None:
            return True
        case conditions.Seen(feature, above):
            return any(f[t, feature].item() > above for t in range(1, at + 1))
        case conditions.Active(feature, above):
            return f[at, feature].item() > above
        case conditions.And(of):
            return all(holds(each, f, at) for each in of)
        case conditions.Or(of):
            return any(holds(each, f, at) for each in of)
        case conditions.Not(inner):
            return not holds(inner, f, at)
    raise TypeError(condition)


def strength(schedule: schedules.Schedule | None, at: int, prompt: int) -> float:
    """g at token `at`."""
    t = max(0, at - (prompt - 1))
    match schedule:
        case schedules.First(n):
            return float(t < n)
        case schedules.After(n):
            return float(t >= n)
        case schedules.Ramp(n):
            return min(1.0, (t + 1) / n)
        case schedules.Decay(n):
            return 0.5 ** (t / n)
    return 1.0


def value_of(edit: Any, dictionary: Dictionary, length: float, row: Tensor, vector: float) -> float:
    """The edit's value in activation units at a token of residual norm `length`."""
    if isinstance(edit, edits.Ablate):
        statistics = dictionary.statistics
        if edit.to == "zero" or statistics is None:
            return 0.0
        return float(statistics.mean[edit.feature] * statistics.density[edit.feature])
    value = getattr(edit, "value", 0.0)
    if isinstance(value, float | int):
        return float(value)
    amount, unit = value.split("x ")
    match unit:
        case "norm":
            return float(amount) * length / row.norm().item()
        case "vector":
            return float(amount) * vector
        case _:
            assert dictionary.statistics is not None
            return float(amount) * dictionary.statistics.maximum[edit.feature].item()


def changed(edit: Any, f: float, value: float) -> float:
    """f′ of one edit at full strength."""
    match edit:
        case edits.Scale() | edits.ScaleSubspace():
            return edit.factor * f
        case edits.Add() | edits.AddDirection():
            return f + value
        case edits.Floor() | edits.FloorProjection():
            return max(f, value)
        case edits.Cap() | edits.CapProjection():
            return min(f, value)
        case edits.ProjectOut() | edits.AblateSubspace():
            return 0.0
        case _:
            return value


def direction_of(source: Any, dictionary: Dictionary, d: int) -> Tensor:
    match source:
        case Vector(values):
            return torch.tensor(values)
        case DecoderRow(_, feature):
            return dictionary.W_dec[feature]
        case Random(seed):
            return torch.randn(d, generator=torch.Generator().manual_seed(seed))
    raise TypeError(source)


def part_inside(subspace: Any, x: Tensor, dictionary: Dictionary) -> Tensor:
    """The projection of x [d] on the span, by least squares."""
    spans = torch.stack([direction_of(span, dictionary, len(x)) for span in subspace.spans])
    return spans.T @ torch.linalg.lstsq(spans.T, x).solution


def edited(
    x: Tensor, ids: Sequence[int], prompt: int, intervention: Any, dictionary: Dictionary,
    special: set[int], row: int = 0,
) -> Tensor:  # fmt: skip
    """x [s, d] of one text, a row of the batch -> x′."""
    f, _ = dictionary.encode(x)
    out = x.clone()
    for at in range(len(ids)):
        if intervention.error == "drop":
            out[at] = dictionary.decode(f[at])
        new: dict[object, float] = {}
        for edit in intervention.edits:
            if isinstance(edit, edits.DirectionEdit):
                vector = direction_of(edit.direction, dictionary, x.shape[1])
                written, length = vector / vector.norm(), vector.norm().item()
                clean = (x[at] @ written).item()
            elif isinstance(edit, edits.SubspaceEdit):
                part = part_inside(edit.subspace, x[at], dictionary)
                clean, length = part.norm().item(), 0.0
                written = part / clean
            else:
                written, length = dictionary.W_dec[edit.feature], 0.0
                clean = f[at, edit.feature].item()
            now = new.get(edit.target, clean)
            g = strength(edit.schedule, at, prompt)
            acts = touches(edit.positions, at, ids, prompt, special, row) and g > 0
            if not acts or not holds(edit.when, f, at):
                continue
            value = value_of(edit, dictionary, x[at].norm().item(), written, length)
            after = now + g * (changed(edit, now, value) - now)
            out[at] = out[at] + (after - now) * written
            new[edit.target] = after
    return out


def greedy(
    model: Any, family: str, prompt: Sequence[int], new: int, interventions: Sequence[Any],
    dictionaries: Sequence[Dictionary], special: set[int], eos: int, row: int = 0,
) -> tuple[list[int], Tensor]:  # fmt: skip
    """Greedy continuation, the whole text read again for each token; and the last logits [V]."""
    ids = list(prompt)
    last = torch.empty(0)
    for _ in range(new):
        with ExitStack() as hooks:
            for intervention, dictionary in zip(interventions, dictionaries, strict=True):
                path, side = path_of(family, str(dictionary.config.hookpoint))
                module = model.get_submodule(path)

                def alter(t: Tensor, i: Any = intervention, d: Dictionary = dictionary) -> None:
                    t[0] = edited(t[0].clone(), ids, len(prompt), i, d, special, row)

                def before(_: Any, inputs: Any, alter: Any = alter) -> None:
                    alter(inputs[0])

                def after(_: Any, __: Any, output: Any, alter: Any = alter) -> None:
                    alter(output[0] if isinstance(output, tuple) else output)

                handle = (
                    module.register_forward_pre_hook(before)
                    if side == "input"
                    else module.register_forward_hook(after)
                )
                hooks.callback(handle.remove)
            with torch.no_grad():
                last = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        ids.append(int(last.argmax()))
        if ids[-1] == eos:
            break
    return ids[len(prompt) :], last
