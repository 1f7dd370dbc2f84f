"""Assert that sae-lens reads the SAELens folders that the library writes as the library does.

Run it in the sae-lens environment (see make_saelens.py)::

    venv-saelens/bin/python tests/golden/check_saelens.py FOLDER [FOLDER ...]

Each FOLDER holds ``cfg.json``, ``sae_weights.safetensors`` and ``expected.safetensors``, or has
such folders somewhere below it. ``expected.safetensors`` holds ``x``, ``features`` and
``reconstruction`` as the library computes them; an optional ``forward`` is compared with
``sae(x)``, which for skip transcoders includes ``x @ W_skip.T``, unlike ``decode(encode(x))``.

Two values agree if they differ by at most 1e-5 times the larger of 1 and the largest magnitude in
their row; features must also have the same support. One line per folder; exit 1 if any folder
disagrees or does not load, 2 if there is none.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 1e-5
EXPECTED = "expected.safetensors"
# What loading or comparing a malformed folder raises: that folder's result, not the end of the run.
FAILURES = (
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
REQUIRED = ("x", "features", "reconstruction")


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest magnitude in the row where that is > 1."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shape {tuple(ours.shape)}, sae-lens has {tuple(theirs.shape)}")
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        raise ValueError("not finite")
    scale = theirs.double().abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
    return ((ours.double() - theirs.double()).abs() / scale).max().item()


def check(folder: Path) -> tuple[bool, str]:
    """Whether sae-lens agrees with the folder's expectation, and what to print about it."""
    from sae_lens import SAE

    expected = load_file(folder / EXPECTED)
    missing = [name for name in REQUIRED if name not in expected]
    if missing:
        raise ValueError(f"{EXPECTED} lacks {', '.join(missing)}")
    sae = SAE.load_from_disk(folder, device="cpu").eval()
    x = expected["x"]
    features = sae.encode(x)
    theirs = {"features": features, "reconstruction": sae.decode(features)}
    if "forward" in expected:
        theirs["forward"] = sae(x)
    good = True
    parts = [sae.cfg.architecture()]
    for name, value in theirs.items():
        worst = difference(expected[name], value)
        good = good and worst <= TOLERANCE
        parts.append(f"{name} {worst:.1e}")
    flips = int(((expected["features"] != 0) != (features != 0)).sum())
    if flips:
        good = False
        parts.append(f"{flips} features on one side only")
    return good, "  ".join(parts)


def find_folders(roots: list[Path]) -> list[Path]:
    """The roots that hold an expectation, and all such folders below them."""
    return sorted({path.parent for root in roots for path in root.rglob(EXPECTED)})


def main(arguments: list[str] | None = None) -> int:
    """Check every folder; return the exit status."""
    parser = argparse.ArgumentParser(description="Check SAELens folders against sae-lens.")
    parser.add_argument("folders", nargs="+", type=Path)
    folders = find_folders(parser.parse_args(arguments).folders)
    if not folders:
        print(f"no folder with {EXPECTED}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    failed = 0
    with torch.no_grad():
        for folder in folders:
            try:
                good, text = check(folder)
            except FAILURES as error:
                good, text = False, f"{type(error).__name__}: {error}".replace("\n", " ")
            failed += not good
            print(f"{'ok  ' if good else 'FAIL'}  {folder}  {text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
