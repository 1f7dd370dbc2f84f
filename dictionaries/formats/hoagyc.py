"""The seed paper's own `learned_dicts.pt`: a pickled list of (dictionary, hyperparameters).

Only the two classes it trains are known, and stand for nothing but their attributes; a file that
names anything else is refused, and nothing of it is run. A file holds a whole sweep: choose one.
Source: Cunningham et al. 2023; HoagyC/sparse_coding, `autoencoders/learned_dict.py`.

With c(x) = scale · rot (x − trans) where the tied one was trained on centred activations::

    f = ReLU(E c(x) + b),  x̂ = c⁻¹(f @ D), D = E (tied) or the decoder (untied), rows of norm 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.archives import Loaded, only_file, read_torch
from dictionaries.files.keys import Keys

LOOKS_LIKE = "a .pt file with a list of learned dictionaries (HoagyC/sparse_coding)"
KEYS = Keys(used=("norm_encoder",), harmless=("n_feats", "activation_size"))
_MODULE = "autoencoders.learned_dict"


class _Tied:
    """Stands for TiedSAE: encoder [m, d], encoder_bias [m], center_* [d], [d, d], [d]."""


class _Untied:
    """Stands for UntiedSAE: encoder [m, d], decoder [m, d], encoder_bias [m]."""


_CLASSES = ((_Tied, f"{_MODULE}.TiedSAE"), (_Untied, f"{_MODULE}.UntiedSAE"))


def matches(folder: Path) -> bool:
    """Whether the only torch file there names a class of the seed paper's."""
    file = only_file(folder, ".pt")
    if file is None:
        return False
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # damaged; the reader that is tried next says how
        return False
    return any(name.startswith("autoencoders.") for name in named)


def read(
    folder: Path, *, features: Sequence[int] | None = None, index: int | None = None
) -> Dictionary:
    """Load the dictionary at `index` of the list, which may be left out if there is only one.

    Raises `FormatError` for a damaged file, another class, or a choice that is left open.
    """
    path = only_file(folder, ".pt")
    if path is None:
        raise FormatError(f"{folder} is no {LOOKS_LIKE}")
    entries = _entries(path)
    if index is None and len(entries) > 1:
        listed = "; ".join(f"{i}: {about}" for i, (_, about) in enumerate(entries[:20]))
        raise FormatError(f"{path} holds {len(entries)} dictionaries, choose by index=: {listed}")
    if not 0 <= (index or 0) < len(entries):
        raise FormatError(f"{path} has no dictionary {index}; allowed: 0 to {len(entries) - 1}")
    stored, about = entries[index or 0]
    simple = tuple((n, v) for n, v in about.items() if isinstance(v, int | float | str))
    whole = replace(_convert(path, stored), name=f"{path.parent.name}/{index or 0}")
    whole = replace(whole, config=replace(whole.config, metadata=simple))
    return whole if features is None else whole.restrict(features)


def _entries(path: Path) -> list[tuple[object, dict[str, Any]]]:
    read = read_torch(path, _CLASSES)
    entries = read if isinstance(read, list) else []
    for entry in entries:
        if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], dict)):
            raise FormatError(f"{path} is no list of (dictionary, hyperparameters)")
    if not entries:
        raise FormatError(f"{path} holds no list of dictionaries")
    return entries


def _convert(path: Path, stored: object) -> ReLU:
    if not isinstance(stored, _Tied | _Untied):
        raise FormatError(f"{path} holds a {type(stored).__name__}; allowed: TiedSAE, UntiedSAE")
    file = Loaded(path, vars(stored), keys=KEYS)
    tied = isinstance(stored, _Tied)
    centring = ("center_trans", "center_rot", "center_scale") if tied else ()
    file.expect(("encoder", "encoder_bias", *(() if tied else ("decoder",))), optional=centring)
    m, d = file.shapes["encoder"] if len(file.shapes["encoder"]) == 2 else (0, 0)
    file.check("encoder", (m, d))
    file.check("encoder_bias", (m,))
    encoder, bias = file.whole("encoder").double(), file.whole("encoder_bias").double()
    if not tied:
        file.check("decoder", (m, d))
        rows = _unit(file.whole("decoder").double())
    else:
        rows = _unit(encoder)
        encoder = rows if getattr(stored, "norm_encoder", True) else encoder
    trans, into, out = _centring(file, d)
    W_enc = into @ encoder.T
    folded: dict[str, Tensor] = {
        "W_enc": W_enc,
        "b_enc": bias - trans @ W_enc,
        "W_dec": rows @ out,
        "b_dec": trans,
    }
    tensors: dict[str, Any] = {name: tensor.float() for name, tensor in folded.items()}
    return ReLU(**tensors, config=DictionaryConfig(d, m))


def _centring(file: Loaded, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """trans [d], and the matrices [d, d] of c and its inverse, for row vectors."""
    shapes = {"center_trans": (d,), "center_rot": (d, d), "center_scale": (d,)}
    given: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name in file.shapes:
            file.check(name, shape)
            given[name] = file.whole(name).double()
    rot = given.get("center_rot", torch.eye(d, dtype=torch.float64))
    scale = given.get("center_scale", torch.ones(d, dtype=torch.float64))
    trans = given.get("center_trans", torch.zeros(d, dtype=torch.float64))
    if bool((scale == 0).any()):
        raise FormatError(f"{file.path} has a center_scale of 0, which can't be undone")
    return trans, rot.T * scale, rot / scale[:, None]


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-8)
