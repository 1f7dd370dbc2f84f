"""The page's handlers on a tiny model."""

from __future__ import annotations

import pytest

from apps.playground.handlers import Handlers
from apps.playground.studio.studio import Shelf, Studio
from tests.support import tiny


@pytest.fixture
def do() -> Handlers:
    model = tiny.tiny_model("llama")
    return Handlers(Studio(model, Shelf(model, [], [tiny.dictionary()])))
