"""Our trainer with another's optimizer: what is changed is that alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apps.studies.trainers.begun import Changed, Variant, begun
from apps.studies.trainers.learned import drawn
from apps.studies.trainers.ours import Ours
from dictionaries.training.fast_dtype import fast_dtype
from tests.apps.studies.trainers.test_learned import SIZE, activations


def test_adam_at_our_encoder_is_ours() -> None:
    data = activations()
    train = drawn(data, SIZE)
    same = Changed(train, SIZE, Variant("adam", 1e-2))
    ours = Ours(train, SIZE, fast_dtype(), 1e-2)
    for trainer in (same, ours):
        trainer.go_on(SIZE.steps)
    assert torch.equal(same.reconstruct(data.heldout), ours.reconstruct(data.heldout))


def test_a_smaller_encoder_is_all_that_differs_at_first() -> None:
    train = drawn(activations(), SIZE)
    whole, half = (Changed(train, SIZE, Variant("adam", 1e-2, e)).state for e in (1.0, 0.5))
    assert torch.equal(half.weights["W_enc"], whole.weights["W_enc"] / 2)
    for name in ("W_dec", "b_enc", "b_dec"):
        assert torch.equal(half.weights[name], whole.weights[name])


def test_a_step_by_signs_is_as_long_for_every_weight_that_has_a_gradient() -> None:
    trainer = Changed(drawn(activations(), SIZE), SIZE, Variant("signs", 1e-2))
    before = trainer.state.weights["W_enc"].detach().clone()
    trainer.go_on(1)
    moved = (trainer.state.weights["W_enc"].detach() - before).abs()
    lengths = moved[moved > 0]
    assert torch.allclose(lengths, lengths.max().expand_as(lengths), rtol=1e-3)


def test_averaged_weights_are_read_and_training_goes_on_from_the_others() -> None:
    pytest.importorskip("schedulefree")
    data = activations()
    read, unread = (
        Changed(drawn(data, SIZE), SIZE, Variant("signs, averaged", 1e-2)) for _ in range(2)
    )
    for trainer in (read, unread):
        trainer.go_on(4)
    live = read.state.weights["W_enc"].detach().clone()
    read.reconstruct(data.heldout)
    assert torch.allclose(read.state.weights["W_enc"], live, atol=1e-6)
    with read._read():
        assert not torch.allclose(read.state.weights["W_enc"], live, atol=1e-6)


def test_a_kept_row_is_not_trained_again(tmp_path: Path) -> None:
    file, variants = tmp_path / "begun.jsonl", [Variant("adam", 1e-2), Variant("signs", 1e-2)]
    rows = begun(activations(), SIZE, file, variants)
    written = file.read_bytes()
    assert begun(activations(), SIZE, file, variants) == rows
    assert file.read_bytes() == written
    assert [row["optimizer"] for row in rows] == ["adam", "signs"]
