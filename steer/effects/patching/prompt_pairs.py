"""Runs to patch between: a prompt's clean pass, its target, and how their features differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits.positions import Positions
from steer.effects.passes.changes import clean_for
from steer.effects.passes.clean import Clean
from steer.effects.patching.patchable import Patchable
from steer.errors import InterventionError, PromptError, SteerError
from steer.maths.precision import exact
from steer.model import Model

ERRORS = ("keep", "patch")
NULLS = ("mean", "zero")


def prompt_pairs(
    model: Model,
    bases: Sequence[str] | str,
    targets: Sequence[str] | str,
    dictionary: Dictionary,
    *,
    positions: Positions = "all",
    error: str = "keep",
) -> tuple[Patchable, ...]:
    """Pairs of prompts of as many tokens, whose features are patched from target to base.

    Positions before the first token that differs are the same in both runs and are left alone.

    Raises `PromptError` for pairs of different length or not one to one;
    `SteerError` for an unknown `error`.
    """
    ours, theirs = _as_tuple(bases), _as_tuple(targets)
    _check_option("error", error, ERRORS)
    if len(ours) != len(theirs) or not ours:
        raise PromptError(f"{len(ours)} bases and {len(theirs)} targets; give one of each a pair")
    return tuple(
        _pair(model, base, target, dictionary, positions, error)
        for base, target in zip(ours, theirs, strict=True)
    )


def against_null(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    *,
    null: str = "mean",
    positions: Positions = "1:",
    error: str = "keep",
) -> tuple[Patchable, ...]:
    """Prompts whose features are put back from a run where all of them are at their null value.

    null: `mean` of the dictionary's statistics over all tokens, or `zero`. The first token is left
        alone by default, for its massive activation.

    Raises `SteerError` for an unknown null or `error`, `InterventionError` for means that are not
    known.
    """
    texts = _as_tuple(prompts)
    _check_option("error", error, ERRORS)
    _check_option("null", null, NULLS)
    if null == "mean" and dictionary.statistics is None:
        raise InterventionError(
            f"{dictionary.name or 'the dictionary'} has no statistics, so its means are unknown; "
            "use null='zero', or prompt pairs"
        )
    return tuple(_null(model, text, dictionary, null, positions, error) for text in texts)


def _pair(
    model: Model, base: str, target: str, dictionary: Dictionary, positions: Positions, error: str
) -> Patchable:
    ours, theirs = model.tokenize([base])[0][0], model.tokenize([target])[0][0]
    if len(ours) != len(theirs):
        raise PromptError(
            f"the base {base!r} has {len(ours)} tokens and the target {target!r} {len(theirs)}; "
            "they must match position by position"
        )
    clean = clean_for(model, ours, dictionary, every=False)
    other = clean_for(model, theirs, dictionary, every=False)
    differ = (ours != theirs).int().cumsum(0) > 0
    with torch.inference_mode():
        moved = read(other, dictionary)[0] - read(clean, dictionary)[0]
        rows = dictionary.W_dec.to(moved)
        change = other.x.to(moved) - clean.x.to(moved)
        where = (clean.touched(positions) & differ).unsqueeze(-1)
        return _patchable(
            clean, other.logits[-1], base, target, dictionary, moved, rows, change, where, error
        )


def _null(
    model: Model, text: str, dictionary: Dictionary, null: str, positions: Positions, error: str
) -> Patchable:
    ids = model.tokenize([text])[0][0]
    clean = clean_for(model, ids, dictionary, every=False)
    with torch.inference_mode():
        moved, scale = read(clean, dictionary)
        if null == "mean":
            assert dictionary.statistics is not None
            statistics = dictionary.statistics
            mean = (statistics.mean * statistics.density).to(moved)
            moved = moved - (mean if scale is None else mean * scale)
        rows = dictionary.W_dec.to(moved)
        error_now = clean.x.to(moved) - reconstruct(clean, dictionary)
        change = moved @ rows + error_now
        where = clean.touched(positions).unsqueeze(-1)
        return _patchable(
            clean, clean.logits[-1], null, text, dictionary, moved, rows, change, where, error, True
        )


def _patchable(
    clean: Clean,
    goal: Tensor,
    base: str,
    target: str,
    dictionary: Dictionary,
    moved: Tensor,
    rows: Tensor,
    change: Tensor,
    where: Tensor,
    error: str,
    inverted: bool = False,
) -> Patchable:
    """Only what differs, and only where it may: moved [s, width], change [s, d], where [s, 1]."""
    rest = torch.where(where, change - moved @ rows, 0.0)
    moved = torch.where(where, moved, 0.0)
    features = (moved != 0).any(0).nonzero().flatten()
    return Patchable(
        base=base,
        target=target,
        clean=clean,
        goal=goal,
        features=tuple(features.tolist()),
        moved=moved[:, features],
        rows=rows[features],
        rest=rest,
        inverted=inverted,
        error=error,
        dictionary=dictionary.name or "the dictionary",
        width=dictionary.width,
    )


def read(clean: Clean, dictionary: Dictionary) -> tuple[Tensor, Tensor | None]:
    """Activations of all features in the units of the site they write, [s, width], and the scale
    [s, 1] that turns the dictionary's own units into those."""
    ours, x = _ours(clean, dictionary)
    features, norm = ours.encode(x)
    return (features if norm.scale is None else features * norm.scale), norm.scale


def reconstruct(clean: Clean, dictionary: Dictionary) -> Tensor:
    """The reconstruction of what stands at the site, [s, d_out]."""
    ours, x = _ours(clean, dictionary)
    return ours.reconstruct(x)


def _ours(clean: Clean, dictionary: Dictionary) -> tuple[Dictionary, Tensor]:
    """The dictionary on the model's device, in fp32 or the model's dtype if that is finer."""
    site = clean.model.site(clean.model.site_of(dictionary))
    x = exact(clean.others.get(site, clean.x))
    return dictionary.to(device=x.device, dtype=x.dtype), x


def _as_tuple(texts: Sequence[str] | str) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SteerError(f"{name}={value!r} is unknown; allowed: {', '.join(allowed)}")
