"""Every malformed file ends in a clear error, at once, and nothing of it is run."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from dictionaries.errors import DictionaryError
from dictionaries.formats import load_folder
from tests.support.malformed import CASES
from tests.support.valid import BASES, M

SECONDS, MEGABYTES = 1.0, 100


@pytest.mark.parametrize("name", BASES)
def test_unspoilt_folders_load(name: str, tmp_path: Path) -> None:
    assert load_folder(BASES[name].write(tmp_path)).width == M


def outcome(case: str, folder: Path) -> str:
    """What is wrong with how the case ends; empty if nothing is."""
    path = CASES[case](folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    try:
        load_folder(path)
    except DictionaryError as error:
        message = str(error)
    else:
        return "loads"
    if not 20 < len(message) < 1500:
        return f"says {message!r}"
    if time.process_time() - started > SECONDS:
        return "takes too long"
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEGABYTES * 1024:
        return "takes too much memory"
    return "runs code" if list(folder.rglob("trace")) else ""


@pytest.mark.parametrize("kind", sorted({case.partition(":")[0] for case in CASES}))
def test_malformed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [case for case in CASES if case.partition(":")[0] == kind]
    ends = {case: outcome(case, tmp_path / str(i)) for i, case in enumerate(cases)}
    assert {case: end for case, end in ends.items() if end} == {}


def test_there_are_enough() -> None:
    assert len(CASES) >= 200
