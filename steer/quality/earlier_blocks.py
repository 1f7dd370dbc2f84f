"""What the earlier blocks of a cross-layer transcoder write at the site of one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.files.numbered import blocks_in
from steer.errors import DictionaryError
from steer.features.contexts import collect
from steer.features.fit import site_of
from steer.features.norm_gain import after_gain
from steer.lm.hookpoints import parse
from steer.lm.language_model import LanguageModel

_ROWS = 512
"""Tokens encoded at a time."""


@torch.inference_mode()
def earlier_blocks(model: LanguageModel, dictionary: Dictionary, ids: Tensor, out: str) -> Tensor:
    """[n, length, d_out] at `out`, of all blocks before the dictionary's own.

    They are looked for where it was read. Raises `DictionaryError` if one is not there.
    """
    own = parse(str(dictionary.config.hookpoint_out)).layer
    total: Tensor | None = None
    for layer in range(own):
        block = after_gain(model, _sibling(dictionary, layer)).to(model.device, torch.float32)
        if block.later is None or out not in block.later.hookpoints:
            raise DictionaryError(f"{block.name} does not write {out}: it is of another transcoder")
        (x,) = collect(model, ids, site_of(model, block))
        rows = block.later.at(out)
        parts = [block.encode(part)[0] @ rows for part in x.flatten(0, 1).split(_ROWS)]
        written = torch.cat(parts).view(*x.shape[:2], -1)
        total = written if total is None else total + written
    assert total is not None
    return total


def _sibling(dictionary: Dictionary, layer: int) -> Dictionary:
    """Another block of the same transcoder: the file beside its own, or by its address."""
    beside = {} if dictionary.place is None else blocks_in(dictionary.place.parent)
    if layer in beside:
        return catalogue.load(beside[layer])
    name, _, block = dictionary.name.rpartition("#")
    if dictionary.place is not None and name and block.isdecimal():
        return catalogue.load(f"{name}#{layer}")
    raise DictionaryError(
        f"{dictionary.name or 'the dictionary'} writes a part of "
        f"{dictionary.config.hookpoint_out}, and block {layer}, which writes some of the rest, is "
        "not beside it: give its address, such as folder#5"
    )
