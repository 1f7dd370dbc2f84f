"""One server with the default model for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.serving import Server, serving, write_edits


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    edits = write_edits(tmp_path_factory.mktemp("edits"))
    with serving("--edits", edits, "--max-tokens", 200) as running:
        yield running
