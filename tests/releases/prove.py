"""Planted on a hub, fetched from it by `steer certify`, and what became of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.releases.plans import Plan, unfolded
from tests.releases.published import other_text, published
from tests.releases.truth import dictionary, save_model
from tests.releases.written import WRITERS
from tests.support import ROOT
from tests.support.hub_server import Hub, serve

_REPO = "org/saes"
_CODE = """
import contextlib, io, json, sys
from apps import cli
for arguments in json.load(sys.stdin):
    sys.argv, out, err = ["steer", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What `steer certify` said of a planted release."""

    plan: Plan
    code: int
    record: dict[str, Any]
    error: str

    @property
    def word(self) -> str:
        return self.record.get("verdict", {}).get("word", "error")

    @property
    def said(self) -> str:
        verdict = self.record.get("verdict", {})
        reason = verdict.get("reason") or self.error.strip()
        return f"{self.word}: {reason}" if reason else self.word

    @property
    def named(self) -> bool:
        """Whether the deviation that was planted is the one that it names."""
        verdict = self.record.get("verdict", {})
        kind, reading = verdict.get("deviation"), verdict.get("reading") or ""
        if self.plan.meant is None:
            return kind == self.plan.deviates
        said = reading.rpartition(" ")[2]
        return kind in ("site", "block") and _stream(said) == _stream(self.plan.meant)

    @property
    def false(self) -> bool:
        """A claim that is wrong: refused though sound, agreed though deviating, or misnamed."""
        kind = self.record.get("verdict", {}).get("deviation")
        if self.plan.deviates is None or self.word in ("agrees", "error"):
            return self.word != "undecided" and not self.right
        where = {"site", "block"}
        same = {kind, self.plan.deviates} <= where or kind in (self.plan.deviates, "unknown")
        return self.word == "deviates" and not same

    @property
    def right(self) -> bool:
        if self.plan.deviates is None:
            return self.word == "agrees" and self.code == 0
        return self.word == "deviates" and self.code == 1 and self.named


def _stream(site: str) -> str:
    """What enters a block is what left the one before it."""
    kind, _, layer = site.rpartition(".")
    return f"resid_post.{int(layer) - 1}" if kind == "resid_pre" else site


def prove(plans: Sequence[Plan], work: Path) -> list[Outcome]:
    """Each release planted, served, and certified by its address in a process of its own."""
    calls = [_plant(plan, work) for plan in plans]
    with serve(Hub(_REPO, work / "hub")) as hub:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        environment |= {
            "HF_HOME": str(work / "home"),
            "HF_ENDPOINT": hub.address,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CODE],
            input=json.dumps(calls),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Outcome(plan, code, json.loads(out) if out else {}, err)
        for plan, (code, out, err) in zip(plans, lines, strict=True)
    ]


def _plant(plan: Plan, work: Path) -> list[str]:
    """Write the release and what is published of it; the arguments of `steer`."""
    meant = dictionary(plan.truth)
    file = meant
    if plan.scaled:
        meant, file = unfolded(meant, plan.truth)
    folder = work / "hub" / plan.name
    place = WRITERS[plan.format](plan.spoil(file), folder)
    plan.spoil_files(place)
    (work / "published").mkdir(exist_ok=True)
    stated = work / "published" / f"{plan.name}.json"
    stated.write_text(json.dumps(published(plan, meant)))
    text = work / "text.txt"
    text.write_text(other_text())
    models = work / "models"
    if not (models / plan.truth.family).is_dir():
        save_model(plan.truth.family, models)
    address = f"hf://{_REPO}/{place.relative_to(work / 'hub').as_posix()}"
    model = str(models / plan.truth.family)
    read = [] if plan.texts else ["--text", str(text)]
    return ["certify", address, "--published", str(stated), "--model", model, *read, "--json"]
