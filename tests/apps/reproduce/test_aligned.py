"""The learned subspace: orthonormal, whole at full width, and better than an unlearned one."""

from __future__ import annotations

import torch

import steer
from apps.reproduce.e3_localisation.aligned import (
    Search,
    interchanged,
    learned_subspace,
    whole_change,
    within,
)
from apps.reproduce.e3_localisation.experiment import as_patchable
from tests.apps.reproduce.test_localised import PAIRS
from tests.support import tiny


def test_its_rows_are_orthonormal_and_the_whole_space_is_the_target(llama: steer.Model) -> None:
    pairs = as_patchable(llama, tiny.dictionary(), PAIRS, "patch")
    answers = [pair.answer for pair in PAIRS]
    rows = learned_subspace(pairs, answers, tiny.D, Search(steps=1, batch=2))
    assert torch.allclose(rows @ rows.T, torch.eye(tiny.D), atol=1e-4)
    for pair in pairs:
        assert torch.allclose(interchanged(pair, rows), pair.goal, atol=1e-3)


def test_learning_raises_the_answer(llama: steer.Model) -> None:
    """More than the subspace that it began as, and than random ones of as many dimensions."""
    pairs = as_patchable(llama, tiny.dictionary(), PAIRS, "patch")
    answers = [pair.answer for pair in PAIRS]
    ids = [llama.token_id(answer) for answer in answers]

    def likelihood(rows: torch.Tensor) -> float:
        found = [
            interchanged(pair, rows).log_softmax(-1)[token].item()
            for pair, token in zip(pairs, ids, strict=True)
        ]
        return sum(found) / len(found)

    learned = likelihood(learned_subspace(pairs, answers, 2, Search(steps=30, batch=3)))
    unlearned = [
        likelihood(learned_subspace(pairs, answers, 2, Search(steps=0, seed=seed)))
        for seed in range(6)
    ]
    assert learned > max(unlearned)


def test_a_change_splits_into_its_parts(llama: steer.Model) -> None:
    (pair, *_) = as_patchable(llama, tiny.dictionary(), PAIRS, "patch")
    moved = whole_change(pair)
    basis = torch.linalg.qr(
        torch.randn(tiny.D, tiny.D, generator=torch.Generator().manual_seed(0))
    ).Q
    parts = within(moved, basis[:3]) + within(moved, basis[3:])
    assert torch.allclose(parts, moved, atol=1e-5)
