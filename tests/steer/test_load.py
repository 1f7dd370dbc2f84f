"""What `steer.load` takes, and what it says of what it can't."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from steer.lm.fingerprint import fingerprint_of, is_of
from steer.loading import load_tokenizer
from tests.support import plain, tiny

Saved = Callable[[], Path]


def test_a_transformers_model(llama: steer.Model) -> None:
    assert (llama.name, llama.dtype, llama.context) == ("LlamaForCausalLM", "float32", 64)
    assert llama.device.type == "cpu"


def test_a_folder(model_folder: Saved, llama: steer.Model) -> None:
    folder = model_folder()
    for given in (folder, str(folder)):
        model = steer.load(given, device="cpu")
        assert model.fingerprint == llama.fingerprint
        assert model.name == str(folder)
        assert not model.module.training
        ids = model.tokenize([tiny.PROMPT])[0]
        module = tiny.plain_model("llama")
        assert torch.equal(plain.logits(model.module, ids), plain.logits(module, ids))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_the_dtype_is_the_callers(dtype: str, model_folder: Saved, llama: steer.Model) -> None:
    model = steer.load(model_folder(), dtype=dtype, device="cpu")
    assert model.dtype == dtype
    assert {str(p.dtype) for p in model.module.parameters()} == {f"torch.{dtype}"}
    assert model.fingerprint == llama.fingerprint


def test_models_differ_by_fingerprint() -> None:
    prints = {tiny.tiny_model(family).fingerprint for family in tiny.FAMILIES}
    assert len(prints) >= len(tiny.FAMILIES) - 1  # the residual's wiring is no weight


def test_other_weights_have_another_fingerprint(llama: steer.Model) -> None:
    """A tenth more of everything or of one norm, noise on a matrix, the other sign; any dtype."""
    prints = {llama.fingerprint}
    torch.manual_seed(0)
    changes: list[Callable[[torch.nn.Module], None]] = [
        lambda module: [w.mul_(1.1) for w in module.parameters()] and None,
        lambda module: module.get_parameter("model.layers.1.input_layernorm.weight").mul_(1.1),
        lambda module: module.get_parameter("lm_head.weight").add_(0.01 * torch.randn(96, 32)),
        lambda module: module.get_parameter("lm_head.weight").neg_(),
    ]
    for change in changes:
        module = tiny.build("llama")
        with torch.no_grad():
            change(module)
        fingerprints = [fingerprint_of(module.to(d)) for d in (torch.float32, torch.float16)]
        assert fingerprints[0] == fingerprints[1]
        prints.add(fingerprints[0])
    assert len(prints) == 1 + len(changes)


def test_a_card_of_before_is_known_and_another_is_not(llama: steer.Model) -> None:
    """Cards were made by values once; that print is taken in fp32 and bf16, which hold them."""
    digest = hashlib.sha256()
    for name, weight in sorted(llama.module.named_parameters()):
        flat = weight.detach().flatten()
        sample = flat[:: max(1, len(flat) // 64)][:64].to(torch.bfloat16).float()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.numpy().tobytes())
    for dtype in (torch.float32, torch.bfloat16):
        module = tiny.plain_model("llama", dtype)
        assert is_of(module, digest.hexdigest()[:12])
        assert is_of(module, llama.fingerprint)
        assert not is_of(module, "f05aa7087068")


@pytest.mark.parametrize("dtype", ["float", "fp32", "int8", "", None, torch.float32])
def test_unknown_dtypes(dtype: Any) -> None:
    with pytest.raises(steer.ModelError, match="is unknown; allowed: float32, bfloat16, float16"):
        steer.load("smollm2-135m", dtype=dtype)


@pytest.mark.parametrize("name", ["smollm2-135", "smollm-135m", "smollm2"])
def test_near_names(name: str) -> None:
    with pytest.raises(steer.ModelError, match=r"is unknown; did you mean smollm2-135m\?"):
        steer.load(name)


@pytest.mark.parametrize(
    "name", ["gpt", "", "/no/such/folder", "./nowhere", "a/b/c", "~/nowhere/x"]
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(steer.ModelError, match="Give smollm2-135m, a folder, or a hub id org/name"):
        steer.load(name)


def test_a_transformers_model_needs_its_tokenizer() -> None:
    with pytest.raises(steer.ModelError, match="needs its tokenizer"):
        steer.load(tiny.build("llama"))


def test_a_tokenizer_without_padding_is_padded_with_its_end() -> None:
    tokenizer = tiny.tokenizer.__wrapped__()
    tokenizer.pad_token = None
    model = steer.load(tiny.build("llama"), tokenizer=tokenizer)
    assert model.tokenizer.pad_token == "<eos>"
    ids, mask = model.tokenize(["w5", "w6 w7"])
    assert ids.tolist() == [[tiny.EOS, 5], [6, 7]]
    assert mask.tolist() == [[0, 1], [1, 1]]


# -- damaged folders ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights(share: float, model_folder: Saved) -> None:
    weights = model_folder() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    with pytest.raises(steer.ModelError, match=r"can't be read: .*should hold") as said:
        steer.load(weights.parent)
    assert "delete" not in str(said.value)


def test_corrupt_weights(model_folder: Saved) -> None:
    weights = model_folder() / "model.safetensors"
    weights.write_bytes(b"\xff" * 100 + weights.read_bytes()[100:])
    with pytest.raises(steer.ModelError, match="can't be read"):
        steer.load(weights.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "no such family"}', "{}"])
def test_bad_configs(text: str, model_folder: Saved) -> None:
    folder = model_folder()
    (folder / "config.json").write_text(text)
    with pytest.raises(steer.ModelError, match="can't be read"):
        steer.load(folder)


def test_a_config_of_another_width(model_folder: Saved) -> None:
    folder = model_folder()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 41}))
    with pytest.raises(steer.ModelError, match="can't be read"):
        steer.load(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files(missing: str, model_folder: Saved) -> None:
    folder = model_folder()
    (folder / missing).unlink()
    with pytest.raises(steer.ModelError, match="can't be read"):
        steer.load(folder)


@pytest.mark.parametrize("text", ["", "{", "null", "{}"])
def test_a_bad_tokenizer(text: str, model_folder: Saved) -> None:
    folder = model_folder()
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(steer.ModelError):
        steer.load(folder)
    with pytest.raises(steer.ModelError):
        load_tokenizer(str(folder))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(steer.ModelError, match="can't be read"):
        steer.load(tmp_path)


def test_a_model_that_is_no_decoder() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=96, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    with pytest.raises(steer.ModelError, match="decoder-only"):
        steer.load(T5ForConditionalGeneration(config), tokenizer=tiny.tokenizer())


def test_only_a_tokenizer(model_folder: Saved) -> None:
    assert load_tokenizer(str(model_folder()))("w5 w6")["input_ids"] == [5, 6]
    with pytest.raises(steer.ModelError, match="is unknown"):
        load_tokenizer("gpt")
