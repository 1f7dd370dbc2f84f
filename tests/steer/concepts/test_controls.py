"""What an edit is compared with acts where and when it does, and adds as much."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from steer.concepts.candidates import FADES, Candidate, matched_at_random
from steer.concepts.controls import RANDOM, arms
from steer.edits import AddDirection, Intervention
from tests.steer.concepts import planted

LENGTH = 3.0


def size(edit: Intervention) -> float:
    """Length of what is added to the residual."""
    if isinstance(edit.edits[0], AddDirection):
        return float(edit.edits[0].value)
    adds: Any = edit.edits
    rows = planted.dictionary().W_dec[[add.feature for add in adds]]
    return (torch.tensor([add.value for add in adds]) @ rows).norm().item()


def test_every_control_differs_in_its_direction_alone() -> None:
    dictionary = planted.dictionary()
    norms = dictionary.W_dec.norm(dim=1)
    share = torch.linspace(0.001, 0.04, planted.WIDTH)
    single = Candidate("single", (5,), (1 / norms[5].item(),))
    chosen = matched_at_random(Candidate("set", (5, 6), (0.5, 0.2)), dictionary, share, seed=1)
    edits = arms(
        dictionary,
        "resid_post.1",
        chosen,
        single,
        difference=torch.ones(dictionary.W_dec.shape[1]),
        density=share,
        length=LENGTH,
        seed=0,
    )
    assert set(edits) >= {"edit", "best single feature", "difference of means", RANDOM}
    places = {(edit.positions, edit.schedule) for each in edits.values() for edit in each.edits}
    assert places == {(edits["edit"].edits[0].positions, FADES)}
    for each in edits.values():
        assert size(each) == pytest.approx(LENGTH, rel=1e-3)
    assert len({each.to_json() for each in edits.values()}) == len(edits)
