"""O14 to O16 and O18: attributions against exact effects and finite differences."""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch

import steer
from dictionaries.architectures import ReLU
from dictionaries.dictionary import Dictionary
from steer.effects.attribution import attribution as attributions
from steer.effects.attribution.attribution import mean_gradient
from steer.effects.attribution.result import compare, ranks
from steer.effects.metric import LogitDifference, LogProbability, Reference
from steer.effects.passes.changes import clean_for
from steer.effects.sweep import ablation_sweep as sweeps
from steer.errors import PromptError, SteerError
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")
attribution = partial(attributions.attribution, positions="all")
ablation_sweep = partial(sweeps.ablation_sweep, positions="all")
COUNTERFACTUALS = ("w8 w31 w12 w55 w40 w9", "w21 w3", "w72 w80 w14 w15 w16 w60 w61 w62 w5")


@cache
def double(family: str) -> steer.Model:
    return steer.load(tiny.build(family, torch.float64), tokenizer=tiny.tokenizer())


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])  # RMSNorm falls back to fp32 inside
@pytest.mark.parametrize("hookpoint", ["resid_post.1", "mlp_out.1", "resid_pre.0"])
@pytest.mark.parametrize("metric", [METRIC, LogProbability("w7")], ids=["difference", "logprob"])
def test_gradients_are_central_differences(
    family: str, hookpoint: str, metric: LogitDifference | LogProbability
) -> None:
    model, dictionary = double(family), tiny.dictionary(hookpoint)
    ids = model.tokenize([tiny.PROMPT])[0][0]
    clean = clean_for(model, ids, dictionary, every=False)
    resolved = metric.resolve(model)
    slope = mean_gradient(clean, resolved, torch.zeros_like(clean.x), 1)
    reference, step = Reference.of(clean.logits, clean.ids, 0, False), 1e-5
    for feature, position in ((1, 0), (7, 2), (20, 5)):
        row = dictionary.W_dec[feature].double()
        delta = torch.zeros(2, *clean.x.shape, dtype=torch.float64)
        delta[0, position], delta[1, position] = step * row, -step * row
        up, down = resolved.change(clean.resume(delta).logits, reference)
        assert (slope[position] @ row).item() == pytest.approx(
            ((up - down) / (2 * step)).item(), rel=1e-3, abs=1e-9
        )


def test_ig_is_complete_with_the_error_and_not_without(family: str) -> None:
    model, dictionary = tiny.tiny_model(family), tiny.dictionary()
    few, many = (
        attribution(
            model, tiny.PROMPTS, dictionary, METRIC, patch=COUNTERFACTUALS, steps=steps
        ).completeness
        for steps in (10, 60)
    )
    for coarse, fine in zip(few, many, strict=True):
        assert fine.gap < 0.01
        assert fine.gap <= coarse.gap + 1e-3
        assert abs(fine.features - fine.change) > 0.05 * abs(fine.change)


def test_where_the_model_is_nearly_linear_gradients_are_nearly_exact(llama: steer.Model) -> None:
    """After the last block only the final norm is not linear."""
    dictionary = tiny.dictionary("resid_post.2")
    sweep = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC)
    atp = attribution(llama, tiny.PROMPTS, dictionary, METRIC, method="atp")
    assert compare(atp, sweep).pearson.mean > 0.9


def test_patching_with_itself_does_nothing(llama: steer.Model) -> None:
    attributed = attribution(
        llama, tiny.PROMPTS, tiny.dictionary(), METRIC, patch=tiny.PROMPTS, method="ig"
    )
    assert not any(value.any() for value in attributed.values)
    assert all(part.change == part.error == 0 for part in attributed.completeness)


def test_agreement_of_a_sweep_with_itself(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC)
    atp = attribution(llama, tiny.PROMPTS, dictionary, METRIC, method="atp")
    agreement, baseline = compare(atp, sweep), compare("activation", sweep)
    assert agreement.pearson.mean > baseline.pearson.mean
    assert 0 <= agreement.overlap.mean <= 1
    assert agreement.to_dict()["k"] == 10


def test_ranks_share_ties() -> None:
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_bad_input(llama: steer.Model) -> None:
    dictionary: Dictionary = tiny.dictionary(with_statistics=False)
    assert not isinstance(dictionary, ReLU)
    with pytest.raises(SteerError, match="gradient of a divergence"):
        attribution(llama, tiny.PROMPT, dictionary, "kl", method="atp")
    with pytest.raises(SteerError, match="allowed: atp, ig"):
        attribution(llama, tiny.PROMPT, dictionary, METRIC, method="best")
    with pytest.raises(SteerError, match="no statistics"):
        attribution(llama, tiny.PROMPT, dictionary, METRIC, patch="mean")
    with pytest.raises(PromptError, match="tokens"):
        attribution(llama, tiny.PROMPT, dictionary, METRIC, patch=["w3"])
    with pytest.raises(SteerError, match="different prompts"):
        compare(
            attribution(llama, tiny.PROMPT, dictionary, METRIC, method="atp"),
            ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC),
        )


@pytest.mark.parametrize("metric", [LogitDifference("w5"), LogitDifference(5, "w6")])
def test_a_metric_does_not_pass_over_texts(metric: LogitDifference) -> None:
    logits = torch.zeros(1, 96)
    reference = Reference.of(logits, torch.zeros(1, dtype=torch.long), 0, False)
    with pytest.raises(SteerError, match="resolve"):
        metric(logits.unsqueeze(0), reference)
