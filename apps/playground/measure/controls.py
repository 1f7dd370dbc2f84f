"""Doses of an edit, and controls that are as large as it at every token.

A control is added at exactly the tokens where the edit acted, with exactly its norm there, along
another direction: the decoder row of a feature of similar density, or a random direction. What
the edit does beyond its controls is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from apps.playground.state.setup import Setup
from apps.playground.studio.studio import Studio
from steer.edits import (
    Ablate,
    AddDirection,
    Edit,
    FeatureEdit,
    Intervention,
    Scale,
    parse_value,
)
from steer.edits.directions import DecoderRow, Direction, Random
from steer.errors import SteerError
from steer.lm.hookpoints import is_hookpoint
from steer.maths import metrics
from steer.splice.edited import edited_logits
from steer.splice.receipt import EditReceipt, Receipt


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


def controls_of(studio: Studio, setup: Setup) -> dict[str, list[tuple[str, Direction]]]:
    """Name of a control -> for each edit, the site where it is added and its direction.

    Edits of one feature share theirs, along which what they add sums up as it does in the edit; no
    two features share one.
    """
    edits = [
        (intervention.dictionary, edit)
        for intervention in setup.interventions()
        for edit in intervention.edits
    ]
    targets = [(name, edit.target) for name, edit in edits]
    distinct = list(dict.fromkeys(targets))
    sites = {
        name: name if is_hookpoint(name) else studio.model.site_of(studio.shelf[name])
        for name, _ in edits
    }
    random = [(sites[name], Random(seed=distinct.index((name, of)))) for name, of in targets]
    directions: dict[str, list[tuple[str, Direction]]] = {"random direction": [*random]}
    features = [
        (name, edit.feature)
        for name, edit in edits
        if isinstance(edit, FeatureEdit) and not is_hookpoint(name)
    ]
    if len(features) < len(edits):
        return directions
    others = similar_features(studio, features)
    said = ", ".join(
        f"#{other}{_densities(studio, name, feature, other)}"
        for (name, feature), other in others.items()
    )
    rows = [(sites[name], DecoderRow(name, others[name, feature])) for name, feature in features]
    return {f"control feature {said}": [*rows], **directions}


def similar_features(
    studio: Studio, edited: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Of each edited feature of a dictionary another one, none of them edited, no two alike."""
    others: dict[tuple[str, int], int] = {}
    taken = set(edited)
    for name, feature in edited:
        if (name, feature) not in others:
            barred = {index for place, index in taken if place == name}
            other = similar(studio, name, feature, barred)
            others[name, feature] = other
            taken.add((name, other))
    return others


def _densities(studio: Studio, name: str, edited: int, control: int) -> str:
    """How near the control is in density, if that is known."""
    statistics = studio.shelf[name].statistics
    if statistics is None:
        return ""
    own, other = (statistics.density[feature].item() for feature in (edited, control))
    return f" (active on {other:.2%} of tokens, #{edited} on {own:.2%})"


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


def control_kl(
    studio: Studio,
    prompts: Sequence[str],
    receipts: Sequence[Receipt],
    controls: Sequence[tuple[str, Direction]],
    batch: int,
) -> Tensor:
    """KL(clean‖control) at the last token of each prompt, the control of equal norm everywhere."""
    model, n = studio.model, len(prompts)
    divergences = []
    for start in range(0, n, batch):
        part, notes = list(prompts[start : start + batch]), receipts[start : start + batch]
        count = len(part)
        plans: list[Any] = []
        for row, receipt in enumerate(notes):
            added: dict[str, list[Edit]] = {}
            for entry, (site, direction) in zip(receipt, controls, strict=True):
                added.setdefault(site, []).extend(matched(entry, direction))
            plans += model.plans(
                [Intervention(site, edits, conflicts="in_order") for site, edits in added.items()],
                list(studio.shelf.loaded.values()),
                rows=slice(count + row, count + row + 1),
            )
        logits = last_logits(studio, *model.tokenize([*part, *part]), plans)
        divergences.append(metrics.kl(logits[:count], logits[count:]))
    return torch.cat(divergences)


def matched(entry: EditReceipt, direction: Direction) -> list[Edit]:
    """What adds, at every token where the edit acted, the same norm along another direction."""
    return [
        AddDirection(
            direction,
            f"{(1 if token.after > token.before else -1) * token.relative_dose:.9f}x norm",
            positions=(token.position,),
        )
        for token in entry.tokens
    ]


def last_logits(studio: Studio, ids: Tensor, mask: Tensor, plans: Sequence[Any] = ()) -> Tensor:
    model = studio.model
    logits, _ = edited_logits(model, ids, model.span(ids, mask), plans)
    return logits[:, -1].float().cpu()
