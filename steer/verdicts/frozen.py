"""The dictionary that was trained with a frozen decoder: read, checked, and told by its numbers.

Its rows are directions that nothing was learned of; what is learned is when they are active
(Korznikov et al. 2026). So a row of it that is as dense as the edited feature asks whether training
the rows is what makes the edit do what it does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.features.fit import load_dictionary, site_of
from steer.model import Model
from steer.splice.plan import SitePlan
from steer.splice.resolve import by_name


def frozen_dictionary(
    model: Model, name: str, plan: SitePlan, dictionaries: Sequence[Dictionary]
) -> Dictionary:
    """By the name of one of `dictionaries`, or by catalogue name or folder.

    Raises what `Model.dictionary` raises, and `SteerError` for one of another site than the edit
    writes, or whose card says that something else was frozen.
    """
    given = by_name(dictionaries)
    dictionary = given[name] if name in given else load_dictionary(model, name)
    site, written = site_of(model, dictionary), str(plan.out.hookpoint)
    if dictionary.is_transcoder or site != written:
        raise SteerError(
            f"{name} is of {site}, and the edit writes {written}: give one that was trained there"
        )
    trained = (dictionary.card or {}).get("train")
    if isinstance(trained, dict) and (part := trained.get("frozen", "nothing")) != "decoder":
        raise SteerError(
            f"{name} was trained with {part} frozen, by its card, and this control asks for a "
            "frozen decoder: train one with frozen = 'decoder'"
        )
    return dictionary


def frozen_weights(
    model: Model, name: str | None, plan: SitePlan, dictionaries: Sequence[Dictionary]
) -> str | None:
    """Digest of all its numbers and of how dense its features are; None if none is named."""
    if name is None:
        return None
    trained = frozen_dictionary(model, name, plan, dictionaries)
    density = [] if trained.statistics is None else [trained.statistics.density]
    return digest((trained.W_enc, trained.b_enc, trained.W_dec, *density))


def digest(tensors: Iterable[Tensor]) -> str:
    """Twelve hex digits of the numbers, as float32."""
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:12]
