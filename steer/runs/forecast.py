"""What an intervention can be expected to do on other texts, before it runs on any of them.

From two things: the pass over a neutral sentence that `explain` makes anyway, and, where there is
one, a map that was fitted on neutral text from the site to the end of the model
(`steer.forecasts.fit`). How far both are off was measured on features that nothing was fitted on
(`apps.studies.forecasts`), and makes the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.beside.behaviours import BehaviourMap
from dictionaries.beside.forecast import Bounds, ForecastMap
from dictionaries.sites import in_residual_space
from steer.errors import ModelError
from steer.lm.language_model import LanguageModel
from steer.lm.unembedding import direct_logits
from steer.maths.metrics import change, kl
from steer.maths.precision import exact
from steer.runs.forecast_maps import Maps
from steer.shown import visible
from steer.splice.plan import SitePlan
from steer.splice.record import Record

TOP = 10
LEVEL = 0.9
SAFE = 1.0
"""Nats a token: beyond it an edited text is another text."""
GROWTH = 2.0
"""KL grows with this power of the dose: 2.0 to 2.1 between 0.15 and 0.6 of the stream's norm, on
300 features (`apps.studies.forecasts`)."""
MAPPED = 0.5
"""Weight of the map beside the neutral sentence, where both say how logits move."""
_SILENT = 1e-6


@dataclass(frozen=True)
class Bounded:
    """A forecast with the bounds that hold nine times in ten; None where nobody scored it."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        known = self.low is not None and self.high is not None
        return f"{self.value:.2g}" + (f" [{self.low:.2g}, {self.high:.2g}]" if known else "")


@dataclass(frozen=True)
class Promoted:
    """A token, and how much its logit can be expected to rise on average over texts."""

    token: str
    id: int
    delta_logit: Bounded


@dataclass(frozen=True)
class Moved:
    """A behaviour of the verdicts' panel, and how much surer the model will be of what is right.

    change: of right minus wrong, mean over its questions, in logits; less than 0 is a harm.
    """

    behaviour: str
    change: Bounded

    @property
    def told(self) -> bool:
        """Whether the interval leaves 0 out; True where there is none."""
        low, high = self.change.low, self.change.high
        return low is None or high is None or low > 0 or high < 0


