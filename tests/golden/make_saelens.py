"""Write the SAELens golden files: tiny seeded dictionaries saved by sae-lens itself.

Run it with an environment of its own (sae-lens is no dependency of the library)::

    python3 -m venv venv-saelens
    venv-saelens/bin/pip install torch==2.13.0 sae-lens==6.54.12
    venv-saelens/bin/python tests/golden/make_saelens.py [OUT]

OUT defaults to ``tests/golden/saelens``. Every case is a folder ``OUT/<case>/``:

``cfg.json``, ``sae_weights.safetensors``
    The published inference layout, written by sae-lens's ``save_model`` (inference classes) or
    ``save_inference_model`` (training classes). The ``old_*`` cases are hand-written in the flat
    layout that sae-lens wrote before 6.0; sae-lens only reads them.
``expected.safetensors``
    ``x`` [16, 8], ``features`` = ``sae.encode(x)``, ``reconstruction`` = ``sae.decode(features)``,
    computed by sae-lens on the dictionary read back with ``SAE.load_from_disk``. Where
    ``sae.forward(x)`` is something else (skip transcoders add ``x @ W_skip.T``, temporal adds the
    predicted codes) it is there too, as ``forward``. ``standard_expected_average`` also has
    ``features_folded`` and ``reconstruction_folded``. The safetensors metadata key ``about`` is
    JSON with ``note``, ``loaded_as`` (sae-lens's architecture) and, in the tie cases, ``ties``: the
    [row, feature] pairs whose pre-activation equals the threshold exactly (in float32, in any order
    of summation), so that the feature is inactive.

Rows of ``x``: 0-3 are multiples of 1/16, 4 is constant 0.5 (zero variance), 15 is 50 times row 14.
All other rows are standard normal. ``OUT/VERSIONS.json`` has the versions and one line per case.

Two runs on one machine write the same bytes. sae-lens's ``save_inference_model`` writes the keys of
cfg.json in the order of a Python set, so the script restarts itself with PYTHONHASHSEED=0.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from saelens_cases import (
    write_jumprelu_and_gated,
    write_others,
    write_standard_and_topk,
    write_transcoders,
)
from saelens_checkpoints import write_checkpoints
from saelens_inputs import SEED, make_inputs
from saelens_saved import write_expected_average, write_exports, write_old
from saelens_temporal import write_temporal
from saelens_writer import Writer

DISTRIBUTIONS = ("sae-lens", "torch", "transformer-lens", "transformers", "safetensors", "numpy")


def main() -> None:
    """Write every case and VERSIONS.json."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "saelens"
    if out.exists() and any(out.iterdir()):
        if not (out / "VERSIONS.json").is_file():
            sys.exit(f"{out} is not empty and was not written by this script")
        shutil.rmtree(out)
    writer = Writer(out, make_inputs())
    with torch.no_grad():
        write_standard_and_topk(writer)
        write_jumprelu_and_gated(writer)
        write_exports(writer)
        write_expected_average(writer)
        write_old(writer)
        write_transcoders(writer)
        write_others(writer)
        write_temporal(writer)
        write_checkpoints(writer)
    versions = {"python": platform.python_version()}
    versions.update({name: version(name) for name in DISTRIBUTIONS})
    about = {"made_by": "tests/golden/make_saelens.py", "seed": SEED, "versions": versions}
    text = json.dumps({**about, "cases": writer.notes}, indent=1)
    (out / "VERSIONS.json").write_text(text + "\n")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(writer.notes)} cases, {size / 1000:.0f} kB in {out}")
    assert size < 600_000


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, *sys.argv],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    main()
