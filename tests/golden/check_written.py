"""Assert that sparsify and dictionary_learning read what the library writes as the library does.

Write with the library's environment, check with that of the originals (see make_sparsify.py)::

    python tests/golden/check_written.py write FOLDER
    VENV/bin/python tests/golden/check_written.py check FOLDER

One line per folder; exit 1 if any differs by more than 1e-5 of the larger of 1 and its maximum.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parent
TOLERANCE = 1e-5


def write(out: Path) -> None:
    """Every golden dictionary, loaded and written again, with what we compute beside it."""
    from dictionaries.formats import dictionary_learning, load_folder, sparsify

    for original in ("sparsify", "dictionary_learning"):
        for path in sorted((GOLDEN / original).rglob("expected.safetensors")):
            dictionary, x = load_folder(path.parent), load_file(path)["x"]
            folder = out / path.parent.relative_to(GOLDEN)
            (sparsify if original == "sparsify" else dictionary_learning).write(dictionary, folder)
            tensors = {"x": x, "reconstruction": dictionary.reconstruct(x)}
            tensors["features"] = dictionary.encode(x)[0]
            save_file({n: t.contiguous() for n, t in tensors.items()}, folder / path.name)


def of_sparsify(folder: Path, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and reconstruction by sparsify."""
    from sparsify import SparseCoder

    coder: Any = SparseCoder.load_from_disk(folder)
    encoded = coder.encode(x)
    features = torch.zeros(len(x), coder.num_latents)
    return features.scatter_(1, encoded.top_indices, encoded.top_acts), coder(x).sae_out


def of_dictionary_learning(folder: Path, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and reconstruction by dictionary_learning."""
    from dictionary_learning.utils import load_dictionary

    module: Any = load_dictionary(str(folder), device="cpu")[0]
    features = module.encode(x)
    return features, module.decode(features)


@torch.no_grad()
def check(out: Path) -> int:
    """Compare every folder; the exit status."""
    failed = 0
    for path in sorted(out.rglob("expected.safetensors")):
        ours = load_file(path)
        reader = of_sparsify if "sparsify" in path.parts else of_dictionary_learning
        theirs = dict(
            zip(("features", "reconstruction"), reader(path.parent, ours["x"]), strict=True)
        )
        worst = max(
            ((ours[n] - t).abs() / t.abs().max().clamp(min=1)).max().item()
            for n, t in theirs.items()
        )
        failed += worst > TOLERANCE
        verdict = "FAIL" if worst > TOLERANCE else "ok  "
        print(f"{verdict}  {path.parent.relative_to(out)}  {worst:.1e}")
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        sys.exit(check(Path(sys.argv[2])))
