"""Write the circuit-tracer golden files: tiny seeded transcoders of its own classes and loaders.

Run it with an environment of its own (circuit-tracer is no dependency of the library)::

    python3 -m venv VENV
    VENV/bin/pip install torch==2.13.0 circuit-tracer==0.5.0
    VENV/bin/python tests/golden/make_circuit_tracer.py [OUT]

OUT defaults to `tests/golden/circuit_tracer`. A transcoder is `OUT/<case>/<file>` with
`expected.safetensors` in `OUT/<case>`: x [16, 8], features [16, 24] and reconstruction [16, 8], of
what its loader reads back. A cross-layer one has a file (or two) for each of 3 blocks, and the same
tensors with the blocks first: x [3, 16, 8] and so on.

Gemma Scope's files are Google's layout, which circuit-tracer reads and does not write; what they
hold is made here, and what it computes from them is circuit-tracer's.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circuit_tracer.transcoder.activation_functions import JumpReLU
from circuit_tracer.transcoder.cross_layer_transcoder import (
    CrossLayerTranscoder,
    load_clt,
    load_gemma_scope_2_clt,
)
from circuit_tracer.transcoder.single_layer_transcoder import (
    SingleLayerTranscoder,
    load_gemma_scope_2_transcoder,
    load_gemma_scope_transcoder,
    load_relu_transcoder,
)
from safetensors.torch import save_file
from torch import Tensor

D, M, LAYERS, LAYER, SEED = 8, 24, 3, 5, 20240610
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
CONFIG = """model_name: Qwen/Qwen3-0.6B
model_kind: {kind}
feature_input_hook: mlp.hook_in
feature_output_hook: hook_mlp_out
scan: golden
"""


def normal(*shape: int) -> Tensor:
    return torch.randn(shape) * 0.5


def fill(module: torch.nn.Module) -> None:
    """Random weights in place of its zeros; thresholds are positive."""
    for name, parameter in module.named_parameters():
        values = normal(*parameter.shape)
        parameter.data = values.abs() if "threshold" in name else values


def expect(folder: Path, **tensors: Tensor) -> None:
    stored = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(stored, folder / "expected.safetensors")


# -- one layer each ----------------------------------------------------------------------------


def single(activation: Callable[[], Any], skip: bool = False) -> Callable[[Path], None]:
    """circuit-tracer's own class, written by `to_safetensors` and read by its loader."""

    def write(folder: Path) -> None:
        coder = SingleLayerTranscoder(D, M, activation(), LAYER, skip_connection=skip, **CPU)
        fill(coder)
        path = folder / f"layer_{LAYER}.safetensors"
        coder.to_safetensors(str(path))
        (folder / "config.yaml").write_text(CONFIG.format(kind="transcoder_set"))
        record(folder, load_relu_transcoder(str(path), LAYER, **CPU))

    return write


def gemma_scope(folder: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in scope(skip=False).items()}
    arrays = {name.replace("w_", "W_"): array for name, array in arrays.items()}
    np.savez(folder / "params.npz", **arrays)
    record(folder, load_gemma_scope_transcoder(str(folder / "params.npz"), LAYER, **CPU))


def gemma_scope_2(skip: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "params.safetensors"
        save_file(scope(skip), path)
        block = f"model.layers.{LAYER}"
        said = {
            "architecture": "jump_relu",
            "model_name": "google/gemma-3-270m-pt",
            "hf_hook_point_in": f"{block}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": f"{block}.post_feedforward_layernorm.output",
        }
        (folder / "config.json").write_text(json.dumps(said))
        record(folder, load_gemma_scope_2_transcoder(str(path), LAYER, **CPU))

    return write


def scope(skip: bool) -> dict[str, Tensor]:
    """Google's tensors of a transcoder."""
    tensors = {"w_enc": normal(D, M), "b_enc": normal(M), "w_dec": normal(M, D), "b_dec": normal(D)}
    tensors["threshold"] = normal(M).abs()
    return {**tensors, "affine_skip_connection": normal(D, D)} if skip else tensors


def record(folder: Path, coder: SingleLayerTranscoder) -> None:
    x = torch.randn(16, D)
    expect(folder, x=x, features=coder.encode(x), reconstruction=coder(x))


# -- across layers -----------------------------------------------------------------------------


def crossing(activation: str) -> Callable[[Path], None]:
    """circuit-tracer's own class, written by `to_safetensors` and read by `load_clt`."""

    def write(folder: Path) -> None:
        coder = CrossLayerTranscoder(LAYERS, M, D, activation, lazy_decoder=False, **CPU)
        fill(coder)
        coder.to_safetensors(str(folder))
        (folder / "config.yaml").write_text(CONFIG.format(kind="cross_layer_transcoder"))
        record_crossing(folder, load_clt(str(folder), **CPU))

    return write


def gemma_scope_2_crossing(skip: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        paths = {}
        for layer in range(LAYERS):
            paths[layer] = str(folder / f"params_layer_{layer}.safetensors")
            save_file({**scope(skip), "w_dec": normal(M, LAYERS, D)}, paths[layer])
        said = {
            "hf_hook_point_in": "model.layers.{all}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": "model.layers.{all}.post_feedforward_layernorm.output",
            "model_name": "google/gemma-3-270m-pt",
            "architecture": "jump_relu",
            "affine_connection": skip,
            "type": "clt",
        }
        (folder / "config.json").write_text(json.dumps(said))
        # 0.5.0 reads the files 0 to max - 1, so that it needs one more than there are
        record_crossing(folder, load_gemma_scope_2_clt({**paths, LAYERS: paths[0]}, **CPU))

    return write


def record_crossing(folder: Path, coder: CrossLayerTranscoder) -> None:
    x = torch.randn(LAYERS, 16, D)
    features = coder.encode(x)  # its `forward` forgets the input where there is a linear part
    expect(folder, x=x, features=features, reconstruction=coder.decode(features, x))


CASES: dict[str, Callable[[Path], None]] = {
    "relu": single(lambda: torch.nn.functional.relu),
    "relu_skip": single(lambda: torch.nn.functional.relu, skip=True),
    "jumprelu": single(lambda: JumpReLU(torch.zeros(M))),
    "jumprelu_one_threshold": single(lambda: JumpReLU(torch.zeros(()))),
    "jumprelu_skip": single(lambda: JumpReLU(torch.zeros(M)), skip=True),
    "gemma_scope": gemma_scope,
    "gemma_scope_2": gemma_scope_2(skip=False),
    "gemma_scope_2_affine": gemma_scope_2(skip=True),
    "clt_relu": crossing("relu"),
    "clt_jumprelu": crossing("jump_relu"),
    "clt_gemma_scope_2": gemma_scope_2_crossing(skip=False),
    "clt_gemma_scope_2_affine": gemma_scope_2_crossing(skip=True),
}


@torch.no_grad()
def main() -> None:
    """Write every case and VERSIONS.json."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "circuit_tracer"
    shutil.rmtree(out, ignore_errors=True)
    for name, write in CASES.items():
        (out / name).mkdir(parents=True)
        write(out / name)
    names = ("circuit-tracer", "torch", "safetensors")
    about = {
        "made_by": "tests/golden/make_circuit_tracer.py",
        "seed": SEED,
        "versions": {"python": platform.python_version(), **{n: version(n) for n in names}},
        "cases": list(CASES),
    }
    (out / "VERSIONS.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
