"""`python -m tests.releases [--name NAME …] [--out FILE]`: all sixty releases, and a table."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from tests.releases.plans import PLANS
from tests.releases.prove import Outcome, prove


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.releases", description=__doc__)
    parser.add_argument("--name", action="append", choices=PLANS, metavar="NAME")
    parser.add_argument("--out", type=Path, help="Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        outcomes = prove(options.name or list(PLANS), Path(work))
    for outcome in outcomes:
        mark = "" if outcome.right else "   <-- WRONG"
        print(f"{outcome.plan.name}: {outcome.said}{mark}")
    print(f"{summary(outcomes)}, {time.monotonic() - began:.0f} s")
    return 0 if all(outcome.right for outcome in outcomes) else 1


def summary(outcomes: list[Outcome]) -> str:
    """Counts of both kinds."""
    planted = [each for each in outcomes if each.plan.deviates]
    sound = [each for each in outcomes if not each.plan.deviates]
    caught = sum(each.word == "deviates" for each in planted)
    named = sum(each.right for each in planted)
    agreed = sum(each.right for each in sound)
    return f"{caught} of {len(planted)} caught, {named} named; {agreed} of {len(sound)} sound agree"


if __name__ == "__main__":
    raise SystemExit(main())
