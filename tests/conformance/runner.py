"""Families one after another, each in a process of its own with a time limit, kept as they end."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

LIMIT, PATIENCE = 120, 1800.0
"""Seconds of processor that a family may take, and of waiting for a machine that others use."""


def run(
    families: Sequence[str], results: Path, *, given_context: bool = False
) -> Iterator[dict[str, Any]]:
    """Reports of the families, in order; those in the file already are read from there."""
    kept = read(results)
    context = multiprocessing.get_context("fork")
    for family in families:
        if family not in kept:
            kept[family] = _alone(context, family, given_context)
            with results.open("a") as file:
                file.write(json.dumps(kept[family]) + "\n")
        yield kept[family]


def read(results: Path) -> dict[str, dict[str, Any]]:
    """What the file holds, by family; the last of several wins."""
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    return {row["family"]: row for row in rows}


def _alone(context: Any, family: str, given_context: bool) -> dict[str, Any]:
    began = time.monotonic()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(family, there, given_context))
    process.start()
    there.close()
    try:
        row = here.recv() if here.poll(PATIENCE) else None
    except EOFError:
        row = {"family": family, "built": f"died, or took more than {LIMIT} s"}
    process.kill()
    process.join()
    row = row or {"family": family, "built": f"took more than {PATIENCE:.0f} s"}
    return row | {"seconds": round(time.monotonic() - began, 1)}


def _child(family: str, pipe: Any, given_context: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    from tests.conformance.build import NotBuiltError
    from tests.conformance.jobs import run_family

    try:
        row = asdict(run_family(family, given_context=given_context))
    except NotBuiltError as error:
        row = {"family": family, "built": str(error)}
    except Exception as error:  # the instrument's own fault: seen in the table, and the run goes on
        row = {"family": family, "built": f"the oracle failed: {type(error).__name__}: {error}"}
    pipe.send(row)
    pipe.close()
