"""OpenAI, Goodfire, qresearch and Qwen Scope, written in their documented layouts.

No library of theirs can be installed here: see `documented`. Files of OpenAI's own code are in
`test_originals`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import ReLU, TopK
from dictionaries.errors import FormatError, NotSeparableError
from dictionaries.formats import load_folder, qwen_scope
from tests.support.documented import DEC, B, C, E, M, assert_computes, save, top

OPENAI = {"pre_bias": C, "encoder.weight": E, "latent_bias": B, "decoder.weight": DEC.T}


def test_openai_topk(tmp_path: Path, x: Tensor) -> None:
    path = tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    about = {"activation": "TopK", "activation_state_dict": {"k": 5, "postact_fn": "ReLU"}}
    save({**OPENAI, **about, "stats_last_nonzero": torch.zeros(M, dtype=torch.long)}, path)
    mean, std = x.mean(-1, keepdim=True), (x - x.mean(-1, keepdim=True)).std(-1, keepdim=True)
    features = top(((x - mean) / (std + 1e-5) - C) @ E.T + B, 5)
    dictionary = load_folder(path)
    assert_computes(dictionary, x, features, (features @ DEC + C) * std + mean)
    assert dictionary.config.hookpoint == "resid_post.8"
    with pytest.raises(NotSeparableError):
        load_folder(path, features=[1])


def test_openai_relu_normalises_nothing(tmp_path: Path, x: Tensor) -> None:
    path = tmp_path / "resid_delta_mlp" / "autoencoders" / "3.pt"
    save({**OPENAI, "activation": "ReLU"}, path)
    features = ((x - C) @ E.T + B).relu()
    dictionary = load_folder(path.parent)
    assert_computes(dictionary, x, features, features @ DEC + C)
    assert dictionary.config.hookpoint == "mlp_out.3"
    assert torch.equal(load_folder(path, features=[2]).W_enc, dictionary.W_enc[:, [2]])


@pytest.mark.parametrize("said", [{"activation": "Tanh"}, {"activation": "TopK"}])
def test_openai_activations(said: dict[str, Any], tmp_path: Path) -> None:
    save({**OPENAI, **said}, tmp_path / "8.pt")
    with pytest.raises(FormatError, match="allowed: ReLU, TopK"):
        load_folder(tmp_path)


# -- Goodfire, qresearch, Qwen Scope -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix", "model"),
    [
        ("Llama-3.1-8B-Instruct-SAE-l19.pth", "_linear", "meta-llama/Llama-3.1-8B-Instruct"),
        ("DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt", "", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
    ],
)
def test_goodfire(name: str, suffix: str, model: str, tmp_path: Path, x: Tensor) -> None:
    encoder, decoder = f"encoder{suffix}", f"decoder{suffix}"
    state = {f"{encoder}.weight": E, f"{encoder}.bias": B, f"{decoder}.weight": DEC.T}
    save({**state, f"{decoder}.bias": C}, tmp_path / name)
    dictionary = load_folder(tmp_path)
    features = (x @ E.T + B).relu()
    assert_computes(dictionary, x, features, features @ DEC + C)
    assert isinstance(dictionary, ReLU)
    assert (dictionary.config.hookpoint, dictionary.config.model) == ("resid_post.19", model)


def test_qwen_scope(tmp_path: Path, x: Tensor) -> None:
    path = tmp_path / "SAE-Res-Qwen3-1.7B-Base-W32K-L0_5" / "layer3.sae.pt"
    save({"W_enc": E, "b_enc": B, "W_dec": DEC.T, "b_dec": C}, path)
    dictionary = load_folder(path)
    features = top(x @ E.T + B, 5)
    assert_computes(dictionary, x, features, features @ DEC + C)
    assert isinstance(dictionary, TopK)
    config = dictionary.config
    assert (config.hookpoint, config.model) == ("resid_post.3", "Qwen/Qwen3-1.7B-Base")


def test_qwen_scope_asks_for_k(tmp_path: Path) -> None:
    save({"W_enc": E, "b_enc": B, "W_dec": DEC.T, "b_dec": C}, tmp_path / "layer3.sae.pt")
    with pytest.raises(FormatError, match="give k"):
        load_folder(tmp_path)
    dictionary = qwen_scope.read(tmp_path, k=7)
    assert isinstance(dictionary, TopK)
    assert dictionary.k == 7
