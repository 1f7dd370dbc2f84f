"""Write the Llama Scope golden files: tiny seeded autoencoders of OpenMOSS/Language-Model-SAEs.

It is on no registry: run this with a clone of it as it was when Llama Scope was young, and an
environment that has torch and nothing of ours::

    git clone https://github.com/OpenMOSS/Language-Model-SAEs CLONE
    git -C CLONE checkout f73151796d830f55d541eeec8dfa2bc467e05ace
    python -m pip install transformer-lens==3.9.0 datasets
    python tests/golden/make_llama_scope.py CLONE [OUT]

OUT defaults to `tests/golden/llama_scope`. Every case is `OUT/<case>/` in the release's layout,
with `expected.safetensors` beside: x [16, 8]; written [16, 24], each feature's activation times the
norm of its decoder row, since the library folds the norms into the activations; reconstruction
[16, 8]. All of the autoencoder that its `from_pretrained` reads back.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file

REPOSITORY = "https://github.com/OpenMOSS/Language-Model-SAEs"
D, M, SEED = 8, 24, 20240613
SITE, NORM = "blocks.3.hook_resid_post", {"in": 7.0, "out": 7.0}
CASES: dict[str, dict[str, Any]] = {
    "residual": {},
    "norms_left_out": {"sparsity_include_decoder_norm": False},
    "transcoder": {
        "hook_point_in": "blocks.3.ln2.hook_normalized",
        "hook_point_out": "blocks.3.hook_mlp_out",
        "dataset_average_activation_norm": {"in": 7.0, "out": 2.0},
    },
}


def library(clone: Path) -> tuple[Any, Any]:
    """Its two classes; its package as a whole would import the trainers."""
    package = ModuleType("lm_saes")
    package.__path__ = [str(clone / "src" / "lm_saes")]
    sys.modules["lm_saes"] = package
    from lm_saes.config import SAEConfig
    from lm_saes.sae import SparseAutoEncoder

    return SparseAutoEncoder, SAEConfig


def write(coder_class: Any, config_class: Any, options: dict[str, Any], folder: Path) -> None:
    """Save one case, read it back, and record what it computes."""
    given: dict[str, Any] = {
        "hook_point_in": SITE,
        "d_model": D,
        "d_sae": M,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.3,
        "apply_decoder_bias_to_pre_encoder": False,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": NORM,
        **options,
    }
    coder = coder_class(config_class(**given))
    for parameter in coder.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    (folder / "checkpoints").mkdir(parents=True)
    save_file(coder.state_dict(), folder / "checkpoints" / "final.safetensors")
    coder.cfg.save_hyperparameters(str(folder))
    read = coder_class.from_pretrained(str(folder))
    x = torch.randn(16, D) * 2
    features = read.encode(x)
    written = features * read.decoder_norm()
    tensors = {"x": x, "written": written, "reconstruction": read(x)}
    stored = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / "expected.safetensors")


@torch.no_grad()
def main() -> None:
    """Write every case and VERSIONS.json."""
    clone = Path(sys.argv[1]).resolve()
    coder_class, config_class = library(clone)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "llama_scope"
    shutil.rmtree(out, ignore_errors=True)
    for name, options in CASES.items():
        write(coder_class, config_class, options, out / name)
    head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    names = ("torch", "safetensors", "transformer-lens")
    about = {
        "made_by": "tests/golden/make_llama_scope.py",
        "repository": REPOSITORY,
        "commit": subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip(),
        "seed": SEED,
        "versions": {"python": platform.python_version(), **{n: version(n) for n in names}},
        "cases": list(CASES),
    }
    (out / "VERSIONS.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
