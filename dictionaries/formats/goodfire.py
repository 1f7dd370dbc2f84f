"""Goodfire's `.pt`/`.pth`, and qresearch's of DeepSeek-R1: two linear layers and a ReLU.

No decoder bias is subtracted; the site is the output of the block that the file's name ends with.
Source: Goodfire/Llama-3.1-8B-Instruct-SAE-l19, model card; sae_lens 6.54.12,
`get_goodfire_huggingface_loader` and `deepseek_r1_sae_huggingface_loader`.

    encoder_linear.weight [m, d], .bias [m]  decoder_linear.weight [d, m], .bias [d]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dictionaries.architectures import ReLU
from dictionaries.dictionary import Dictionary
from dictionaries.files.archives import Loaded, read_state, state_file, state_names
from dictionaries.formats.layout import LINEAR, Stored, config_of, take

LOOKS_LIKE = "a .pt or .pth file with encoder_linear, or encoder and decoder, weights (Goodfire)"

_GOODFIRE = {
    ours: Stored(s.name.replace("coder.", "coder_linear."), s.axis) for ours, s in LINEAR.items()
}
_OWNERS = {"Llama": "meta-llama", "DeepSeek": "deepseek-ai"}


def matches(folder: Path) -> bool:
    """Whether the only torch file there holds these four tensors."""
    names = state_names(folder)
    return any(names == {s.name for s in layout.values()} for layout in (_GOODFIRE, LINEAR))


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load it. Raises `FormatError` for a damaged file."""
    path = state_file(folder)
    file = Loaded(path, read_state(path), features)
    layout = _GOODFIRE if "encoder_linear.weight" in file.shapes else LINEAR
    file.expect([stored.name for stored in layout.values()])
    tensors = take(file, layout)
    return ReLU(**tensors, config=config_of(tensors, **_sites(path)), name=path.stem)


def _sites(path: Path) -> dict[str, Any]:
    """Out of `Llama-3.1-8B-Instruct-SAE-l19.pth`, if it is called so."""
    match = re.fullmatch(r"((Llama|DeepSeek)-.+)-SAE-l(\d+)", path.stem)
    if not match:
        return {}
    return {"model": f"{_OWNERS[match[2]]}/{match[1]}", "hookpoint": f"resid_post.{match[3]}"}
