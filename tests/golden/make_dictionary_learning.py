"""Write the dictionary_learning golden files: tiny seeded dictionaries of its own classes.

Run it with an environment of its own (dictionary-learning is no dependency of the library)::

    python3 -m venv VENV
    VENV/bin/pip install torch==2.13.0 dictionary-learning==0.1.0
    VENV/bin/pip uninstall torchvision  # where it was built for another torch
    VENV/bin/python tests/golden/make_dictionary_learning.py [OUT]

OUT defaults to `tests/golden/dictionary_learning`. Every case is `OUT/<case>/` with `ae.pt` and
`config.json` as its trainers write them, and `expected.safetensors`: x [16, 8], features [16, 24]
(`encode(x)`) and reconstruction (`decode(features)`), of what its own `load_dictionary` reads back.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

D, M, K, SEED = 8, 24, 5, 20240609


def cases() -> dict[str, Any]:
    """One of each class."""
    from dictionary_learning import dictionary
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    return {
        "standard": dictionary.AutoEncoder(D, M),
        "standard_new": dictionary.AutoEncoderNew(D, M),
        "gated": dictionary.GatedAutoEncoder(D, M),
        "jumprelu": dictionary.JumpReluAutoEncoder(D, M),
        "topk": AutoEncoderTopK(D, M, K),
        "batchtopk": BatchTopKSAE(D, M, K),
        "matryoshka": MatryoshkaBatchTopKSAE(D, M, K, [6, 6, 12]),
    }


def config(module: Any) -> dict[str, Any]:
    """What its trainers record."""
    trainer: dict[str, Any] = {
        "dict_class": type(module).__name__,
        "trainer_class": "Trainer",
        "activation_dim": D,
        "dict_size": M,
        "layer": 3,
        "lm_name": "EleutherAI/pythia-160m-deduped",
        "submodule_name": "mlp_out_layer_3",
    }
    if hasattr(module, "k"):
        trainer["k"] = int(module.k)
    return {"trainer": trainer, "buffer": {"d_submodule": D, "io": "out", "ctx_len": 128}}


def write(name: str, module: Any, out: Path, x: torch.Tensor) -> None:
    """Save one case, read it back, and record what the library computes."""
    from dictionary_learning.utils import load_dictionary

    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    if name in ("batchtopk", "matryoshka"):
        module.threshold.fill_(0.75)
    if name == "jumprelu":
        module.threshold.data.abs_()
    folder = out / name
    folder.mkdir(parents=True)
    torch.save(module.state_dict(), folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps(config(module), indent=1) + "\n")
    read, _ = load_dictionary(str(folder), device="cpu")
    features = read.encode(x)
    tensors = {"x": x, "features": features, "reconstruction": read.decode(features)}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "expected.safetensors")


@torch.no_grad()
def main() -> None:
    """Write every case and VERSIONS.json."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dictionary_learning"
    shutil.rmtree(out, ignore_errors=True)
    x, made = torch.randn(16, D), cases()
    for name, module in made.items():
        write(name, module, out, x)
    names = ("dictionary-learning", "torch", "safetensors")
    versions = {"python": platform.python_version(), **{name: version(name) for name in names}}
    about = {"made_by": "tests/golden/make_dictionary_learning.py", "seed": SEED}
    text = json.dumps({**about, "versions": versions, "cases": list(made)}, indent=1)
    (out / "VERSIONS.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
