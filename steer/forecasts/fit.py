"""Fitting the map that forecasts go through: pushes of many features, averaged over neutral text.

The derivative of the final residual by the site, averaged over text (an average Jacobian), says
what a small push does. A push that steers is not small: at 0.3 of the stream's norm the ten tokens
that it promotes most share half with those of the derivative. So the map is the least-squares one
for pushes of that length along decoder rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dictionaries.beside.forecast import ForecastMap
from dictionaries.dictionary import Dictionary
from dictionaries.files.place import writable_folder
from steer.effects.passes.clean import Clean, run_clean
from steer.errors import InterventionError
from steer.features.fit import refuse_later
from steer.forecasts.texts import NEUTRAL
from steer.lm.hookpoints import Hookpoint
from steer.lm.norm import Norm
from steer.lm.unembedding import norm_of
from steer.maths.precision import exact
from steer.model import Model
from steer.progress import Progress
from steer.runs.forecast_maps import kept_at

SHARE = 0.3
"""Length of the fitted pushes, of the stream's median norm."""
SKIPPED = 4
"""First tokens of a text that are no contexts."""
_ROWS = 48
_RIDGE = 0.1


def pushed(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    length: float,
    texts: Sequence[str] = NEUTRAL,
) -> Tensor:
    """Mean change of the normed final residual when each feature's direction is pushed, [n, d].

    Over all tokens of the texts but the first four. Raises `ModelError` for a final norm that is
    not known.
    """
    norm, last = norm_of(model), model.site(Hookpoint(model.anatomy.depth - 1, "resid_post"))
    units = unit_rows(dictionary, features)
    total = torch.zeros(len(units), model.d, dtype=torch.float64)
    tokens = 0
    for text in texts:
        ids, _ = model.tokenize([text])
        clean = run_clean(model, ids[0], model.site(site_written(model, dictionary)), [last])
        total += _summed(clean, norm, units * length)
        tokens += len(ids[0]) - SKIPPED
    return (total / tokens).float()


def _summed(clean: Clean, norm: Norm, pushes: Tensor) -> Tensor:
    """Sum over the tokens of a text, [n, d]."""
    (last,) = clean.others
    before = norm(clean.others[last][SKIPPED:])
    sums = []
    for part in pushes.split(_ROWS):
        delta = part[:, None].expand(-1, clean.length, -1).to(clean.x.dtype)
        edited = clean.resume(delta, sites=[last])
        sums.append((norm(edited.sites[0][:, SKIPPED:]) - before).sum(1).double().cpu())
    return torch.cat(sums)


def site_written(model: Model, dictionary: Dictionary) -> str:
    """The one hookpoint that a dictionary writes."""
    refuse_later(dictionary.later, "a forecast is of pushes at one site")
    return dictionary.config.hookpoint_out or model.site_of(dictionary)


def unit_rows(dictionary: Dictionary, features: Sequence[int]) -> Tensor:
    """Decoder rows of length 1, [n, d]."""
    rows = exact(dictionary.W_dec[list(features)])
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def median_norm(model: Model, dictionary: Dictionary, texts: Sequence[str] = NEUTRAL) -> float:
    """Of the stream where the dictionary writes, over neutral text without its first tokens."""
    site = site_written(model, dictionary)
    ids, mask = model.tokenize(list(texts))
    x = model.collect(ids, mask, [site])[site]
    counted = mask.bool() & (mask.cumsum(1) > SKIPPED)
    return exact(x)[counted].norm(dim=-1).median().item()


@torch.inference_mode()
def fit(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    *,
    texts: Sequence[str] = NEUTRAL,
    progress: Progress | None = None,
) -> ForecastMap:
    """The map of the site that a dictionary writes.

    features: what is pushed, dealt out over the texts, each on one of them: 2,400 on a text each
        were as good as 800 on all twelve texts, at a quarter of the cost.
    Raises `InterventionError` for fewer than one feature a text, `ModelError` for a final norm that
    is not known.
    """
    if len(features) < len(texts):
        raise InterventionError(
            f"{len(features)} features can't be dealt out over {len(texts)} texts: give more"
        )
    dictionary.check_features(list(features))
    length = SHARE * median_norm(model, dictionary, texts)
    dealt = [list(features[number :: len(texts)]) for number in range(len(texts))]
    changes = []
    for number, (some, text) in enumerate(zip(dealt, texts, strict=True)):
        changes.append(pushed(model, dictionary, some, length, [text]))
        if progress:
            progress("pushing features", number + 1, len(texts))
    order = [feature for some in dealt for feature in some]
    return ForecastMap(
        matrix=solved(unit_rows(dictionary, order).cpu(), torch.cat(changes)),
        length=length,
        fingerprint=model.fingerprint,
        off={},
    )


def solved(units: Tensor, changes: Tensor) -> Tensor:
    """The least-squares map [d, d] from unit rows [n, d] to changes [n, d], with a small ridge."""
    gram = units.T @ units
    size = gram.diagonal().mean()
    return torch.linalg.solve(gram + _RIDGE * size * torch.eye(len(gram)), units.T @ changes)


def fit_and_keep(
    model: Model, dictionary: Dictionary, features: int, progress: Progress | None = None
) -> Path:
    """Fit on features drawn at random, and keep the map in the cache; the folder that it is in.

    Its forecasts have no intervals: those take scores on features that it was not fitted on.
    """
    count = min(features, dictionary.width)
    drawn = torch.randperm(dictionary.width, generator=torch.Generator().manual_seed(0))
    fitted = fit(model, dictionary, drawn[:count].tolist(), progress=progress)
    folder = writable_folder(kept_at(model, site_written(model, dictionary)))
    fitted.save(folder)
    return folder
