"""OpenAI's `{layer}.pt` of GPT-2 small: a state dict that also names its activation.

With TopK the input is layer-normalised per token and the reconstruction put back; with ReLU not.
The decoder bias (`pre_bias`) is subtracted. The site is known only from the release's folders.
Source: openai/sparse_autoencoder, `model.py`, `paths.py`; Gao et al. 2024.

    encoder.weight [m, d]  latent_bias [m]  decoder.weight [d, m]  pre_bias [d]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dictionaries.architectures import ReLU, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.archives import Loaded, read_state, state_file, state_names
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import whole_number
from dictionaries.formats.fold import Conventions, fold
from dictionaries.formats.layout import Stored, config_of, refuse_features, take

LOOKS_LIKE = "a .pt file with pre_bias and latent_bias (OpenAI)"

_LAYOUT = {
    "W_enc": Stored("encoder.weight"),
    "b_enc": Stored("latent_bias"),
    "W_dec": Stored("decoder.weight", 1),
    "b_dec": Stored("pre_bias", None),
}
_KEYS = Keys(
    used=("activation",),
    harmless=("activation.k", "activation.postact_fn"),  # again; OpenAI's own code writes them
    inside={"activation_state_dict": Keys(("k", "postact_fn"))},
)
_RECORDS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_SITES = {
    "resid_delta_attn": "attn_out",
    "resid_post_attn": "resid_mid",
    "resid_delta_mlp": "mlp_out",
    "resid_post_mlp": "resid_post",
    "mlp_post_act": "mlp_hidden",
}


def matches(folder: Path) -> bool:
    """Whether the only torch file there has OpenAI's two biases."""
    return state_names(folder) >= {"pre_bias", "latent_bias"}


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load it. Raises `FormatError` for a damaged file or another activation."""
    path = state_file(folder)
    state = read_state(path)
    activation = state.get("activation", "ReLU")
    file = Loaded(path, state, features, _KEYS)
    file.expect([stored.name for stored in _LAYOUT.values()], optional=_RECORDS)
    if activation == "TopK":
        refuse_features(path.name, features)
    tensors = fold(take(file, _LAYOUT), Conventions(subtracts_b_dec=True))
    normalisation = "layer_norm" if activation == "TopK" else "none"
    config = config_of(tensors, normalisation=normalisation, **_sites(path))
    if activation == "ReLU":
        return ReLU(**tensors, config=config, name=path.stem)
    said: Any = state.get("activation_state_dict")
    if activation != "TopK" or not isinstance(said, dict) or said.get("postact_fn") != "ReLU":
        raise FormatError(f"{path} has activation {activation!r}; allowed: ReLU, TopK of ReLU")
    k = whole_number(said, "k", path, most=config.width)
    return TopK(**tensors, config=config, name=path.stem, k=k)


def _sites(path: Path) -> dict[str, Any]:
    """Out of `resid_post_mlp_v5_32k/autoencoders/8.pt`, if that is where it lies."""
    where = path.absolute()
    location = re.sub(r"_v\d+.*", "", where.parent.parent.name)
    if location not in _SITES or not where.stem.isdigit():
        return {}
    return {"model": "openai-community/gpt2", "hookpoint": f"{_SITES[location]}.{where.stem}"}
