"""What each feature does on a corpus: how often, how strongly, and where most.

Computed once by streaming over harvested activations, and kept beside the dictionary, so that
`"5x max"` and feature cards need no service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.place import beside
from dictionaries.files.tensors import save_tensors

QUANTILES = (10, 25, 50, 75, 90, 99)
TOP = 10
WINDOW = (16, 8)
"""Tokens shown before and after a context's strongest one."""
FILE = "features.safetensors"
_TENSORS = (
    "density",
    "maximum",
    "mean",
    "quantiles",
    "contexts",
    "context_activations",
    "promoted",
    "promoted_logits",
    "suppressed",
    "suppressed_logits",
)
_WRITTEN = "written"
_IDS = ("contexts", "promoted", "suppressed")


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Per-feature statistics over `tokens` kept tokens; m features.

    density [m]: share of tokens where the feature is active: not 0, so of either sign.
    maximum, mean [m]: largest activation, and mean where active.
    quantiles [m, 6]: percentiles `QUANTILES` of the activation where active.
    contexts [m, 10, 24]: token ids around the ten strongest activations, -1 where there is none.
    context_activations [m, 10, 24]: the feature's activation at those tokens.
    promoted, suppressed [m, 10]: token ids whose logits its decoder row raises and lowers most,
        compared with the dictionary's other features; with those logits.
    corpus: what was read, in words; empty if nobody said.
    written [m]: how much likelier its promoted tokens become when it is pushed to half the norm of
        the stream, −1 to 1 (`steer.evals.steering.written`); None if nobody measured it.
    """

    density: Tensor
    maximum: Tensor
    mean: Tensor
    quantiles: Tensor
    contexts: Tensor
    context_activations: Tensor
    promoted: Tensor
    promoted_logits: Tensor
    suppressed: Tensor
    suppressed_logits: Tensor
    tokens: int
    corpus: str = ""
    written: Tensor | None = None

    def value(self, feature: int, unit: str) -> float:
        """`max`, `mean` (where active), `corpus mean` (over all tokens) or a quantile, as `q99`.

        Raises `DictionaryError` for a feature that was never active, whose multiples are all 0,
        or for a quantile that was not kept.
        """
        if self.maximum[feature] <= 0:
            raise DictionaryError(
                f"feature {feature} was never above 0 on the statistics' {self.tokens} tokens, so "
                f"a multiple of its {unit} means nothing; give the value as an activation"
            )
        if unit == "corpus mean":
            return (self.mean * self.density)[feature].item()
        if unit in ("max", "mean"):
            return (self.maximum if unit == "max" else self.mean)[feature].item()
        percent = int(unit.removeprefix("q"))
        if percent not in QUANTILES:
            quantiles = ", ".join(f"q{q}" for q in QUANTILES)
            raise DictionaryError(f"quantile {unit} was not kept; kept: {quantiles}")
        return self.quantiles[feature, QUANTILES.index(percent)].item()

    def save(self, folder: Path) -> None:
        """Write `features.safetensors` into the folder (or next to this one file).

        Token ids take 16 bits where they fit, contexts' activations 8 (in 255ths of the feature's
        maximum, never rounded to 0), logits and quantiles fp16.
        """
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        for name in ("promoted_logits", "suppressed_logits", "quantiles"):
            tensors[name] = tensors[name].half()
        for name in _IDS:
            tensors[name] = _pack(tensors[name])
        shares = self.context_activations / self.maximum.clamp(min=1e-30)[:, None, None]
        tensors["context_activations"] = (shares * 255).ceil().clamp(0, 255).to(torch.uint8)
        if self.written is not None:
            tensors[_WRITTEN] = self.written.half()
        metadata = {"tokens": json.dumps(self.tokens), "corpus": self.corpus}
        save_tensors(tensors, beside(folder, FILE), metadata)

    @classmethod
    def load(cls, folder: Path) -> FeatureStatistics | None:
        """What `save` wrote, or None if the folder has no statistics."""
        path = beside(folder, FILE)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                there = sorted({_WRITTEN} & set(file.keys()))
                tensors = {name: file.get_tensor(name) for name in (*_TENSORS, *there)}
                tokens = int(json.loads(file.metadata()["tokens"]))
                corpus = file.metadata().get("corpus", "")
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{path} is damaged: {error}; fetch the dictionary again") from error
        unpacked = {name: _unpack(tensor) for name, tensor in tensors.items()}
        if tensors["context_activations"].dtype == torch.uint8:
            unpacked["context_activations"] *= unpacked["maximum"][:, None, None] / 255
        return cls(**unpacked, tokens=tokens, corpus=corpus)


def _pack(ids: Tensor) -> Tensor:
    """Token ids, -1 for none, in as few bits as they need."""
    small = not ids.numel() or ids.max().item() < 2**16 - 1
    return (ids + 1).to(torch.uint16) if small else ids.to(torch.int32)


def _unpack(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint16:
        return tensor.long() - 1
    if tensor.dtype == torch.uint8 or tensor.is_floating_point():
        return tensor.float()
    return tensor.long()