@dataclass(frozen=True)
class Forecast:
    """Of all edits together, at the next token of texts that were not read.

    kl: mean KL(clean‖edited) over texts, nats a token; one_text: the same at a single text.
    spread: standard deviation of its logarithm over texts.
    safe: times this dose, until the mean KL is one nat a token.
    promoted: tokens whose logit can be expected to rise most.
    unembedding: what the unembedding alone says, without the blocks between; the site's own
        direction read as if nothing came after it. Empty where that is not one fixed direction.
    moves: what else will move, the behaviours that `steer verify` tests for harm; empty where the
        site has no map of them.
    mapped: whether a map of the site was there; without one `promoted` is of the neutral sentence.
    """

    kl: Bounded
    one_text: Bounded
    spread: Bounded
    safe: Bounded
    promoted: tuple[Promoted, ...]
    unembedding: tuple[str, ...]
    mapped: bool
    moves: tuple[Moved, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For a terminal."""
        through = "average map and neutral text" if self.mapped else "neutral text"
        bounded = self.kl.low is not None
        told = f"{LEVEL:.0%} intervals" if bounded else "no intervals: nobody scored it here"
        return [
            f"forecast for other texts ({through}; {told})",
            f"  KL(clean‖edited) {self.kl} nats a token; at one text {self.one_text}; "
            f"spread of its logarithm {self.spread}",
            f"  KL is {SAFE:g} nat at {self.safe} times this dose",
            "  promotes     Δ logit: "
            + "  ".join(
                f"{visible(token.token)} {token.delta_logit}" for token in self.promoted[:5]
            ),
            *self._direct,
            *([f"  also moves   {self._others}"] if self.moves else []),
        ]

    @property
    def _direct(self) -> list[str]:
        return (
            ["  unembedding  " + "  ".join(map(visible, self.unembedding[:5]))]
            if self.unembedding
            else []
        )

    @property
    def _others(self) -> str:
        told = [f"{move.behaviour} {move.change}" for move in self.moves if move.told]
        silent = [move.behaviour for move in self.moves if not move.told]
        through = "right minus wrong, in logits, by gradient and KL: "
        lost = through + "  ".join(told) if told else ""
        unsure = f"no telling whether {', '.join(silent)}" if silent else ""
        return "; ".join(part for part in (lost, unsure) if part)


def forecast(
    model: LanguageModel,
    logits: Tensor,
    plans: Sequence[SitePlan],
    records: Sequence[Record],
    maps: Sequence[Maps],
) -> Forecast | None:
    """From logits [1 + r, s, V] of a text without and with the edits; None if they did nothing.

    All tokens count but the first, whose activation is massive.

    maps: one a plan; they are used if every plan has one.
    """
    counted = slice(min(1, logits.shape[1] - 1), None)
    clean, edited = exact(logits[:1, counted]), exact(logits[1:, counted])
    moved = kl(clean.expand_as(edited), edited).flatten()
    mean = moved.mean().item()
    if mean < _SILENT:
        return None
    known = [fitted.tokens for fitted in maps if fitted.tokens is not None]
    mapped = len(known) == len(plans)
    off = known[0].off if len(known) == 1 and mapped else {}
    on_text = change(clean.expand_as(edited), edited).mean((0, 1))
    pushes = [_push(record, counted) for record in records]
    expected = on_text
    if mapped:
        through = sum(
            (
                _through(model, push, token_map)
                for push, token_map in zip(pushes, known, strict=True)
            ),
            torch.zeros_like(on_text),
        )
        expected = MAPPED * through + (1 - MAPPED) * on_text
    spread = moved.clamp(min=1e-9).log().std().item() if len(moved) > 1 else 0.0
    return Forecast(
        kl=_times(mean, off.get("kl")),
        one_text=_times(mean, off.get("one_text")),
        spread=_times(spread, off.get("spread")),
        safe=_times((SAFE / mean) ** (1 / GROWTH), off.get("safe")),
        promoted=_promoted(model, expected, off.get("logit")),
        unembedding=_unembedded(model, plans, pushes),
        mapped=mapped,
        moves=_moves(pushes, mean, [fitted.behaviours for fitted in maps]),
    )


def _push(record: Record, counted: slice) -> Tensor:
    """What is added at the site, mean over the tokens that count and the rows, [d]."""
    amounts = (record.after - record.before).to(record.wrote.dtype)[:, counted]
    if record.wrote.dim() == 4:
        moved = amounts.unsqueeze(-1) * record.wrote[:, counted]
        return exact(moved.sum(-2).mean((0, 1)))
    return exact(amounts.mean((0, 1)) @ record.wrote)


def _through(model: LanguageModel, push: Tensor, token_map: ForecastMap) -> Tensor:
    """Change of the logits [V] that the map says of a push [d]."""
    normed = push.cpu() / token_map.length @ token_map.matrix
    unembedding = exact(model.module.get_output_embeddings().weight)
    return normed.to(unembedding) @ unembedding.T


def _moves(
    pushes: Sequence[Tensor], mean: float, maps: Sequence[BehaviourMap | None]
) -> tuple[Moved, ...]:
    """The linear part of each push, and what the KL of all together costs; of one map in full.

    Nothing where a site has none, or maps are of different questions.
    """
    known = [fitted for fitted in maps if fitted is not None]
    if len(known) != len(maps) or len({fitted.questions for fitted in known}) != 1:
        return ()
    nats = torch.tensor([mean])
    linear = [
        fitted.forecast(push.cpu()[None], torch.zeros(1))[0]
        for fitted, push in zip(known, pushes, strict=True)
    ]
    costs = [fitted.forecast(torch.zeros(1, fitted.slopes.shape[1]), nats)[0] for fitted in known]
    changes = (torch.stack(linear).sum(0) + torch.stack(costs).mean(0)).tolist()
    off = known[0].off if len(known) == 1 else ()
    return tuple(
        Moved(name, _plus(change, mean**0.5, off[number] if off else None))
        for number, (name, change) in enumerate(zip(known[0].names, changes, strict=True))
    )


def _plus(value: float, size: float, off: Bounds | None) -> Bounded:
    """off: quantiles of (truth − forecast) / size."""
    if off is None:
        return Bounded(value, None, None)
    return Bounded(value, value + size * off[0], value + size * off[1])


def _times(value: float, off: Bounds | None) -> Bounded:
    """off: quantiles of the logarithm of truth over forecast."""
    if off is None:
        return Bounded(value, None, None)
    low, high = torch.tensor(off, dtype=torch.float64).exp().tolist()
    return Bounded(value, value * low, value * high)


def _promoted(model: LanguageModel, expected: Tensor, off: Bounds | None) -> tuple[Promoted, ...]:
    """off: quantiles of truth over forecast."""
    values, ids = expected.topk(TOP)
    return tuple(
        Promoted(
            model.token(token),
            token,
            Bounded(value, *((None, None) if off is None else (value * off[0], value * off[1]))),
        )
        for value, token in zip(values.tolist(), ids.tolist(), strict=True)
    )


def _unembedded(
    model: LanguageModel, plans: Sequence[SitePlan], pushes: Sequence[Tensor]
) -> tuple[str, ...]:
    """Empty where sites are not in the space of the stream, or more is added than fixed rows."""
    for plan in plans:
        fixed = not (plan.subspaces or plan.later) and plan.error == "keep"
        if not fixed or not in_residual_space(str(plan.out.hookpoint)):
            return ()
    try:
        logits = direct_logits(model, torch.stack(list(pushes)).sum(0, keepdim=True))[0]
    except ModelError:  # no final norm that is known
        return ()
    return tuple(model.token(int(token)) for token in logits.topk(TOP).indices)
