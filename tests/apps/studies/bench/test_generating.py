"""What generating with edits is timed with."""

from __future__ import annotations

from itertools import count

import pytest

import steer
from apps.studies.bench import generating
from steer.splice.resolve import plans
from tests.support import tiny


def test_the_clamp_is_timed_with_its_plan(
    llama: steer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = count()

    def counted(*arguments: object, **more: object) -> object:
        next(planned)
        return plans(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("steer.model.plans", counted)
    monkeypatch.setattr(generating, "PROMPT", tiny.PROMPT)
    generating.clamped(llama, tiny.dictionary(), 1, False, pairs=2, new_tokens=3)
    assert next(planned) == 3  # one unmeasured run, and one of each pair
