"""Baselines of a recipe, with a frozen part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from apps.training.baselines import Baseline, run_baseline
from apps.training.beside import SHOWN, beside
from apps.training.recipe import Recipe
from apps.training.train import run_recipe
from dictionaries import catalogue
from dictionaries.errors import TrainingError
from dictionaries.training.config import TrainConfig
from dictionaries.training.state import first_rows
from tests.support import tiny


def test_baselines_differ_from_the_trained_one_in_what_is_frozen(
    recipe: Recipe, tmp_path: Path
) -> None:
    """The same data, seed and samples, from one harvest, and each under a name of its own."""

    def run(frozen: str) -> Path:
        (folder,) = run_baseline(
            recipe,
            Baseline(frozen, samples=3200, tokens=3200, seed=3),
            tmp_path / "out",
            tmp_path / "work",
            sites=["resid_post.1"],
        )
        return folder

    folders = {frozen: run(frozen) for frozen in ("nothing", "decoder", "encoder")}
    assert [f.relative_to(tmp_path / "out").as_posix() for f in folders.values()] == [
        "tiny-plain/resid_post.1",
        "tiny-frozen-decoder/resid_post.1",
        "tiny-frozen-encoder/resid_post.1",
    ]
    cards = {frozen: json.loads((f / "card.json").read_text()) for frozen, f in folders.items()}
    told = {frozen: card["train"].pop("frozen", "nothing") for frozen, card in cards.items()}
    assert told == {frozen: frozen for frozen in folders}
    assert cards["nothing"]["train"] == cards["decoder"]["train"] == cards["encoder"]["train"]
    assert cards["nothing"]["train"]["seed"] == 3
    drawn = first_rows(TrainConfig(width=40, k=5, seed=3), tiny.D)
    rows = {frozen: catalogue.load(folder).W_dec for frozen, folder in folders.items()}
    assert torch.allclose(rows["decoder"], drawn, atol=2e-3)
    assert not torch.allclose(rows["nothing"], drawn, atol=2e-2)
    before = (folders["decoder"] / "card.json").stat().st_mtime_ns
    assert (run("decoder") / "card.json").stat().st_mtime_ns == before


def test_a_card_shows_baselines_beside_its_own_figures(recipe: Recipe, tmp_path: Path) -> None:
    """Those of the baseline's own card; and all else stays as it was."""
    out, work, site = tmp_path / "out", tmp_path / "work", "resid_post.1"
    (folder,) = run_recipe(recipe, out, work, sites=[site])
    before = catalogue.read_card(folder)
    baselines = [Baseline(part, samples=3200, seed=3) for part in ("decoder", "nothing")]
    for baseline in (*baselines, *baselines):  # a second time takes the place of the first
        card = beside(folder, recipe, baseline, work)
    assert catalogue.read_card(folder) == card
    assert catalogue.load(folder).card == card
    shown = card.pop("baselines")
    assert card == before
    (finished,) = run_baseline(recipe, baselines[0], out, work, sites=[site])
    own = catalogue.read_card(finished)
    assert shown[0] == {
        "frozen": "decoder",
        "samples": 3200,
        "seed": 3,
        **{name: own[name] for name in SHOWN},
    }
    assert shown[1]["frozen"] == "nothing"
    assert shown[0]["explained_variance"] < shown[1]["explained_variance"]


def test_baselines_that_are_none(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="frozen 'bias' is unknown"):
        run_baseline(recipe, Baseline("bias"), tmp_path / "out", tmp_path / "work")
    with pytest.raises(TrainingError, match=r"no site resid_post\.9"):
        run_baseline(
            recipe, Baseline("decoder"), tmp_path / "out", tmp_path, sites=["resid_post.9"]
        )
