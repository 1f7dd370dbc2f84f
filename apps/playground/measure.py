"""What the present edits do to the next token, against controls of equal size, with intervals.

A control is added at exactly the tokens where the edit acted, with exactly its norm there, along
another direction: the decoder row of a feature of similar density, or a random direction. What
the edit does beyond its controls is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apps.playground.state import Setup
from apps.playground.studio import Studio
from apps.playground.tokens import whole_characters
from steer import engine, metrics
from steer.directions import DecoderRow, Direction, Random
from steer.edits import Ablate, AddDirection, Edit, FeatureEdit, Intervention, Scale, parse_value
from steer.effects.logits import LogitEffect, logit_effect
from steer.errors import PromptError, SteerError
from steer.hookpoints import is_hookpoint
from steer.prompts import read_prompt
from steer.receipt import EditReceipt, Receipt

SHARES = (0.25, 0.5, 1.0, 1.5, 2.0)
MOST_PROMPTS = 64
_MOST_TOKENS = 500
_RESAMPLES = 1000
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Interval:
    """A mean over prompts and its 95% bootstrap interval; no interval from a single prompt."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Moved:
    """A token and the change of its logit."""

    token: str
    change: Interval


@dataclass(frozen=True)
class Curve:
    """KL(clean‖edited) at each share of the present dose."""

    name: str
    shares: tuple[float, ...]
    kl: tuple[Interval, ...]


@dataclass(frozen=True)
class Along:
    """KL(clean‖edited) at each token of a text, the unedited model's text read by both."""

    title: str
    tokens: tuple[str, ...]
    kl: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """Everything that the Measure view shows.

    difference: of the tokens that the user named: clean, edited, and the change.
    """

    prompts: int
    promoted: tuple[Moved, ...]
    suppressed: tuple[Moved, ...]
    kl: tuple[tuple[str, Interval], ...]
    difference: tuple[tuple[str, Interval], ...]
    curves: tuple[Curve, ...]
    along: tuple[Along, ...]
    dtype: str


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean and percentile bootstrap (Efron 1979), 1,000 resamples."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Interval(float(array.mean()), None, None, len(array))
    draws = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(1), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def read_prompts(text: str) -> tuple[str, ...]:
    """One prompt a line. Raises `PromptError` for none, or too many."""
    prompts = tuple(line for line in text.splitlines() if line.strip())
    if not prompts:
        raise PromptError("there is no prompt to measure on: write one a line")
    if len(prompts) > MOST_PROMPTS:
        raise PromptError(f"{len(prompts)} prompts are too many; at most {MOST_PROMPTS}")
    return prompts


def read_tokens(studio: Studio, text: str) -> tuple[int, ...]:
    """Token ids of a comma-separated list; each must be one token, with its space before it.

    " Paris" is what follows a word; a name given without a space is tried with one first.
    """
    found = []
    for part in (each for each in text.split(",") if each.strip()):
        plain = part.strip()
        try:
            found.append(studio.model.token_id(f" {plain}"))
        except SteerError:
            found.append(studio.model.token_id(plain))
    return tuple(found)


def dosed(edit: Edit, share: float) -> Edit:
    """The edit at a share of its dose. Ablation and scaling go from no change to the whole.

    Raises `SteerError` for a kind that has no dose.
    """
    if share == 1:
        return edit
    if isinstance(edit, Ablate) and edit.to == "zero":
        about: dict[str, Any] = {
            "positions": edit.positions,
            "when": edit.when,
            "schedule": edit.schedule,
        }
        return Scale(edit.feature, 1 - share, **about)
    if isinstance(edit, Scale):
        return replace(edit, factor=1 + (edit.factor - 1) * share)
    value = getattr(edit, "value", None)
    if value is None:
        raise SteerError(f"{edit.kind} has no dose to vary")
    dose = parse_value(value)
    amount = dose.amount * share
    return replace(edit, value=amount if dose.unit == "activation" else f"{amount:g}x {dose.unit}")  # type: ignore[call-arg]


