"""SAELens folders that are not what they say: each is refused by name, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.formats import load_folder
from dictionaries.formats.saelens import folder as saelens
from tests.support.saelens_folder import edit, rewrite

BAD_CONFIGS = {
    "architecture": {"architecture": "lista"},
    "architecture list": {"architecture": ["standard"]},
    "d_in missing": {"d_in": None},
    "d_in text": {"d_in": "8"},
    "d_sae negative": {"d_sae": -24},
    "d_sae true": {"d_sae": True},
    "d_sae huge": {"d_sae": 10**12},
    "normalisation": {"normalize_activations": "covariance_whitening"},
    "metadata": {"metadata": 3},
    "hook": {"metadata": {"hook_name": 3}},
    "head": {"metadata": {"hook_head_index": 3}},
}


@pytest.mark.parametrize("changes", BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_bad_config(changes: dict[str, Any], copied: Callable[[str], Path]) -> None:
    folder = copied("standard")
    edit(folder, **changes)
    with pytest.raises(FormatError):
        load_folder(folder)


@pytest.mark.parametrize("k", [None, 0, -1, 25, 2.5, "5"])
def test_bad_k(k: object, copied: Callable[[str], Path]) -> None:
    folder = copied("topk")
    edit(folder, k=k)
    with pytest.raises(FormatError, match="k = "):
        load_folder(folder)


BAD_TENSORS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "missing": lambda t: t.pop("threshold"),
    "extra": lambda t: t.update(W_skip=torch.zeros(8, 8)),
    "transposed": lambda t: t.update(W_enc=t["W_enc"].T),
    "nan": lambda t: t["W_dec"][0].fill_(float("nan")),
    "infinite": lambda t: t["b_enc"][0].fill_(float("inf")),
    "integers": lambda t: t.update(W_enc=t["W_enc"].int()),
    "log thresholds": lambda t: t["threshold"].fill_(-1.5),
    "scaling factor": lambda t: t.update(scaling_factor=torch.full((24,), 2.0)),
}


@pytest.mark.parametrize("change", BAD_TENSORS.values(), ids=BAD_TENSORS.keys())
def test_bad_tensors(change: Callable[..., object], copied: Callable[[str], Path]) -> None:
    folder = copied("jumprelu")
    rewrite(folder, change)
    with pytest.raises(FormatError, match="jumprelu"):
        load_folder(folder)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_weights(share: float, copied: Callable[[str], Path]) -> None:
    path = copied("standard") / saelens.WEIGHTS
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FormatError, match="no whole safetensors file"):
        load_folder(path.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"d_in": ' + "[" * 100_000, "\xff"])
def test_bad_json(text: str, copied: Callable[[str], Path]) -> None:
    folder = copied("standard")
    (folder / "cfg.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"cfg\.json"):
        load_folder(folder)
