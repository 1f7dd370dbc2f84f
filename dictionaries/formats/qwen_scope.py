"""Qwen Scope: `layer{n}.sae.pt`, TopK of the block's output, no decoder bias subtracted.

The file does not hold k: the release's `config.json` does, beside it, and its name,
`SAE-Res-Qwen3-8B-Base-W64K-L0_50`; it is otherwise asked for. Source: sae_lens 6.54.12,
`qwen_scope_sae_huggingface_loader`.

    W_enc [m, d]  W_dec [d, m]  b_enc [m]  b_dec [d]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dictionaries.architectures import TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.archives import Loaded, read_state, state_file, state_names
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import read_json, whole_number
from dictionaries.formats.layout import NAMED, Stored, config_of, refuse_features, take

_KEYS = Keys(
    used=("base_model", "k"),
    harmless=("d_model", "d_sae", "num_layers", "dtype"),
    only={"model_type": ("topk_sae",), "hook_point": ("resid_post",)},
)
"""Of config.json, as Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50 has it."""
LOOKS_LIKE = "a .pt file with just W_enc, W_dec, b_enc and b_dec (Qwen Scope)"

_LAYOUT = {**NAMED, "W_enc": Stored("W_enc"), "W_dec": Stored("W_dec", 1)}


def matches(folder: Path) -> bool:
    """Whether the only torch file there holds these four tensors."""
    return state_names(folder) == {"W_enc", "W_dec", "b_enc", "b_dec"}


def read(
    folder: Path, *, features: Sequence[int] | None = None, k: int | None = None
) -> Dictionary:
    """Load it; `k` where the path does not say it. Raises `FormatError` for a damaged file."""
    path = state_file(folder)
    refuse_features(path.name, features)
    file = Loaded(path, read_state(path))
    file.expect([stored.name for stored in _LAYOUT.values()])
    tensors = take(file, _LAYOUT)
    where = path.absolute().as_posix()
    release = re.search(r"SAE-Res-([^/]+)-W\d+K-L0_(\d+)", where)
    layer = re.search(r"/layer(\d+)\.", where)
    beside = path.with_name("config.json")
    said = read_json(beside) if beside.is_file() else {}
    _KEYS.check(said, beside)
    if release:
        said = {"k": int(release[2]), "base_model": f"Qwen/{release[1]}", **said}
    if k is not None:
        said["k"] = k
    if "k" not in said:
        raise FormatError(
            f"{path} holds no k, there is no config.json beside it, and no folder above it is "
            "called as the release is (SAE-Res-...-L0_50): give k=..."
        )
    model = said.get("base_model")
    config = config_of(
        tensors,
        model=model if isinstance(model, str) else None,
        hookpoint=f"resid_post.{layer[1]}" if layer else None,
    )
    k = whole_number(said, "k", path, most=config.width)
    return TopK(**tensors, config=config, name=path.stem, k=k)
