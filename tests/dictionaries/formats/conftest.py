"""Copies of golden folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.saelens_folder import FOLDER


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A golden case in a folder that may be spoilt."""

    def copy(case: str) -> Path:
        return Path(shutil.copytree(FOLDER / case, tmp_path / case))

    return copy
