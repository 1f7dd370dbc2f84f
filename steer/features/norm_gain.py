"""Dictionaries that read a norm's output before its gain: the same of what the model has after it.

Gemma Scope's first transcoders were trained at `ln2.hook_normalized`, z = x / rms(x), which no
module of the model puts out. What the MLP reads is y = z ⊙ gain (+ bias), so that

    z @ W_enc = y @ (W_enc / gain) − (bias / gain) @ W_enc

and with W_enc divided row by row the dictionary reads `mlp_in`.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError
from steer.lm.language_model import LanguageModel
from steer.lm.norm import Norm

_BEFORE = re.compile(r"blocks\.(\d+)\.ln2\.hook_normalized")
_LEAST = 1e-4
"""A smaller gain can't be divided by: what was read there is lost after it."""


def after_gain(model: LanguageModel, dictionary: Dictionary) -> Dictionary:
    """The dictionary reading `mlp_in.L` of this model, if it read before the gain; else itself.

    Raises `DictionaryError` if it has another width, or the gain is 0 somewhere that it reads.
    """
    match = _BEFORE.fullmatch(dictionary.config.hookpoint or "")
    if match is None:
        return dictionary
    hookpoint = f"mlp_in.{match[1]}"
    norm = Norm.of(model.module.get_submodule(model.site(hookpoint).path), model.d)
    gain = norm.gain
    bias = torch.zeros_like(gain) if norm.bias is None else norm.bias
    if len(gain) != dictionary.config.d_in:
        raise DictionaryError(
            f"{dictionary.name or 'the dictionary'} reads a site of width {dictionary.config.d_in},"
            f" and {hookpoint} of {model.name} has width {len(gain)}: it belongs to another model"
        )
    lost = (gain.abs() < _LEAST) & (dictionary.W_enc.abs().amax(1) > 0).to(gain.device)
    if bool(lost.any()):
        raise DictionaryError(
            f"the gain before {hookpoint} is 0 in {int(lost.sum())} places that "
            f"{dictionary.name or 'the dictionary'} reads, so it can't be read after it"
        )
    gain = torch.where(gain.abs() < _LEAST, 1.0, gain).to(dictionary.W_enc.device)[:, None]
    W_enc, shift = dictionary.W_enc / gain, bias.to(dictionary.W_enc.device)
    changed = replace(
        dictionary,
        W_enc=W_enc,
        b_enc=dictionary.b_enc - shift @ W_enc,
        config=replace(dictionary.config, hookpoint=hookpoint),
    )
    if dictionary.W_skip is None:
        return changed
    W_skip = dictionary.W_skip / gain
    return replace(changed, W_skip=W_skip, b_dec=dictionary.b_dec - shift @ W_skip)
