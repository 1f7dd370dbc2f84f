"""Screen, then exact: one backward pass a prompt ranks all features, and the first are ablated.

To first order an edit that adds Δ to x changes a metric by ∇·Δ. A divergence has no first order:
to second order it is ½ E_y (∇ log p(y)·Δ)², the mean over next tokens y as the clean model draws
them, here a few at even steps of its distribution, all in one batch. Only the order is used: what
is reported of a feature is its exact effect, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from steer.disk.ledger import Row
from steer.effects.metric import Reference
from steer.effects.sweep.prepared import Prepared
from steer.effects.sweep.remembered import Chosen, Remembered
from steer.effects.sweep.result import Screened, Sweep
from steer.effects.sweep.units import Asked
from steer.errors import SteerError
from steer.jobs.job import Each
from steer.jobs.run import Spread, run
from steer.lm.passes import resumed
from steer.maths.numbers import check_whole
from steer.maths.precision import exact
from steer.model import Model
from steer.progress import Progress

DRAWS = 4
"""Next tokens of a divergence."""
BACKWARD = 3
"""What a token of a backward pass costs, in tokens of a forward one."""
SURE = 0.95
"""Share of the features run whose effect is within the bound that ends the screen."""


@dataclass(frozen=True)
class Screen:
    """Features that could be among the `top` largest mean |effect| are run exactly, the likeliest
    first, until none of the rest could be: until that would take an effect that exceeds its
    estimate by more than 95% of those run do.

    most: of what running all would cost, at most this share, in tokens run behind the site; those
        of the estimates count.
    """

    top: int = 50
    most: float = 0.25

    def __post_init__(self) -> None:
        check_whole("top", self.top, least=1)
        if not 0 < self.most <= 1:
            raise SteerError(f"most={self.most} is not allowed: a share above 0, and at most 1")


def estimated(remembered: Remembered, model: Model, number: int) -> list[Row]:
    """A row for each feature that acts on a prompt: its estimated effect alone."""
    ready, _ = remembered.ready(model, number)
    acting = ready.acting()
    values = estimates(ready)[acting].tolist() if acting else []
    run = (ready.clean.length - ready.changes.first).tolist()
    return [
        {"prompt": number, "feature": ready.features[i], "estimate": value, "tokens_run": run[i]}
        for i, value in zip(acting, values, strict=True)
    ]


def estimates(ready: Prepared, draws: int = DRAWS) -> Tensor:
    """What each of a prompt's k edits is expected to change the metric by, [k].

    draws: next tokens that a divergence is the mean of.
    """
    changes = ready.changes
    slopes = _slopes(ready, draws)
    amount = changes.amount if changes.scale is None else changes.amount * changes.scale
    estimate = ((slopes.to(changes.rows.dtype) @ changes.rows.T) * amount).double().sum(1)
    return estimate.square().mean(0) / 2 if ready.metric.flat else estimate[0]


def _slopes(ready: Prepared, draws: int) -> Tensor:
    """Gradients [n, s, d] at the site: of the metric, or of n next tokens' log-probabilities."""
    clean, metric = ready.clean, ready.metric
    rows = draws if metric.flat else 1
    touched = (ready.changes.amount != 0).any(1)[None, :, None].to(clean.x)
    begin = clean.start(touched.expand(rows, -1, clean.x.shape[-1]), metric.every)
    first = clean.length - begin.ids.shape[1]
    drawn = _next_tokens(exact(clean.logits[-1]), rows)
    reference = Reference.of(clean.logits, clean.ids, first, metric.every)

    def measure(logits: Tensor) -> Tensor:
        if not metric.flat:
            return metric(exact(logits), reference)
        return exact(logits[:, -1]).log_softmax(-1)[torch.arange(rows), drawn]

    points = clean.x[first:].expand(rows, -1, -1)
    with clean.model.lock:
        values, tail = resumed.gradient(clean.model.nn, begin, points, measure)
    slopes = clean.x.new_zeros(rows, *clean.x.shape)
    slopes[:, first:] = tail
    clean.check(torch.zeros_like(slopes), torch.cat([values.unsqueeze(-1), tail.flatten(1)], -1))
    return slopes


