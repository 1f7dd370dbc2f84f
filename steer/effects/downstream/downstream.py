"""Which features of a later dictionary an edit changes, by how much, and at which tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.edits.positions import Positions
from steer.effects.controls.compared import Equals, by_kind, parts
from steer.effects.controls.trials import Trial
from steer.effects.defaults import TEXT
from steer.effects.downstream.result import Changed, Downstream
from steer.effects.passes.clean import Clean
from steer.effects.passes.edited import EditedPrompt, edited_prompts, written_site
from steer.errors import InterventionError
from steer.lm.anatomy import Site
from steer.lm.passes import frozen
from steer.lm.prompts import as_texts
from steer.maths.precision import compute_dtype, exact
from steer.model import Model
from steer.progress import Progress


def downstream(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention,
    other: Dictionary,
    *,
    at: Positions = TEXT,
    dictionaries: Sequence[Dictionary] = (),
    draws: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> Downstream:
    """What an intervention does to the features of a dictionary that reads a later site.

    at: which tokens count; by default all but the first, whose massive activation sets off
        thousands of features. Tokens before the first edited one cannot change.
    dictionaries: to look the intervention's up in before the catalogue.
    draws: controls of each kind a prompt, see `steer.effects.controls.compared`; 0 for none.

    The edited run starts at the first edited token and the clean one at the first token, so that
    changes of a millionth of an activation are rounding.

    Raises `InterventionError` if `other` reads no later site than the intervention writes,
    `SilentEditError` if nothing is changed on any prompt, and what `Model.plans` raises.
    """
    texts = as_texts(prompts)
    site = model.site(model.site_of(other))
    _check_order(written_site(model, intervention, dictionaries, len(texts)), site, other)
    ours = other.to(device=model.device, dtype=compute_dtype(model.module.dtype))
    equals = Equals.of(model, intervention, dictionaries, draws, seed)
    changes, matched = [], None
    for edited in edited_prompts(model, texts, intervention, dictionaries, others=[site]):
        matched = matched or equals.match(edited)
        changes.append(_changed(edited, ours, site, at, equals.trials(edited, matched)))
        if progress:
            progress("reading later features", edited.number + 1, len(texts))
    return Downstream(
        changed=tuple(changes),
        prompts=texts,
        dictionary=other.name,
        intervention=intervention.to_json(),
        at=str(at),
        dtype=model.dtype,
        matched=matched,
    )


def later_activations(clean: Clean, delta: Tensor, site: Site) -> Tensor:
    """Activations [b, s, d] at a later site kept in `clean.others`, with delta [b, s, d] added.

    The model runs no further than that site. Rows that add nothing are the clean activations.
    """
    whole = clean.others[site].expand(len(delta), -1, -1).clone()
    acting = (delta != 0).flatten(1).any(1)
    if acting.any():
        start = clean.start(delta[acting])
        with clean.model.lock:
            reached = frozen.reach(clean.model.nn, start, site)
        clean.check(delta[acting], reached)
        whole[acting, clean.length - reached.shape[1] :] = reached
    return whole


def _changed(
    edited: EditedPrompt, other: Dictionary, site: Site, at: Positions, trials: Sequence[Trial]
) -> Changed:
    clean = edited.clean
    counted = clean.touched(at)
    with torch.inference_mode():
        after_x = later_activations(clean, edited.delta.unsqueeze(0), site)[0]
        before = other.encode(exact(clean.others[site]))[0]
        after = other.encode(exact(after_x))[0]
        moved = ((after != before) & counted.unsqueeze(-1)).any(0).nonzero().flatten()
        means = [before.new_zeros(0, before.shape[1])]
        for part in parts(trials):
            for x in later_activations(clean, part, site):
                change = other.encode(exact(x))[0] - before
                means.append(change[counted].mean(0, keepdim=True))
    return Changed(
        tokens=tuple(clean.model.token(token) for token in clean.ids.tolist()),
        counted=counted,
        features=moved,
        before=before[:, moved],
        after=after[:, moved],
        controls=by_kind(trials, torch.cat(means).cpu()),
    )


def _check_order(written: Site, read: Site, other: Dictionary) -> None:
    if read.hookpoint.order <= written.hookpoint.order:
        raise InterventionError(
            f"{other.name or 'the other dictionary'} reads {read.hookpoint}, and the intervention "
            f"writes {written.hookpoint}: name a dictionary of a later site"
        )
