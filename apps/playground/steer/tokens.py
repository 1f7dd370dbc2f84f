"""The two texts token by token: what each reads at the edited features, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apps.playground.state.groups import units
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.studio import Studio
from steer.edits import FeatureEdit
from steer.features.activations import encode_feature
from steer.lm.continuations import Continuation
from steer.lm.hookpoints import is_hookpoint
from steer.runs.fluency import distinct_pairs, losses
from steer.runs.generate import Run
from steer.splice.receipt import Receipt

_JUDGED = 64
"""Tokens of the prompt that are read again to judge the continuation."""
_SECOND = 500
"""Tokens that the default model reads in about a second on two cores."""
_LINES = 8
"""Of what is said on pointing at a token."""
_ERROR = {"keep": "kept", "drop": "dropped", "frozen": "frozen"}


@dataclass(frozen=True)
class Shown:
    """One or more tokens that make up whole characters.

    levels: activation of each edited feature as a share of its maximum (at most 1).
    acted: an edit changed it; tip: what is said on hover.
    """

    text: str
    prompt: bool = False
    levels: tuple[float, ...] = ()
    acted: bool = False
    tip: str = ""


@dataclass(frozen=True)
class Fluency:
    """What the unedited model makes of both continuations, baseline first.

    loss: nats a token. repeated: share of token pairs that were there before.
    """

    loss: tuple[float, float]
    repeated: tuple[float, float]

    @property
    def problem(self) -> str:
        """A sentence if the edited text has left the fluent range."""
        if self.repeated[1] > 0.5 and self.repeated[1] > self.repeated[0] + 0.2:
            return (
                f"The edited text repeats itself ({self.repeated[1]:.0%} of its token pairs are "
                "not new): the dose is beyond the fluent range. Try about half."
            )
        if self.loss[1] > self.loss[0] + 2.0:
            return (
                f"The unedited model finds the edited text unlikely ({self.loss[1]:.1f} nats a "
                f"token against {self.loss[0]:.1f}): the dose may be beyond the fluent range."
            )
        return ""


@dataclass(frozen=True)
class Texts:
    """Both texts, prompt included. read: whether they were read again, for the activations."""

    baseline: tuple[Shown, ...]
    edited: tuple[Shown, ...]
    baseline_text: str
    edited_text: str
    fluency: Fluency | None
    read: bool = True


def texts_of(studio: Studio, setup: Setup, run: Run, cancelled: bool = False) -> Texts:
    """Read both texts once more with the unedited model, and join them with the receipt.

    cancelled: leave out the reading, and with it the colours, where it would take over a second.
    """
    prompt = studio.read(setup).ids
    rows = (*prompt, *run.baseline.ids), (*prompt, *run.ids)
    unread = cancelled and sum(map(len, rows)) > _SECOND
    if unread:
        readings = [torch.zeros(len(ids), len(setup.active)) for ids in rows]
    else:
        once = {ids: readings_of(studio, setup.active, ids) for ids in dict.fromkeys(rows)}
        readings = [once[ids] for ids in rows]
    receipts = tips(run.receipt)
    shown = [
        tuple(_shown(studio, ids, len(prompt), reading, setup.active, notes))
        for ids, reading, notes in zip(rows, readings, ({}, receipts), strict=True)
    ]
    return Texts(
        baseline=shown[0],
        edited=shown[1],
        baseline_text=run.baseline.text,
        edited_text=run.text,
        fluency=None if unread else _fluency(studio, prompt, run),
        read=not unread,
    )


def readings_of(studio: Studio, rows: Sequence[Row], ids: Sequence[int]) -> Tensor:
    """The unedited activation of every row's feature at every token, [tokens, rows].

    A residual stream before the edited block is the same with and without the edit, so this is
    what a single edit read. Rows without a feature read 0.
    """
    model = studio.model
    batch = torch.tensor([list(ids)], device=model.device)
    sites = {row.dictionary: _site(studio, row) for row in rows}
    streams = (
        model.collect(batch, torch.ones_like(batch), list(set(sites.values()))) if sites else {}
    )
    columns = []
    for row in rows:
        if isinstance(row.edit, FeatureEdit) and not is_hookpoint(row.dictionary):
            x = streams[sites[row.dictionary]][0].float()
            columns.append(_activation(studio, row, x).cpu())
        else:
            columns.append(torch.zeros(len(ids)))
    return torch.stack(columns, dim=1) if columns else torch.zeros(len(ids), 0)


def _site(studio: Studio, row: Row) -> str:
    if is_hookpoint(row.dictionary):
        return row.dictionary
    return studio.model.site_of(studio.shelf[row.dictionary])


def _activation(studio: Studio, row: Row, x: Tensor) -> Tensor:
    dictionary = studio.shelf[row.dictionary]
    feature = row.edit.to_dict()["feature"]
    return encode_feature(dictionary, feature, x.unsqueeze(0))[0]


def tips(receipt: Receipt) -> dict[int, str]:
    """Position -> what the edits did there."""
    tips_at: dict[int, list[tuple[float, str]]] = {}
    for entry in receipt:
        for token in entry.tokens:
            reached = "" if token.reached is None else f", re-encoded {token.reached:.3g}"
            name = f"{entry.kind} #{entry.feature}" if entry.feature is not None else entry.kind
            said = (
                f"{name}: {token.before:.3g} → {token.after:.3g}{reached}, "
                f"‖Δ‖/‖x‖ {token.relative_dose:.2f}, error term {_ERROR[entry.error]}"
            )
            tips_at.setdefault(token.position, []).append((token.relative_dose, said))
    return {position: _largest(lines) for position, lines in tips_at.items()}


def _largest(lines: Sequence[tuple[float, str]]) -> str:
    """Lines with their sizes: all of them, or the largest few and how many are left out."""
    if len(lines) <= _LINES:
        return "\n".join(said for _, said in lines)
    shown = sorted(lines, key=lambda line: -abs(line[0]))[: _LINES - 1]
    left = f"and {len(lines) - len(shown)} smaller ones"
    return "\n".join([*(said for _, said in shown), left])


def _shown(
    studio: Studio,
    ids: Sequence[int],
    prompt: int,
    readings: Tensor,
    rows: Sequence[Row],
    notes: dict[int, str],
) -> Iterator[Shown]:
    maxima = [_maximum(studio, row, readings[1:, n]) for n, row in enumerate(rows)]
    special = set(studio.model.tokenizer.all_special_ids)
    for start, stop, text in whole_characters(studio, ids):
        values = readings[start:stop].amax(0).tolist()
        levels = tuple(min(v / m, 1.0) if m else 0.0 for v, m in zip(values, maxima, strict=True))
        levels = by_unit(rows, levels)
        done = "\n".join(notes[at] for at in range(start, stop) if at in notes)
        read = _largest(
            [
                (value, f"{_name(row)} reads {value:.3g}")
                for row, value in zip(rows, values, strict=True)
                if value
            ]
        )
        hidden = ids[start] in special and start >= prompt
        yield Shown(
            text="" if hidden else text,
            prompt=start < prompt,
            levels=tuple(0.0 for _ in levels) if start == 0 else levels,
            acted=bool(done),
            tip=f"position {start}\n{done or read}" if done or read else "",
        )


def by_unit(rows: Sequence[Row], levels: Sequence[float]) -> tuple[float, ...]:
    """The highest level of each group, and that of each edit that is in none."""
    left = iter(levels)
    return tuple(max(next(left) for _ in unit) for unit in units(rows))


def _name(row: Row) -> str:
    return f"#{row.edit.to_dict().get('feature', row.edit.kind)}"


def _maximum(studio: Studio, row: Row, column: Tensor) -> float:
    if not isinstance(row.edit, FeatureEdit) or is_hookpoint(row.dictionary):
        return 0.0
    statistics = studio.shelf[row.dictionary].statistics
    if statistics is not None:
        return statistics.maximum[row.edit.feature].item()
    return column.max().item() if len(column) else 0.0


def whole_characters(studio: Studio, ids: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Runs of tokens that decode to whole characters: an emoji is several tokens."""
    start = 0
    while start < len(ids):
        stop = start + 1
        text = studio.model.token(ids[start])
        while "�" in text and stop < min(len(ids), start + 8):
            stop += 1
            text = studio.model.tokenizer.decode(list(ids[start:stop]))
        if "�" in text:
            stop, text = start + 1, "�"
        yield start, stop, text
        start = stop


def _fluency(studio: Studio, prompt: Sequence[int], run: Run) -> Fluency | None:
    """None for continuations too short to judge."""
    texts = run.baseline.ids, run.ids
    if min(map(len, texts)) < 4:
        return None
    before = tuple(prompt[-_JUDGED:])
    loss = losses(studio.model, [Continuation(before, ids) for ids in texts]).tolist()
    repeats = [1 - distinct_pairs(ids) for ids in texts]
    return Fluency((loss[0], loss[1]), (repeats[0], repeats[1]))