def measure(
    studio: Studio,
    setup: Setup,
    prompts: Sequence[str],
    more: str = "",
    less: str = "",
    report: Report = lambda share, what: None,
) -> Measured:
    """Raises `SteerError` for no active edits, and what `steer` raises for bad ones."""
    interventions = setup.interventions()
    if not interventions:
        raise SteerError("there is nothing to measure: add an edit, or unmute one")
    named = read_tokens(studio, more), read_tokens(studio, less)
    if bool(named[0]) != bool(named[1]):
        raise SteerError("name tokens on both sides, or on neither")
    report(0.02, "the edit")
    batch = _batch(studio, prompts)
    effect = _effect(studio, setup, prompts, interventions, batch)
    curves = _curves(studio, setup, prompts, effect, batch, report)
    report(0.9, "along the text")
    return Measured(
        prompts=len(prompts),
        promoted=_moved(studio, effect, 1),
        suppressed=_moved(studio, effect, -1),
        kl=tuple((curve.name, curve.kl[curve.shares.index(1.0)]) for curve in curves),
        difference=_difference(studio, prompts, effect, named, batch) if named[0] else (),
        curves=curves,
        along=_along(studio, setup),
        dtype=effect.dtype,
    )


def _batch(studio: Studio, prompts: Sequence[str]) -> int:
    """Prompts at a time, so that the logits of all their tokens stay under about a gigabyte."""
    longest = max(len(read_prompt(studio.model, prompt).ids) for prompt in prompts)
    return max(1, min(16, 2000 // longest))


def _effect(
    studio: Studio,
    setup: Setup,
    prompts: Sequence[str],
    interventions: Sequence[Intervention],
    batch: int,
) -> LogitEffect:
    return logit_effect(
        studio.model,
        prompts,
        interventions,
        dictionaries=studio.shelf.used(setup),
        batch=batch,
        if_silent="ignore",
    )


def _moved(studio: Studio, effect: LogitEffect, sign: int) -> tuple[Moved, ...]:
    order = (sign * effect.delta_logit.mean(0)).topk(10).indices.tolist()
    return tuple(
        Moved(studio.model.token(token), interval(effect.delta_logit[:, token].tolist()))
        for token in order
    )


def _difference(
    studio: Studio,
    prompts: Sequence[str],
    effect: LogitEffect,
    named: tuple[tuple[int, ...], tuple[int, ...]],
    batch: int,
) -> tuple[tuple[str, Interval], ...]:
    sides = [torch.tensor(each) for each in named]
    parts = [list(prompts[start : start + batch]) for start in range(0, len(prompts), batch)]
    last = torch.cat([_last_logits(studio, *studio.model.tokenize(part)) for part in parts])
    clean = metrics.logit_difference(last, *sides)
    change = metrics.logit_difference(effect.delta_logit, *sides)
    rows = {"clean": clean, "edited": clean + change, "change": change}
    return tuple((name, interval(values.tolist())) for name, values in rows.items())


def _last_logits(studio: Studio, ids: Tensor, mask: Tensor, plans: Sequence[Any] = ()) -> Tensor:
    model = studio.model
    with model.lock:
        logits, _ = engine.logits(model.nn, ids, model.span(ids, mask), list(plans))
    return logits[:, -1].float().cpu()


# -- doses and controls ------------------------------------------------------------------------


def _curves(
    studio: Studio,
    setup: Setup,
    prompts: Sequence[str],
    whole: LogitEffect,
    batch: int,
    report: Report,
) -> tuple[Curve, ...]:
    """The edit and its controls at every dose; at the present dose only, if it can't be varied."""
    rows: dict[str, list[Interval]] = {}
    shares, controls = _shares(setup), _controls(studio, setup)
    for number, share in enumerate(shares):
        report(0.05 + 0.85 * number / len(shares), f"{share:g} of the dose, with its controls")
        effect = whole
        if share != 1:
            edits = tuple(
                replace(each, edits=[dosed(edit, share) for edit in each.edits])
                for each in setup.interventions()
            )
            effect = _effect(studio, setup, prompts, edits, batch)
        rows.setdefault("the edit", []).append(interval(effect.kl.tolist()))
        for name, directions in controls.items():
            kl = _control_kl(studio, prompts, effect.receipts, directions, batch)
            rows.setdefault(name, []).append(interval(kl.tolist()))
    return tuple(Curve(name, shares, tuple(values)) for name, values in rows.items())


def _shares(setup: Setup) -> tuple[float, ...]:
    try:
        for row in setup.active:
            dosed(row.edit, 0.5)
    except SteerError:
        return (1.0,)
    return SHARES


def _controls(studio: Studio, setup: Setup) -> dict[str, list[tuple[str, Direction]]]:
    """Name of a control -> for each edit, the site where it is added and its direction."""
    edits = [(each.dictionary, edit) for each in setup.interventions() for edit in each.edits]
    taken = {edit.feature for _, edit in edits if isinstance(edit, FeatureEdit)}
    found: dict[str, list[tuple[str, Direction]]] = {"random direction": []}
    chosen: list[tuple[str, Direction]] = []
    for number, (name, edit) in enumerate(edits):
        site = name if is_hookpoint(name) else studio.model.site_of(studio.shelf[name])
        found["random direction"].append((site, Random(seed=number)))
        if isinstance(edit, FeatureEdit) and not is_hookpoint(name):
            feature = similar(studio, name, edit.feature, taken)
            chosen.append((site, DecoderRow(name, feature)))
    if len(chosen) == len(edits):
        labels = ", ".join(f"#{each.feature}" for _, each in chosen if isinstance(each, DecoderRow))
        return {f"control feature {labels}": chosen, **found}
    return found


def similar(studio: Studio, name: str, feature: int, taken: set[int]) -> int:
    """The feature of nearest density that points elsewhere (|cosine| under 0.2)."""
    dictionary = studio.shelf[name]
    rows = torch.nn.functional.normalize(dictionary.W_dec.float(), dim=-1)
    barred = (rows @ rows[feature]).abs() > 0.2
    barred[sorted(taken)] = True
    if dictionary.statistics is None:
        distance = torch.arange(dictionary.width).float()
    else:
        density = dictionary.statistics.density.clamp(min=1e-9).log()
        distance = (density - density[feature]).abs()
    return int(distance.masked_fill(barred, torch.inf).argmin())


def _control_kl(
    studio: Studio,
    prompts: Sequence[str],
    receipts: Sequence[Receipt],
    controls: Sequence[tuple[str, Direction]],
    batch: int,
) -> Tensor:
    """KL(clean‖control) at the last token of each prompt, the control of equal norm everywhere."""
    model, n = studio.model, len(prompts)
    found = []
    for start in range(0, n, batch):
        part, notes = list(prompts[start : start + batch]), receipts[start : start + batch]
        count = len(part)
        plans: list[Any] = []
        for row, receipt in enumerate(notes):
            added = [_matched(e, *c) for e, c in zip(receipt, controls, strict=True) if e.acted]
            plans += model.plans(
                added, list(studio.shelf.loaded.values()), rows=slice(count + row, count + row + 1)
            )
        logits = _last_logits(studio, *model.tokenize([*part, *part]), plans)
        found.append(metrics.kl(logits[:count], logits[count:]))
    return torch.cat(found)


def _matched(entry: EditReceipt, site: str, direction: Direction) -> Intervention:
    """What adds, at every token where the edit acted, the same norm along another direction."""
    edits = [
        AddDirection(
            direction,
            f"{(1 if each.after > each.before else -1) * each.relative_dose:.9f}x norm",
            positions=(each.position,),
        )
        for each in entry.tokens
    ]
    return Intervention(site, edits)


# -- along the text ----------------------------------------------------------------------------


def _along(studio: Studio, setup: Setup) -> tuple[Along, ...]:
    """On what the unedited model writes, and on what the edited one writes."""
    run = studio.run(setup)
    prompt = studio.read(setup).ids
    texts = {"the baseline text": run.baseline.ids, "the edited text": run.ids}
    return tuple(
        _kl_along(studio, setup, f"KL along {title}", (*prompt, *ids)[:_MOST_TOKENS], len(prompt))
        for title, ids in texts.items()
    )


def _kl_along(studio: Studio, setup: Setup, title: str, ids: Sequence[int], prompt: int) -> Along:
    model = studio.model
    batch = torch.tensor([list(ids)] * 2, device=model.device)
    plans = model.plans(
        setup.interventions(), studio.shelf.used(setup), rows=slice(1, 2), clean=slice(0, 1)
    )
    span = model.span(batch, torch.ones_like(batch))
    span = replace(span, prompt_length=torch.full_like(span.prompt_length, min(prompt, len(ids))))
    with model.lock:
        logits, _ = engine.logits(model.nn, batch, span, plans)
    kl = metrics.kl(logits[0], logits[1]).tolist()
    pieces = list(_pieces(studio, ids))
    return Along(
        title,
        tuple(text for _, text in pieces),
        tuple(kl[at] for at, _ in pieces),
    )


def _pieces(studio: Studio, ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    for _, stop, text in whole_characters(studio, ids):
        yield stop - 1, text
