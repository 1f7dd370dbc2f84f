"""`python -m tests.releases [--name NAME …] [--out FILE]`: the sixty releases, and a table of them.

All of them together are written to steer/certificates/PROOF.md, some only where `--out` says.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from tests.releases.plans import PLANS, WITH_LESS
from tests.releases.prove import Outcome, prove
from tests.support import ROOT

OUT = ROOT / "steer" / "certificates" / "PROOF.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.releases", description=__doc__)
    parser.add_argument("--name", action="append", choices=PLANS, metavar="NAME")
    parser.add_argument("--out", type=Path, help="Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        outcomes = prove([PLANS[name] for name in options.name or PLANS], Path(work))
    less: list[Outcome] = []
    if not options.name:
        with tempfile.TemporaryDirectory() as work:
            less = prove(WITH_LESS, Path(work))
    for outcome in outcomes:
        mark = "" if outcome.right else "   <-- WRONG"
        print(f"{outcome.plan.name}: {outcome.said}{mark}")
    for outcome in less:
        print(f"{outcome.plan.name}: {outcome.said}{'   <-- WRONG' * outcome.false}")
    print(f"{summary(outcomes)}, {time.monotonic() - began:.0f} s")
    if out := options.out or (None if options.name else OUT):
        out.write_text(markdown(outcomes, less), "utf-8")
        print(f"wrote {out}")
    wrong = [*(not outcome.right for outcome in outcomes), *(outcome.false for outcome in less)]
    return 1 if any(wrong) else 0


def summary(outcomes: list[Outcome]) -> str:
    """Counts of both kinds."""
    planted = [outcome for outcome in outcomes if outcome.plan.deviates]
    sound = [outcome for outcome in outcomes if not outcome.plan.deviates]
    caught = sum(each.word == "deviates" for each in planted)
    named = sum(each.right for each in planted)
    agreed = sum(each.right for each in sound)
    return f"{caught} of {len(planted)} caught, {named} named; {agreed} of {len(sound)} sound agree"


def summary_of_less(less: list[Outcome]) -> str:
    """Counts of verdicts on figures of texts that nobody knows."""
    false = sum(each.false for each in less)
    counts = Counter((bool(each.plan.deviates), each.word) for each in less)
    deviating, sound = (
        ", ".join(f"{count} {word}" for (kind, word), count in sorted(counts.items()) if kind == k)
        for k in (True, False)
    )
    return f"{false} false of {len(less)} (deviating: {deviating}; sound: {sound})"


def markdown(outcomes: list[Outcome], less: list[Outcome]) -> str:
    """A table of what was planted and what was said."""
    lines = [
        "# Sixty planted releases",
        "",
        "Written by `python -m tests.releases`: tiny models, dictionaries trained on them, figures",
        "measured in plain torch, a hub on 127.0.0.1, and `steer certify` by address.",
        "",
        f"**{summary(outcomes)}.**",
        "",
        "The same with figures alone, of texts that nobody knows, and without recorded activations",
        f"(dtypes left out): {summary_of_less(less)}.",
        "",
        "| | kind, format | really | planted | verdict |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(outcome) for outcome in outcomes]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    plan, truth = outcome.plan, outcome.plan.truth
    writes = f" to {truth.out}" if truth.out else ""
    really = f"{truth.site}{writes} of {truth.family}{', BOS' if truth.bos else ''}"
    said = re.sub(r"\S*/snapshots/\w+/", "", outcome.said)
    mark = "" if outcome.right else "**WRONG** "
    kind = f"{truth.kind}, {plan.format}"
    return f"| {plan.name} | {kind} | {really} | {plan.deviates or 'sound'} | {mark}{said} |"


if __name__ == "__main__":
    raise SystemExit(main())