def _next_tokens(logits: Tensor, count: int) -> Tensor:
    """Tokens [count] at even steps of the distribution of logits [V], the likeliest first."""
    p, order = logits.softmax(-1).sort(descending=True, stable=True)
    steps = (torch.arange(count, device=p.device, dtype=p.dtype) + 0.5) / count
    return order[torch.searchsorted(p.cumsum(0), steps).clamp(max=len(p) - 1)]


def screened(
    model: Model,
    asked: Asked,
    screen: Screen,
    spread: Spread,
    header: dict[str, Any],
    progress: Progress | None,
) -> tuple[list[Row], Screened]:
    """Rows of the features that were run, and what the screen did."""
    remembered = Remembered(asked)
    rows_of = partial(estimated, remembered)
    first = Each("estimates", "screening", "prompt", len(asked.prompts), rows_of)
    guessed = run(first, model, spread, header, progress)
    size, cost = _sizes(guessed, len(asked.prompts))
    whole = sum(cost.values())
    paid = float(sum(_backward(asked, guessed)))
    rows: list[Row] = []
    chosen: list[int] = []
    sure = False
    for number, batch in enumerate(_batches(cost, screen, whole, paid)):
        mine = replace(asked, features=batch)
        job = Chosen(mine, stage=f"effects {number + 1}", remembered=remembered)
        rows += run(job, model, spread, header, progress)
        chosen += batch
        rest = [feature for feature in size if feature not in set(chosen)]
        if sure := not rest or _none_could_be(rows, asked, size, size[rest[0]], screen.top):
            break
    left = len(size) - len(chosen)
    share = (paid + sum(cost[feature] for feature in chosen)) / max(whole, 1)
    return rows, Screened(top=screen.top, run=len(chosen), left_out=left, cost=share, sure=sure)


def _backward(asked: Asked, guessed: Sequence[Row]) -> Iterator[int]:
    """What each prompt's estimates cost, in tokens of a forward pass."""
    for number, metric in enumerate(asked.measures):
        runs = [row["tokens_run"] for row in guessed if row["prompt"] == number]
        yield BACKWARD * (DRAWS if metric.flat else 1) * max(runs, default=0)


def _sizes(guessed: Sequence[Row], prompts: int) -> tuple[dict[int, float], dict[int, int]]:
    """Each feature's mean |estimate|, the largest first, and the tokens that it costs."""
    total: dict[int, float] = {}
    cost: dict[int, int] = {}
    for row in guessed:
        feature = row["feature"]
        total[feature] = total.get(feature, 0.0) + abs(row["estimate"]) / prompts
        cost[feature] = cost.get(feature, 0) + row["tokens_run"]
    order = sorted(total, key=lambda feature: (-total[feature], feature))
    return {f: total[f] for f in order}, {f: cost[f] for f in order}


def _batches(cost: dict[int, int], screen: Screen, whole: int, paid: float) -> Iterator[list[int]]:
    """Features to run next: half more than the top, then a tenth of it at a time, as far as the
    cost allows. The top themselves are run whatever they cost.
    """
    order, tenth = list(cost), -(-screen.top // 10)
    start, length = 0, screen.top + -(-screen.top // 2)
    while start < len(order):
        batch: list[int] = []
        for feature in order[start : start + length]:
            paid += cost[feature]
            if paid > screen.most * whole and start + len(batch) >= screen.top:
                break
            batch.append(feature)
        if batch:
            yield batch
        if len(batch) < min(length, len(order) - start):
            return
        start, length = start + len(batch), tenth


def _none_could_be(
    rows: Sequence[Row], asked: Asked, size: dict[int, float], largest_left: float, top: int
) -> bool:
    """Whether none of the features that are left could be among the top."""
    sweep = Sweep(tuple(rows), asked.prompts, "", "", "", "")
    effects = sweep.matrix().abs().mean(1)
    if len(effects) < top:
        return False
    guesses = torch.tensor([size[feature] for feature in sweep.features], dtype=torch.float64)
    bound = torch.quantile(effects / guesses.clamp(min=1e-30), SURE).item()
    return largest_left * bound < effects.sort(descending=True).values[top - 1].item()
