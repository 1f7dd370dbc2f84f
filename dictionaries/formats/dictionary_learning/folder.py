"""dictionary_learning: `ae.pt` and `config.json`, read and written.

Seven classes, told apart by their tensors, and TopK from BatchTopK by config.json. Files expect
raw activations: a training-time scale is undone before saving. AutoEncoder is read with decoder
rows of norm 1, as its own loader does. Source: dictionary-learning 0.1.0, `dictionary.py`,
`trainers/*.py`, `utils.load_dictionary`.

    encoder.weight [m, d], .bias  decoder.weight [d, m], .bias  bias, b_dec, decoder_bias [d]
    W_enc [d, m], W_dec [m, d], b_enc  r_mag, gate_bias, mag_bias, threshold [m] or []  k []
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, Gated, JumpReLU, ReLU, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.archives import Loaded, read_state
from dictionaries.files.tensors import whole_number
from dictionaries.formats.dictionary_learning.config import read_config
from dictionaries.formats.dictionary_learning.writer import write
from dictionaries.formats.fold import Conventions, fold
from dictionaries.formats.layout import (
    LINEAR,
    NAMED,
    Layout,
    Stored,
    config_of,
    refuse_features,
    take,
    thresholds,
)

CONFIG, WEIGHTS = "config.json", "ae.pt"
LOOKS_LIKE = f"{WEIGHTS} with {CONFIG} (dictionary_learning)"


_AS_IS, _SUBTRACTS = Conventions(), Conventions(subtracts_b_dec=True)


@dataclass(frozen=True)
class Kind:
    """One of its classes. numbers: tensors that are no weights."""

    layout: Layout
    conventions: Conventions = _AS_IS
    numbers: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        return {stored.name for stored in self.layout.values()} | set(self.numbers)


_LINEAR_B_DEC = {**LINEAR, "b_dec": Stored("b_dec", None)}
KINDS = {
    "AutoEncoder": Kind(
        {**LINEAR, "b_dec": Stored("bias", None)},
        Conventions(subtracts_b_dec=True, rescales_by_decoder_norm=True),
    ),
    "AutoEncoderNew": Kind(LINEAR),
    "GatedAutoEncoder": Kind(
        {
            "W_enc": LINEAR["W_enc"],
            "W_dec": LINEAR["W_dec"],
            "b_dec": Stored("decoder_bias", None),
            "b_gate": Stored("gate_bias"),
            "b_mag": Stored("mag_bias"),
            "r_mag": Stored("r_mag"),
        },
        _SUBTRACTS,
    ),
    "AutoEncoderTopK": Kind(_LINEAR_B_DEC, _SUBTRACTS, ("k", "threshold")),
    "BatchTopKSAE": Kind(_LINEAR_B_DEC, _SUBTRACTS, ("k", "threshold")),
    "MatryoshkaBatchTopKSAE": Kind(NAMED, _SUBTRACTS, ("k", "threshold", "group_sizes")),
    "JumpReluAutoEncoder": Kind({**NAMED, "threshold": Stored("threshold")}),
}


def matches(folder: Path) -> bool:
    """Whether the folder holds its weights."""
    return (folder / WEIGHTS).is_file()


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load it. Raises `FormatError` for a damaged file, or one whose class is left open."""
    path = folder / WEIGHTS
    file = Loaded(path, read_state(path), features)
    said = read_config(folder / CONFIG)
    name = said.dict_class or _class_of(file)
    if name not in KINDS:
        raise FormatError(f"{folder / CONFIG} says {name!r}; allowed: {', '.join(KINDS)}")
    kind = KINDS[name]
    file.expect(kind.names - {"k", "threshold"}, optional=kind.names & {"k", "threshold"})
    if name == "AutoEncoderTopK":
        refuse_features(folder.name, features)
    sizes = {"d_in": said.d_in, "d_out": said.d_in, "width": said.width}
    tensors = fold(take(file, kind.layout, **sizes), kind.conventions)
    about: dict[str, Any] = {
        **tensors,
        "config": config_of(tensors, **said.canonical()),
        "name": folder.name,
    }
    width = file.shapes[kind.layout["W_dec"].name][kind.layout["W_dec"].axis or 0]
    match name:
        case "AutoEncoderTopK":
            return TopK(**about, k=_k(file, said.k, width))
        case "BatchTopKSAE" | "MatryoshkaBatchTopKSAE":
            threshold = _one_threshold(file, tensors["b_enc"])
            return BatchTopK(**about, threshold=threshold, k=_k(file, said.k, width))
        case "JumpReluAutoEncoder":
            thresholds(file, tensors["threshold"])
            return JumpReLU(**about)
        case "GatedAutoEncoder":
            return Gated(**about)
    return ReLU(**about)


def _class_of(file: Loaded) -> str:
    """The class whose tensors these are, where config.json doesn't say."""
    fitting = [name for name, kind in KINDS.items() if kind.names == set(file.shapes)]
    if len(fitting) != 1:
        raise FormatError(
            f"{file.path} has tensors of {' or '.join(fitting) or 'no known class'}, and no "
            f"{CONFIG} beside it says which dict_class it is"
        )
    return fitting[0]


def _k(file: Loaded, said: int | None, width: int) -> int:
    """The file's own k, or config.json's; they must agree."""
    stored = file.number("k") if "k" in file.shapes else said
    if said is not None and stored != said:
        raise FormatError(f"{file.path} has k = {stored}, but {CONFIG} says {said}")
    return whole_number({"k": stored}, "k", file.path, most=width)


def _one_threshold(file: Loaded, like: Tensor) -> Tensor:
    """The scalar threshold for every feature."""
    if "threshold" not in file.shapes:
        raise FormatError(f"{file.path} lacks the threshold that it gates by")
    file.check("threshold", ())
    return thresholds(file, torch.full_like(like, file.whole("threshold").item()))


__all__ = ["CONFIG", "KINDS", "LOOKS_LIKE", "WEIGHTS", "matches", "read", "write"]
