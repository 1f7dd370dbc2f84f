"""Controls of a sweep are fair (O27), and what they call significant is so at its rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import steer
from steer.effects.metric import LogitDifference, as_metrics
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.effects.sweep.controls import Against, control_deltas, matches
from steer.effects.sweep.prepared import prepare
from steer.errors import SteerError
from steer.maths.statistics import benjamini_hochberg, exceeds
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")


@pytest.mark.parametrize("kind", ["random", "matched"])
@pytest.mark.parametrize("hookpoint", ["resid_post.1", "mlp_out.1"])
def test_o27_each_control_has_its_features_norm_at_every_position(
    llama: steer.Model, kind: str, hookpoint: str
) -> None:
    dictionary = tiny.dictionary(hookpoint)
    (metric,) = as_metrics(llama, METRIC, 1)
    ready = prepare(llama, tiny.PROMPT, 0, metric, dictionary, "active", steer.Ablate, "1:")
    directions = []
    for index in ready.acting():
        (own,) = ready.deltas([(index,)])
        against = Against(kind, draws=3)
        near = matches(ready, dictionary, index, against)
        controls = control_deltas(ready, dictionary, index, against, near)
        assert controls.shape == (3, *own.shape)
        norm = own.double().norm(dim=-1)
        torch.testing.assert_close(
            controls.double().norm(dim=-1), norm.expand(3, -1), rtol=1e-6, atol=1e-7
        )
        directions.append(controls.sum(1))
    if kind == "random":  # every feature's are its own
        unit = torch.cat(directions)
        unit = unit / unit.norm(dim=-1, keepdim=True)
        assert (unit @ unit.T - torch.eye(len(unit))).abs().max() < 0.95


def test_controls_come_with_the_sweep(llama: steer.Model, tmp_path: Path) -> None:
    dictionary, file = tiny.dictionary(), tmp_path / "sweep.jsonl"
    against = Against(draws=3, tested=6)
    sweep = ablation_sweep(
        llama, tiny.PROMPTS, dictionary, metric=METRIC, against=against, file=file
    )
    frame = sweep.frame
    assert frame["control"].notna().sum() == 6
    assert set(frame.loc[frame["control"].notna(), "feature"]) == set(sweep.largest(6))
    assert (frame.loc[frame["control"].isna(), "p_control"] == 1).all()
    assert (frame["p_control"] >= 1 / 2**3).all()
    assert not frame["significant"].any()  # three prompts can't show it
    plain = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC)
    assert torch.equal(plain.matrix(), sweep.matrix())
    again = ablation_sweep(
        llama, tiny.PROMPTS, dictionary, metric=METRIC, against=against, file=file
    )
    assert again.controls == sweep.controls
    with pytest.raises(SteerError, match="another sweep"):
        ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC, file=file)


def test_matched_controls_say_how_near_they_are(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    assert dictionary.statistics is not None
    density = dictionary.statistics.density
    sweep = ablation_sweep(
        llama, tiny.PROMPTS, dictionary, against=Against("matched", draws=3, tested=4)
    )
    for row in sweep.controls:
        assert row["density"] == pytest.approx(density[row["feature"]].item())
        assert row["like_density"] == pytest.approx(density[row["like"]].item())
    frame = sweep.frame.set_index("feature")
    for feature in sweep.largest(4):
        near = [row["like_density"] for row in sweep.controls if row["feature"] == feature]
        row = frame.loc[feature]
        assert row["density"] == pytest.approx(density[feature].item())
        assert row["control_density"] == pytest.approx(sum(near) / len(near))
        assert (row["control_density_low"], row["control_density_high"]) == (min(near), max(near))
    assert frame["density"].notna().sum() == 4
    other = ablation_sweep(llama, tiny.PROMPTS, dictionary, against=Against(draws=3, tested=4))
    assert "density" not in other.frame


def test_features_that_are_random_directions_are_rarely_significant() -> None:
    """And larger ones are found: the rate of false discoveries is kept in both cases."""
    generator = torch.Generator().manual_seed(0)
    effects = torch.randn(400, 16, generator=generator)
    controls = torch.randn(400, 16, 4, generator=generator)
    p = exceeds(effects, controls)
    assert (p <= 0.05).double().mean() < 0.1
    assert (benjamini_hochberg(p) <= 0.05).sum() <= 2
    effects[:40] *= 6
    found = benjamini_hochberg(exceeds(effects, controls)) <= 0.05
    assert found[:40].all()
    assert found[40:].sum() <= 8


@pytest.mark.parametrize("options", [{"kind": "same"}, {"draws": 0}, {"tested": 0}])
def test_bad_choices(options: dict[str, object]) -> None:
    with pytest.raises(SteerError, match="allowed"):
        Against(**options)  # type: ignore[arg-type]
