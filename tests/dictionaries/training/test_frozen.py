"""Baselines of the same recipe: what is frozen stays to the bit, what is soft stays in its cone."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.measures.quality import quality
from dictionaries.training.state import first_rows
from dictionaries.training.train import TrainConfig, train
from tests.dictionaries.training.planted import ABOUT, D, planted
from tests.dictionaries.training.planted import SMALL as SLOW

SMALL = replace(SLOW, learning_rate=0.05, samples=60 * 256)
LEAST = 0.99
"""Of a cone that rows leave in so few steps."""
ACTIVATIONS, TRUE = planted()
ARCHITECTURES = ("batchtopk", "topk", "standard")
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def trained(architecture: str, frozen: str, **more: Any) -> Dictionary:
    l1 = 0.3 if architecture == "standard" else 0.0
    config = replace(SMALL, architecture=architecture, l1=l1, frozen=frozen, **more)
    return train(ACTIVATIONS, config, ABOUT)


def fvu(dictionary: Dictionary) -> float:
    return quality(dictionary, ACTIVATIONS[:1024]).fvu


@every_architecture
def test_a_frozen_decoder_is_the_one_that_was_drawn(architecture: str) -> None:
    dictionary = trained(architecture, "decoder")
    assert torch.equal(dictionary.W_dec, first_rows(SMALL, D))
    assert not torch.equal(dictionary.W_enc, first_rows(SMALL, D).T)


@every_architecture
def test_a_frozen_encoder_is_the_one_that_was_drawn(architecture: str) -> None:
    dictionary = trained(architecture, "encoder")
    assert torch.equal(dictionary.W_enc, first_rows(SMALL, D).T)
    assert not torch.equal(dictionary.W_dec, first_rows(SMALL, D))


@every_architecture
def test_a_soft_decoder_keeps_the_cosine(architecture: str) -> None:
    free = trained(architecture, "nothing")
    dictionary = trained(architecture, "soft decoder", least_cosine=LEAST)
    kept, left = ((each.W_dec * first_rows(SMALL, D)).sum(-1) for each in (dictionary, free))
    assert left.min() < LEAST  # else the cone would hold nothing
    assert kept.min() >= LEAST
    assert kept.max() <= 1 + 1e-6
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(len(kept)))


@every_architecture
@pytest.mark.parametrize("frozen", ["decoder", "soft decoder", "encoder"])
def test_the_rest_still_learns(architecture: str, frozen: str) -> None:
    begun = trained(architecture, frozen, samples=SMALL.batch)
    assert fvu(trained(architecture, frozen)) < 0.8 * fvu(begun)


@pytest.mark.parametrize("frozen", ["decoder", "soft decoder", "encoder"])
def test_it_is_taken_up_where_it_stopped(frozen: str, tmp_path: Path) -> None:
    config, file = replace(SMALL, frozen=frozen), tmp_path / "checkpoint.pt"

    class Stopped(Exception):
        pass

    def stop(step: Any) -> None:
        if step.number == 40:
            raise Stopped

    with pytest.raises(Stopped):
        train(ACTIVATIONS, config, ABOUT, checkpoint=file, checkpoint_every=30, report=stop)
    assert file.exists()
    continued = train(ACTIVATIONS, config, ABOUT, checkpoint=file, checkpoint_every=30)
    whole = train(ACTIVATIONS, config, ABOUT)
    assert torch.equal(continued.W_dec, whole.W_dec)
    assert torch.equal(continued.W_enc, whole.W_enc)


def test_a_checkpoint_is_of_what_is_frozen(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    train(ACTIVATIONS, SMALL, ABOUT, checkpoint=file, checkpoint_every=30)
    with pytest.raises(TrainingError, match="another config"):
        train(ACTIVATIONS, replace(SMALL, frozen="decoder"), ABOUT, checkpoint=file)


def test_a_training_of_all_is_described_as_before_anything_could_be_frozen() -> None:
    """Its checkpoints and the names of what was made from it hold."""
    described = SMALL.to_dict()
    assert set(asdict(SMALL)) - set(described) == {"frozen", "least_cosine"}
    assert replace(SMALL, frozen="encoder").to_dict() == described | {"frozen": "encoder"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frozen": "rows"}, "allowed: 'nothing', 'decoder', 'soft decoder', 'encoder'"),
        ({"frozen": "decoder", "tied": True, "architecture": "standard"}, "leave out tied"),
        ({"frozen": "soft decoder", "least_cosine": 1.0}, "between 0 and 1, not 1.0"),
        ({"frozen": "soft decoder", "least_cosine": float("nan")}, "between 0 and 1, not nan"),
    ],
)
def test_what_cannot_be_frozen(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        TrainConfig(**settings)
