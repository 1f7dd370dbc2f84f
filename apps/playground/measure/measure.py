"""What the present edits do to the next token, against controls of equal size, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from apps.playground.measure.controls import control_kl, controls_of, dosed, last_logits
from apps.playground.measure.results import Along, Curve, Interval, Measured, Moved, interval
from apps.playground.state.setup import Setup
from apps.playground.steer.tokens import whole_characters
from apps.playground.studio.studio import Studio
from steer.edits import Intervention
from steer.effects.controls.controls import TURNED, WRONG_SITE, controls
from steer.effects.logits.logit_effect import logit_effect
from steer.effects.logits.result import LogitEffect, wrong_way
from steer.errors import PromptError, SteerError
from steer.lm.prompts import read_prompt
from steer.maths import metrics
from steer.splice.edited import edited_logits

SHARES = (0.25, 0.5, 1.0, 1.5, 2.0)
MOST_PROMPTS = 64
_MOST_TOKENS = 500


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
    tokens = []
    for part in (piece for piece in text.split(",") if piece.strip()):
        plain = part.strip()
        try:
            tokens.append(studio.model.token_id(f" {plain}"))
        except SteerError:
            tokens.append(studio.model.token_id(plain))
    return tuple(tokens)


def measure(
    studio: Studio, setup: Setup, prompts: Sequence[str], more: str = "", less: str = ""
) -> Measured:
    """All of it at once: the last of `course`."""
    *_, measured = course(studio, setup, prompts, more, less)
    return measured


def course(
    studio: Studio, setup: Setup, prompts: Sequence[str], more: str = "", less: str = ""
) -> Iterator[Measured]:
    """First the effect on one prompt, then on all, then beside controls, at every dose, and along
    the texts; each with all that was there before.

    Raises `SteerError` for no active edits, and what `steer` raises for bad ones.
    """
    interventions = setup.interventions()
    if not interventions:
        raise SteerError("there is nothing to measure: add an edit, or unmute one")
    named = read_tokens(studio, more), read_tokens(studio, less)
    if bool(named[0]) != bool(named[1]):
        raise SteerError("name tokens on both sides, or on neither")
    batch = _batch(studio, prompts)
    first = _effect(studio, setup, prompts[:1], interventions, batch)
    measured = _measured(studio, first, 1, f"the first of {len(prompts)} prompts")
    yield measured
    effect = first
    if len(prompts) > 1:
        effect = _effect(studio, setup, prompts, interventions, batch)
        measured = _measured(studio, effect, len(prompts), "controls")
    if named[0]:
        measured = replace(
            measured,
            difference=_difference(studio, prompts, effect, named, batch),
            wrong_way=_wrong_way(effect, named),
        )
    yield measured
    elsewhere = _elsewhere(studio, setup, prompts)
    for curves in _curves(studio, setup, prompts, effect, batch):
        kl = tuple((curve.name, curve.kl[curve.shares.index(1.0)]) for curve in curves)
        doses = len(curves[0].shares)
        measured = replace(
            measured, kl=(*kl, *elsewhere), curves=curves, coming=f"doses, {doses} so far"
        )
        yield measured
    for text in _along(studio, setup):
        measured = replace(measured, along=(*measured.along, text), coming="along the texts")
        yield measured
    yield replace(measured, coming="")


def _measured(studio: Studio, effect: LogitEffect, prompts: int, coming: str) -> Measured:
    """What an effect says, before there is more."""
    return Measured(
        prompts=prompts,
        promoted=_moved(studio, effect, 1),
        suppressed=_moved(studio, effect, -1),
        kl=(("the edit", interval(effect.kl.tolist())),),
        difference=(),
        curves=(),
        along=(),
        dtype=effect.dtype,
        coming=coming,
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
        draws=0,  # those of `_elsewhere` and `controls_of` are shown, no others
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
    sides = [torch.tensor(tokens) for tokens in named]
    parts = [list(prompts[start : start + batch]) for start in range(0, len(prompts), batch)]
    last = torch.cat([last_logits(studio, *studio.model.tokenize(part)) for part in parts])
    clean = metrics.logit_difference(last, *sides)
    change = metrics.logit_difference(effect.delta_logit, *sides)
    rows = {"clean": clean, "edited": clean + change, "change": change}
    return tuple((name, interval(values.tolist())) for name, values in rows.items())


def _wrong_way(effect: LogitEffect, named: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
    """Share of prompts whose difference moved against the mean change."""
    sides = [torch.tensor(tokens) for tokens in named]
    return wrong_way(metrics.logit_difference(effect.delta_logit, *sides))


def _elsewhere(
    studio: Studio, setup: Setup, prompts: Sequence[str]
) -> tuple[tuple[str, Interval], ...]:
    """The edit's own Δ, its sign turned, and in another block; of one dictionary's edits alone."""
    interventions = setup.interventions()
    if len(interventions) > 1:
        return ()
    used = studio.shelf.used(setup)
    rows = controls(studio.model, prompts, interventions[0], dictionaries=used, draws=0).rows
    names = {TURNED: "sign turned", WRONG_SITE: "in another block"}
    effects = {
        name: [row["effect"] for row in rows if row["control"] == control]
        for control, name in names.items()
    }
    return tuple((name, interval(values)) for name, values in effects.items() if values)


def _curves(
    studio: Studio, setup: Setup, prompts: Sequence[str], whole: LogitEffect, batch: int
) -> Iterator[tuple[Curve, ...]]:
    """The edit and its controls at the present dose, and each time at one more."""
    controls = controls_of(studio, setup)
    rows: dict[str, dict[float, Interval]] = {name: {} for name in ("the edit", *controls)}
    for share in sorted(_shares(setup), key=lambda share: abs(share - 1)):
        effect = whole
        if share != 1:
            edits = tuple(
                replace(intervention, edits=[dosed(edit, share) for edit in intervention.edits])
                for intervention in setup.interventions()
            )
            effect = _effect(studio, setup, prompts, edits, batch)
        rows["the edit"][share] = interval(effect.kl.tolist())
        for name, directions in controls.items():
            kl = control_kl(studio, prompts, effect.receipts, directions, batch)
            rows[name][share] = interval(kl.tolist())
        yield tuple(
            Curve(name, tuple(sorted(values)), tuple(values[value] for value in sorted(values)))
            for name, values in rows.items()
        )


def _shares(setup: Setup) -> tuple[float, ...]:
    try:
        for row in setup.active:
            dosed(row.edit, 0.5)
    except SteerError:
        return (1.0,)
    return SHARES


# -- along the text ----------------------------------------------------------------------------


def _along(studio: Studio, setup: Setup) -> Iterator[Along]:
    """On what the unedited model writes, and on what the edited one writes."""
    run = studio.run(setup)
    prompt = studio.read(setup).ids
    texts = {"the baseline text": run.baseline.ids, "the edited text": run.ids}
    for title, ids in texts.items():
        read = (*prompt, *ids)[:_MOST_TOKENS]
        yield _kl_along(studio, setup, f"KL along {title}", read, len(prompt))


def _kl_along(studio: Studio, setup: Setup, title: str, ids: Sequence[int], prompt: int) -> Along:
    model = studio.model
    batch = torch.tensor([list(ids)] * 2, device=model.device)
    plans = model.plans(
        setup.interventions(), studio.shelf.used(setup), rows=slice(1, 2), clean=slice(0, 1)
    )
    span = model.span(batch, torch.ones_like(batch))
    span = replace(span, prompt_length=torch.full_like(span.prompt_length, min(prompt, len(ids))))
    logits, _ = edited_logits(model, batch, span, plans)
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
