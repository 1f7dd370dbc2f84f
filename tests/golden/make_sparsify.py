"""Write the sparsify golden files: tiny seeded dictionaries saved by eai-sparsify itself.

Run it with an environment of its own (sparsify is no dependency of the library)::

    python3 -m venv VENV
    VENV/bin/pip install torch==2.13.0 eai-sparsify==1.3.3
    VENV/bin/pip uninstall torchvision  # where it was built for another torch
    SPARSIFY_DISABLE_TRITON=1 VENV/bin/python tests/golden/make_sparsify.py [OUT]

OUT defaults to `tests/golden/sparsify`. Every case is `OUT/<case>/<module>/` as `save_to_disk`
writes it, with `expected.safetensors` beside: x [16, 8], features [16, 24] (sparsify's own top
activations, scattered), and reconstruction (`forward(x).sae_out`), of the dictionary read back with
`SparseCoder.load_from_disk`.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

D, M, K, SEED = 8, 24, 4, 20240608


@dataclass(frozen=True)
class Case:
    """A folder, the module that it is named after, and the options of its config."""

    name: str
    module: str
    options: dict[str, Any]


CASES = (
    Case("topk", "layers.3", {"num_latents": M}),
    Case("topk_expansion", "layers.3.mlp", {"expansion_factor": M // D}),
    Case("groupmax", "layers.3.attention", {"num_latents": M, "activation": "groupmax"}),
    Case("transcoder", "layers.3.mlp", {"num_latents": M, "transcode": True}),
    Case(
        "skip_transcoder",
        "layers.3.mlp",
        {"num_latents": M, "transcode": True, "skip_connection": True},
    ),
    Case("skip_autoencoder", "layers.3", {"num_latents": M, "skip_connection": True}),
)


def write(case: Case, out: Path, x: torch.Tensor) -> None:
    """Save one case, read it back, and record what sparsify computes."""
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(D, SparseCoderConfig(k=K, normalize_decoder=False, **case.options))
    for parameter in coder.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    folder = out / case.name / case.module
    coder.save_to_disk(folder)
    (folder.parent / "config.json").write_text(json.dumps({"model": "EleutherAI/pythia-160m"}))
    read = SparseCoder.load_from_disk(folder)
    encoded = read.encode(x)
    features = torch.zeros(len(x), M).scatter_(1, encoded.top_indices, encoded.top_acts)
    tensors = {"x": x, "features": features, "reconstruction": read(x).sae_out}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "expected.safetensors")


@torch.no_grad()
def main() -> None:
    """Write every case and VERSIONS.json."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "sparsify"
    shutil.rmtree(out, ignore_errors=True)
    x = torch.randn(16, D)
    for case in CASES:
        write(case, out, x)
    names = ("eai-sparsify", "torch", "safetensors")
    versions = {"python": platform.python_version(), **{name: version(name) for name in names}}
    about = {"made_by": "tests/golden/make_sparsify.py", "seed": SEED, "versions": versions}
    text = json.dumps({**about, "cases": [case.name for case in CASES]}, indent=1)
    (out / "VERSIONS.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
