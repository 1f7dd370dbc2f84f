"""`python -m tests.gpu`: the tests marked `gpu`, then figures with the card's name.

Written to tests/gpu/figures.jsonl, a line a run; nothing is written there without a GPU. With
`--device cpu --tiny` all of it runs on a tiny model of the CPU, to see that it works, and is only
printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import steer
from tests.gpu.figures import TINY, Size, figures, name_of
from tests.support import ROOT, tiny

OUT = Path(__file__).parent / "figures.jsonl"
DEVICE = "STEER_TESTS_DEVICE"
"""Where the tests marked `gpu` run, in the environment."""
PROMPT = "When Mary and John went to the store, John gave a drink to the man who had been waiting"
NONE = "there is no CUDA device here, and no figure of one: --device cpu --tiny shows that it works"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, and little of all")
    parser.add_argument("--dtype", default="bfloat16", help="of the default model")
    parser.add_argument("--only", choices=("tests", "figures"))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(NONE)
        return 2
    failed = 0 if options.only == "figures" else _tests(options.device)
    if options.only != "tests":
        told = measured(options.device, options.tiny, options.dtype)
        told["tests_failed"] = None if options.only else bool(failed)
        print(json.dumps(told, indent=1, ensure_ascii=False))
        if kept := keep(told, OUT):
            print(f"written: {kept}")
    return failed


def _tests(device: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(Path(__file__).parent)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, DEVICE: device}).returncode


def measured(device: str, small: bool, dtype: str) -> dict[str, Any]:
    """All figures of one run."""
    begun = time.monotonic()
    if small:
        model = steer.load(tiny.build("llama").to(device), tokenizer=tiny.tokenizer())
        dictionary, prompt, size = tiny.dictionary(), tiny.PROMPT, TINY
    else:
        model = steer.load(dtype=dtype, device=device)
        dictionary = model.dictionary("smollm2-135m/resid_post.20")
        prompt, size = PROMPT, Size()
    told = dict(figures(model, dictionary, prompt, size))
    return {
        "device": name_of(model.device),
        "cuda": model.device.type == "cuda",
        "model": model.name,
        "dtype": model.dtype,
        "tiny": small,
        "torch": torch.__version__,
        "when": datetime.now(UTC).date().isoformat(),
        "figures": told,
        "seconds": round(time.monotonic() - begun),
    }


def keep(told: dict[str, Any], path: Path) -> Path | None:
    """The file that a run was added to; None for one of a CPU, or of a tiny model."""
    if not told["cuda"] or told["tiny"]:
        return None
    with path.open("a") as file:
        file.write(json.dumps(told, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
