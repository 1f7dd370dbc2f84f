"""Estimates of every feature's effect at once, from gradients; how complete they are is measured.

At a site, x = Σ aⱼ dⱼ + error, with aⱼ the feature's activation in the residual's units and dⱼ its
decoder row. For a patched x′ the node of feature j is (a′ⱼ − aⱼ) · (ḡ · dⱼ), and the error's is
ḡ · (the rest of x′ − x), where ḡ is

    atp   the gradient of the metric at the clean run: gradient × (patch − clean), which for
          a patch of zeros is −gradient × activation (Nanda 2023, Syed et al. 2023)
    ig    its mean on the straight path from x to x′, at `steps` midpoints (Sundararajan et al.
          2017; midpoints instead of Marks et al. 2025's left ends: same cost, 200 times closer)

All nodes add up to ḡ · (x′ − x), which for `ig` tends to the true change of the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits.positions import Positions
from steer.effects.attribution.result import Attribution, Completeness
from steer.effects.defaults import TEXT
from steer.effects.metric import Metric, Reference, as_metrics
from steer.effects.passes.changes import clean_for
from steer.effects.passes.clean import Clean
from steer.errors import InterventionError, PromptError, SteerError
from steer.features.fit import check_dictionary
from steer.lm.passes import resumed
from steer.lm.prompts import as_texts
from steer.maths.precision import compute_dtype, exact
from steer.model import Model
from steer.progress import Progress

METHODS = ("atp", "ig")
_ROWS = 16
"""Points of the path in one batch; more are no faster."""


def attribution(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    metric: Metric | str | Sequence[Metric],
    *,
    method: str = "ig",
    steps: int = 10,
    patch: str | Sequence[str] = "zero",
    error: str = "patch",
    positions: Positions = TEXT,
    progress: Progress | None = None,
) -> Attribution:
    """Estimated change of the metric from patching each feature, at the positions.

    patch: what the activations become: `zero`; `mean`, over all tokens of the statistics' corpus;
        or those of a counterfactual prompt for each prompt, of as many tokens.
    error: `patch` takes the error too (to zero, or the counterfactual's), `keep` leaves it. So with
        `zero` and `patch` x becomes the decoder's bias b_dec, not 0, and with `keep` b_dec + error.

    Raises `SteerError` for an unknown method or patch, or a metric whose gradient at the clean run
    is 0 by definition; `PromptError` for counterfactuals of another length.
    """
    check_dictionary(dictionary)
    texts = as_texts(prompts)
    measures = as_metrics(model, metric, len(texts))
    _check(dictionary, method, steps, patch, error, measures, len(texts))
    values, parts = [], []
    for number, text in enumerate(texts):
        ids, _ = model.tokenize([text])
        clean = clean_for(model, ids[0], dictionary, every=measures[number].every)
        other = patch if isinstance(patch, str) else patch[number]
        path = _path(clean, dictionary, other, error, positions, isinstance(patch, str))
        points = 1 if method == "atp" else steps
        at = 0.5 if method == "ig" else 0.0
        slope = mean_gradient(clean, measures[number], path.end, points, at=at)
        nodes = path.moved * (slope.to(path.rows.dtype) @ path.rows.T)
        total = (slope.double() * path.end.double()).sum().item()
        values.append(nodes.cpu())
        parts.append(
            Completeness(
                prompt=number,
                features=nodes.double().sum().item(),
                error=total - nodes.double().sum().item(),
                change=_true_change(clean, measures[number], path.end),
            )
        )
        if progress:
            progress("attributing", number + 1, len(texts))
    return Attribution(
        values=tuple(values),
        completeness=tuple(parts),
        prompts=texts,
        dictionary=dictionary.name,
        metric=type(measures[0]).__name__,
        method=method if method == "atp" else f"ig-{steps}",
        dtype=model.precision,
    )


def mean_gradient(
    clean: Clean, metric: Metric, end: Tensor, steps: int, *, at: float = 0.5
) -> Tensor:
    """Mean gradient [s, d] of the metric on the path x to x + end.

    at: where in each step it is taken: 0 is the step's start, 0.5 its middle, 1 its end.
    """
    shares = (torch.arange(steps, dtype=clean.x.dtype, device=clean.x.device) + at) / steps
    reference = Reference.of(clean.logits, clean.ids, 0, metric.every)
    start = clean.start(torch.ones_like(clean.x).unsqueeze(0), metric.every)

    def measure(logits: Tensor) -> Tensor:
        return metric(exact(logits), reference)

    total = torch.zeros_like(clean.x, dtype=torch.float64)
    for part in shares.split(_ROWS):
        points = clean.x + part.view(-1, 1, 1) * end.to(clean.x.dtype)
        begin = start.repeat(len(part))
        with clean.model.lock:
            values, slope = resumed.gradient(clean.model.nn, begin, points, measure)
        clean.check(points - clean.x, torch.cat([values.unsqueeze(-1), slope.flatten(1)], dim=-1))
        total += slope.double().sum(0)
    return total / steps


@dataclass(frozen=True, eq=False)
class _Path:
    """end [s, d]: x′ − x; moved [s, width]: a′ − a; rows [width, d]: the decoder."""

    end: Tensor
    moved: Tensor
    rows: Tensor


def _path(
    clean: Clean,
    dictionary: Dictionary,
    other: str,
    error: str,
    positions: Positions,
    named: bool,
) -> _Path:
    ours = dictionary.to(clean.x.device, compute_dtype(clean.x.dtype))
    with torch.inference_mode():
        before, bias = _amounts(ours, _read(clean, dictionary))
        if named:
            after = torch.zeros_like(before)
            if other == "mean":
                assert dictionary.statistics is not None
                mean = dictionary.statistics.mean * dictionary.statistics.density
                after = after + mean.to(after)
            rest = bias - (exact(clean.x) - before @ ours.W_dec)
        else:
            patched = _counterfactual(clean, dictionary, other)
            after, _ = _amounts(ours, _read(patched, dictionary))
            rest = (exact(patched.x) - after @ ours.W_dec) - (exact(clean.x) - before @ ours.W_dec)
        moved = after - before
        touched = clean.touched(positions).unsqueeze(-1)
        moved = torch.where(touched, moved, 0.0)
        end = moved @ ours.W_dec
        if error == "patch":
            end = end + torch.where(touched, rest, 0.0)
    return _Path(end.clone(), moved.clone(), ours.W_dec)


def _amounts(dictionary: Dictionary, x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations in the residual's units [s, width], and the reconstruction of none [s, d]."""
    features, norm = dictionary.encode(x)
    bias = dictionary.decode(torch.zeros_like(features), norm)
    return features if norm.scale is None else features * norm.scale, bias


def _read(clean: Clean, dictionary: Dictionary) -> Tensor:
    site = clean.model.site(clean.model.site_of(dictionary))
    return clean.others.get(site, clean.x)


def _counterfactual(clean: Clean, dictionary: Dictionary, prompt: str) -> Clean:
    ids, _ = clean.model.tokenize([prompt])
    if ids.shape[1] != clean.length:
        raise PromptError(
            f"the counterfactual {prompt!r} has {ids.shape[1]} tokens and the prompt "
            f"{clean.length}; they must match position by position"
        )
    return clean_for(clean.model, ids[0], dictionary, every=False)


def _true_change(clean: Clean, metric: Metric, end: Tensor) -> float:
    if not end.any():
        return 0.0
    edited = clean.resume(end.to(clean.x.dtype).unsqueeze(0), every=metric.every)
    reference = Reference.of(clean.logits, clean.ids, edited.start, metric.every)
    with torch.inference_mode():
        return metric.change(edited.logits, reference).item()


def _check(
    dictionary: Dictionary,
    method: str,
    steps: int,
    patch: str | Sequence[str],
    error: str,
    metrics: Sequence[Metric],
    prompts: int,
) -> None:
    options: list[tuple[str, Any, tuple[str, ...]]] = [
        ("method", method, METHODS),
        ("error", error, ("patch", "keep")),
    ]
    if isinstance(patch, str):
        options.append(("patch", patch, ("zero", "mean")))
    for name, value, allowed in options:
        if value not in allowed:
            raise SteerError(f"{name}={value!r} is unknown; allowed: {', '.join(allowed)}")
    if steps < 1:
        raise SteerError(f"steps={steps} is not allowed: it must be 1 or more")
    if not isinstance(patch, str) and len(patch) != prompts:
        raise SteerError(f"{len(patch)} counterfactuals for {prompts} prompts; give one each")
    if patch == "mean" and dictionary.statistics is None:
        raise InterventionError(f"{dictionary.name} has no statistics, so its means are unknown")
    if method == "atp" and any(metric.flat for metric in metrics):
        raise SteerError(
            "the gradient of a divergence at the clean run is 0, so atp would find nothing: "
            "use method='ig', or a metric such as LogitDifference(' Mary', ' John')"
        )
