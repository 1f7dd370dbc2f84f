"""What a norm does is asked of the norm: gains of 1 + weight, LayerNorms without a bias."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma3nTextConfig,
    Qwen3NextConfig,
)

import steer
from steer.lm.norm import Norm
from steer.lm.unembedding import direct_logits
from tests.support import tiny

MODERN = {k: v for k, v in tiny._MODERN.items() if k != "initializer_range"}
CONFIGS: dict[str, Any] = {
    "cohere": lambda: CohereConfig(**MODERN, logit_scale=1.0),
    "qwen3_next": lambda: Qwen3NextConfig(
        **MODERN,
        head_dim=8,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "gemma3n": lambda: Gemma3nTextConfig(
        **MODERN,
        head_dim=8,
        vocab_size_per_layer_input=tiny.VOCABULARY,
        hidden_size_per_layer_input=8,
        laurel_rank=4,
        num_kv_shared_layers=0,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        activation_sparsity_pattern=[0.0] * tiny.LAYERS,
    ),
    **tiny.CONFIGS,
}


def built(family: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = AutoModelForCausalLM.from_config(CONFIGS[family](), dtype=torch.float32).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() == 1:
                    parameter += 0.3 * torch.randn_like(parameter)
    return module


def final_norm(module: Any) -> torch.nn.Module:
    """By the names of transformers' modelling files."""
    body = getattr(module, module.base_model_prefix)
    return next(getattr(body, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(body, n))


@pytest.mark.parametrize("family", CONFIGS)
def test_a_norm_is_its_formula(family: str) -> None:
    module = final_norm(built(family))
    norm = Norm.of(module, tiny.D)
    x = 5 * torch.randn(2, 7, tiny.D, generator=torch.Generator().manual_seed(1)) + 1
    with torch.no_grad():
        torch.testing.assert_close(norm(x), module(x), atol=1e-4, rtol=1e-4)


def test_a_stream_of_four_has_no_direct_logits() -> None:
    """Gemma 3n carries four streams that are joined before the norm."""
    model = steer.load(built("gemma3n"), tokenizer=tiny.tokenizer())
    with pytest.raises(steer.ModelError, match="no norm between its last block and its head"):
        direct_logits(model, torch.ones(1, tiny.D))


@pytest.mark.parametrize("family", [name for name in CONFIGS if name != "gemma3n"])
def test_direct_logits_are_the_slope_of_norm_and_unembedding(family: str) -> None:
    """Along directions that leave the norm's scale as it is, nothing else moves the logits."""
    module = built(family)
    model = steer.load(module, tokenizer=tiny.tokenizer())
    norm, head = final_norm(module), module.get_output_embeddings().weight
    generator = torch.Generator().manual_seed(2)
    x, *directions = torch.randn(6, tiny.D, generator=generator)
    flat = torch.ones(tiny.D) / tiny.D**0.5
    basis = torch.linalg.qr(torch.stack([x, flat], dim=1)).Q
    sideways = torch.stack([d - basis @ (basis.T @ d) for d in directions])
    step = 1e-2
    with torch.no_grad():
        moved = (norm(x + step * sideways) - norm(x - step * sideways)) / (2 * step) @ head.T
    ours = direct_logits(model, sideways)
    scale = (ours * moved).sum() / moved.square().sum()
    torch.testing.assert_close(ours, scale * moved, atol=1e-3 * ours.abs().max().item(), rtol=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_a_layer_norm_centres(family: str) -> None:
    """A direction along the ones moves nothing through a LayerNorm."""
    model = steer.load(built(family), tokenizer=tiny.tokenizer())
    assert direct_logits(model, torch.ones(1, tiny.D)).abs().max() < 1e-4
