"""Write the seed paper's golden files: tiny seeded dictionaries of HoagyC/sparse_coding itself.

It is on no registry: run this with a clone of it, and an environment that has torch and nothing
of ours. Its module of dictionaries imports three packages that they do not use::

    git clone https://github.com/HoagyC/sparse_coding CLONE
    python -m pip install torchtyping "typeguard<3" torchopt optree graphviz
    python tests/golden/make_hoagyc.py CLONE [OUT]

OUT defaults to `tests/golden/hoagyc`. It holds `learned_dicts.pt`, a sweep as `big_sweep.py` saves
it, and `<index>.safetensors` for each of its entries: x [16, 8], features [16, 24] and
reconstruction [16, 8] as its `predict` computes them.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

REPOSITORY = "https://github.com/HoagyC/sparse_coding"
D, M, SEED = 8, 24, 20240612


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * 0.5


def dictionaries(module: Any) -> list[Any]:
    """Tied with and without centring and norm, an old one that has no centring, and untied."""
    rotation = torch.linalg.qr(normal(D, D)).Q
    centring = (normal(D), rotation, normal(D).abs() + 0.5)
    none = (torch.zeros(D), torch.eye(D), torch.ones(D))
    old = module.TiedSAE(normal(M, D), normal(M), none)
    for name in ("center_trans", "center_rot", "center_scale"):
        delattr(old, name)
    return [
        module.TiedSAE(normal(M, D), normal(M), none),
        module.TiedSAE(normal(M, D), normal(M), none, norm_encoder=False),
        module.TiedSAE(normal(M, D), normal(M), centring),
        module.TiedSAE(normal(M, D), normal(M), centring, norm_encoder=False),
        old,
        module.UntiedSAE(normal(M, D), normal(M, D), normal(M)),
    ]


@torch.no_grad()
def main() -> None:
    """Write the sweep, what each entry computes, and VERSIONS.json."""
    clone = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(clone))
    from autoencoders import learned_dict

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "hoagyc"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    made = dictionaries(learned_dict)
    sweep = [(each, {"dict_size": M, "l1_alpha": 10.0**-n}) for n, each in enumerate(made)]
    torch.save(sweep, out / "learned_dicts.pt")
    read = torch.load(out / "learned_dicts.pt", weights_only=False)
    for index, (each, _) in enumerate(read):
        each.to_device("cpu")  # which gives an old one the centring that it lacks
        x = torch.randn(16, D) + 0.3
        tensors = {
            "x": x,
            "features": each.encode(each.center(x)),
            "reconstruction": each.predict(x),
        }
        stored = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(stored, out / f"{index}.safetensors")
    head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    about = {
        "made_by": "tests/golden/make_hoagyc.py",
        "repository": REPOSITORY,
        "commit": subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip(),
        "seed": SEED,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "safetensors")},
        },
        "cases": [type(each).__name__ for each in made],
    }
    (out / "VERSIONS.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
