"""`python -m tests.conformance [--family NAME …] [--out FILE] [--results FILE] [--fresh]`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers

from tests.conformance.families import FAMILIES
from tests.conformance.runner import run
from tests.conformance.table import ORDER, cells, markdown
from tests.support import ROOT

OUT = ROOT / "steer" / "lm" / "FAMILIES.md"
RESULTS = Path(tempfile.gettempdir()) / "steer-conformance.jsonl"


def main() -> int:
    """Run what is asked for, print a line a family, and write the table of all that was run."""
    options = _options()
    if options.fresh and options.results.exists():
        options.results.unlink()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    rows, began = [], time.monotonic()
    for row in run(
        options.family or FAMILIES, options.results, given_context=options.given_context
    ):
        rows.append(row)
        counts = Counter(cell.status for cell in cells(row))
        shown = " ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
        print(f"{row['family']}: {row.get('built') or shown} ({row['seconds']} s)", flush=True)
    bad = sum(cell.bad for row in rows for cell in cells(row))
    print(f"{len(rows)} families, {bad} cells wrong or raw, {time.monotonic() - began:.0f} s")
    if not options.family or options.out != OUT:
        options.out.write_text(markdown(rows, transformers.__version__))
        print(f"wrote {options.out}")
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES, metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, help="Markdown; all families by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="kept, so a run can go on")
    parser.add_argument(
        "--given-context",
        action="store_true",
        help="tell models that don't say how much they read, to see what else is wrong",
    )
    parser.add_argument("--fresh", action="store_true", help="forget kept results first")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
