"""O30: a model whose effects are known in closed form, with planted orthonormal features.

One llama block that writes nothing (its output projections are 0), and a final norm that is the
same for every edit: the residual carries a large constant in a direction of its own, so that the
norm's scale is known exactly. Embeddings are sums of planted features, and each feature promotes
one token through the unembedding.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import steer
from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.effects.attribution.attribution import attribution
from steer.effects.dose.dose_response import dose_response
from steer.effects.metric import LogitDifference
from steer.effects.sweep.ablation_sweep import ablation_sweep, pair_sweep
from tests.support import tiny

D, FEATURES = 32, 8
PROMPT = "w10 w11 w12"
UP, DOWN = 20, 21
METRIC = LogitDifference(f"w{UP}", f"w{DOWN}")
EPS = 1e6
"""So large that the norm's scale hardly depends on x: it is 1/√(mean(x²) + EPS)."""


@cache
def planted() -> tuple[steer.Model, Dictionary, torch.Tensor, torch.Tensor]:
    """Model, dictionary, activations [3, FEATURES] of the prompt, and weights [FEATURES] of each
    feature on the metric."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))[0]
    rows = rows[:FEATURES]
    activations = torch.rand(3, FEATURES, generator=generator, dtype=torch.float64) * 3 + 1
    activations[:, 0] = 0
    weights = torch.randn(FEATURES, generator=generator, dtype=torch.float64)
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY,
        hidden_size=D,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=16,
        rms_norm_eps=EPS,
        bos_token_id=None,
        eos_token_id=tiny.EOS,
        pad_token_id=tiny.PAD,
    )
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.model.norm.weight.fill_(EPS**0.5)
        embedding = model.model.embed_tokens.weight
        embedding[10:13] = activations @ rows
        model.lm_head.weight[UP] = weights @ rows
        model.lm_head.weight[DOWN] = -weights @ rows
    dictionary = ReLU(
        W_enc=rows.T.contiguous(),
        b_enc=torch.full((FEATURES,), -1e-9, dtype=torch.float64),
        W_dec=rows,
        b_dec=torch.zeros(D, dtype=torch.float64),
        config=DictionaryConfig(D, FEATURES, "resid_post.0"),
        name="planted",
        statistics=None,
    )
    return steer.load(model, tokenizer=tiny.tokenizer()), dictionary, activations, 2 * weights


def test_ablations_are_the_products() -> None:
    model, dictionary, activations, weights = planted()
    sweep = ablation_sweep(model, PROMPT, dictionary, metric=METRIC)
    assert sweep.features == list(range(1, FEATURES))
    for row in sweep.rows:
        expected = -(activations[-1] * weights)[row["feature"]].item()
        assert row["effect"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_pairs_do_not_interact() -> None:
    model, dictionary, _, _ = planted()
    for row in pair_sweep(model, PROMPT, dictionary, [1, 2, 3], metric=METRIC).rows:
        assert row["interaction"] == pytest.approx(0, abs=2e-4)
        assert abs(row["joint"]) > 0.1


@pytest.mark.parametrize("method", ["atp", "ig"])
def test_o14_attributions_are_exact(method: str) -> None:
    model, dictionary, activations, weights = planted()
    attributed = attribution(model, PROMPT, dictionary, METRIC, method=method)
    expected = -(activations[-1] * weights)
    torch.testing.assert_close(attributed.matrix()[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert attributed.completeness[0].gap < 1e-3


def test_clamps_are_lines_and_added_doses_have_no_even_part() -> None:
    model, dictionary, activations, weights = planted()
    doses = [-4.0, -2.0, 0.0, 2.0, 4.0]
    clamped = dose_response(model, PROMPT, dictionary, 3, doses, metric=METRIC)
    expected = (torch.tensor(doses, dtype=torch.float64) - activations[-1, 3]) * weights[3]
    torch.testing.assert_close(clamped.effect[:, 0], expected, rtol=1e-4, atol=1e-5)
    added = dose_response(model, PROMPT, dictionary, 3, doses, metric=METRIC, edit=steer.Add)
    table = added.asymmetry()
    assert list(table["dose"]) == [2.0, 4.0]
    for row in table.to_dict("records"):
        assert row["odd"] == pytest.approx(row["dose"] * weights[3].item(), rel=1e-4, abs=1e-6)
        assert row["even"] == pytest.approx(0, abs=1e-4)
        assert row["plus"] == pytest.approx(-row["minus"], rel=1e-3)
