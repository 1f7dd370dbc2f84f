"""Write the OpenAI golden files: tiny seeded autoencoders of openai/sparse_autoencoder itself.

It is on no registry: run this with a clone of it, and an environment that has torch and nothing
of ours::

    git clone https://github.com/openai/sparse_autoencoder CLONE
    python tests/golden/make_openai.py CLONE [OUT]

OUT defaults to `tests/golden/openai`. Every case is `OUT/<case>/resid_post_mlp_v5_32k/autoencoders/
8.pt`, the release's own path and what its `state_dict` holds, with `expected.safetensors` in
`OUT/<case>`: x [16, 8], features [16, 24] and reconstruction [16, 8], of `from_state_dict`.
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

REPOSITORY = "https://github.com/openai/sparse_autoencoder"
D, M, K, SEED = 8, 24, 4, 20240611
PLACE = "resid_post_mlp_v5_32k/autoencoders/8.pt"


def write(model: Any, name: str, out: Path) -> None:
    """Save one case, read it back, and record what it computes."""
    activation, options = {
        "relu": (torch.nn.ReLU(), {}),
        "topk": (model.TopK(K), {"normalize": True}),
    }[name]
    coder = model.Autoencoder(M, D, activation, **options)
    for parameter in coder.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    path = out / name / PLACE
    path.parent.mkdir(parents=True)
    torch.save(coder.state_dict(), path)
    state = torch.load(path, weights_only=True)
    for key in ("activation.k", "activation.postact_fn"):  # which it writes and refuses to read
        state.pop(key, None)
    read = model.Autoencoder.from_state_dict(state)
    x = torch.randn(16, D) + 0.3
    features, info = read.encode(x)
    tensors = {"x": x, "features": features, "reconstruction": read.decode(features, info)}
    stored = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    save_file(stored, out / name / "expected.safetensors")


def main() -> None:
    """Write every case and VERSIONS.json."""
    clone = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(clone))
    from sparse_autoencoder import model

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "openai"
    shutil.rmtree(out, ignore_errors=True)
    cases = ("relu", "topk")
    for name in cases:
        write(model, name, out)
    head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    about = {
        "made_by": "tests/golden/make_openai.py",
        "repository": REPOSITORY,
        "commit": subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip(),
        "seed": SEED,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "safetensors")},
        },
        "cases": cases,
    }
    (out / "VERSIONS.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
