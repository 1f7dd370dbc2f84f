"""Trainings of a site by several seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apps.training.recipe import Recipe
from apps.training.stability import StabilityReport, other_seeds, run_stability
from apps.training.train import run_recipe
from dictionaries import catalogue
from dictionaries.beside.stability import Stability
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.training.activations import Contexts


def test_several_seeds(recipe: Recipe, tmp_path: Path) -> None:
    def run() -> StabilityReport:
        return run_stability(
            recipe,
            "resid_post.1",
            seeds=range(1, 5),
            samples=3200,
            tokens=3200,
            work=tmp_path / "work",
            dictionary=None,
            out=tmp_path / "out",
            progress=lambda what, done, total: None,
        )

    answer = run()
    known = Stability.load(tmp_path / "out")
    assert known is not None
    assert (known.seeds, known.samples, len(known.chance)) == (3, 3200, 40)
    assert sum(answer.histogram) == pytest.approx(1)
    assert answer.cosine == pytest.approx(known.cosine.mean().item(), abs=0.01)
    rows = [
        catalogue.load(tmp_path / "work" / "resid_post.1" / f"seed-{seed}" / "trained").W_dec
        for seed in (1, 2)
    ]
    assert not torch.allclose(*rows)
    assert run() == answer
    with pytest.raises(TrainingError, match="3 seeds are too few"):
        run_stability(
            recipe, "resid_post.1", seeds=range(3), samples=3200, tokens=3200, work=tmp_path,
            dictionary=None, out=tmp_path, progress=lambda what, done, total: None,
        )  # fmt: skip


def test_a_dictionary_of_the_recipe_is_one_of_the_seeds(recipe: Recipe, tmp_path: Path) -> None:
    """Three more seeds do then, and its own is not trained again to be found in full."""
    work = tmp_path / "work"
    (folder,) = run_recipe(recipe, tmp_path / "out", work, sites=["resid_post.1"])
    own = catalogue.load(folder)
    tokens = Contexts.load(work / "contexts.safetensors").tokens.numel()

    def run(seeds: list[int], dictionary: Dictionary) -> StabilityReport:
        return run_stability(
            recipe, "resid_post.1", seeds=seeds, samples=None, tokens=tokens, work=work,
            dictionary=dictionary, out=tmp_path, progress=lambda what, done, total: None,
        )  # fmt: skip

    seed = recipe.train["resid_post.1"].seed
    others = other_seeds(recipe, "resid_post.1", own, 3)
    assert len(set(others) - {seed}) == 3
    answer = run(others, own)
    assert (answer.seeds, answer.foretold.features) == (3, 3 * own.width)
    with pytest.raises(TrainingError, match=f"seed {seed} is that of the dictionary itself"):
        run([seed, *others], own)
    assert own.card is not None
    longer = replace(own, card={**own.card, "train": {**own.card["train"], "samples": 9}})
    with pytest.raises(TrainingError, match="3 seeds are too few"):
        run(others, longer)


def test_what_was_made_otherwise_is_not_taken_for_what_is_asked(
    recipe: Recipe, tmp_path: Path
) -> None:
    def run(samples: int, tokens: int) -> None:
        run_stability(
            recipe, "resid_post.1", seeds=range(4), samples=samples, tokens=tokens,
            work=tmp_path / "work", dictionary=None, out=tmp_path / "out",
            progress=lambda what, done, total: None,
        )  # fmt: skip

    run(1600, 3200)
    run(1600, 3200)
    with pytest.raises(TrainingError, match=r"samples 1600, now 3200\): give another --work"):
        run(3200, 3200)
    for tokens in (1600, 4800):
        with pytest.raises(TrainingError, match=f"of 3,200 tokens, and {tokens:,} were asked for"):
            run(1600, tokens)
