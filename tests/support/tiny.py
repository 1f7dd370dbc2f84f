"""Tiny seeded models of each family with a tokenizer made in code, and random dictionaries."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

import steer
from dictionaries.architectures import AbsTopK, BatchTopK, Gated, JumpReLU, ReLU, TopK
from dictionaries.beside.statistics import QUANTILES, TOP, WINDOW, FeatureStatistics
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary

D, LAYERS, HEADS, VOCABULARY, CONTEXT, WIDTH = 32, 3, 4, 96, 64, 48
PAD, EOS, UNKNOWN = 0, 1, 2
PACKABLE_D = 64

PROMPT = "w7 w31 w12 w55 w40 w9"
PROMPTS = (PROMPT, "w20 w3", "w71 w80 w14 w15 w16 w60 w61 w62 w5")
"""Of different lengths."""

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
_MODERN: dict[str, Any] = {
    **_COMMON,
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
}
_GEMMA: dict[str, Any] = {
    **_MODERN,
    "head_dim": 12,
    "query_pre_attn_scalar": 12,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_NEOX: dict[str, Any] = {k: v for k, v in _MODERN.items() if k != "num_key_value_heads"}

CONFIGS: dict[str, Any] = {
    "gpt2": lambda: GPT2Config(
        **_COMMON,
        n_embd=D,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=CONTEXT,
        n_inner=40,
        initializer_range=0.2,
    ),
    "llama": lambda: LlamaConfig(**_MODERN),
    "qwen2": lambda: Qwen2Config(**_MODERN),
    "qwen3": lambda: Qwen3Config(**_MODERN, head_dim=12),
    "gemma2": lambda: Gemma2Config(**_GEMMA),
    "gemma3": lambda: Gemma3TextConfig(**_GEMMA),
    "gpt_neox": lambda: GPTNeoXConfig(**_NEOX),
    "gpt_neox_sequential": lambda: GPTNeoXConfig(**_NEOX, use_parallel_residual=False),
}
FAMILIES = tuple(CONFIGS)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word: w3 ... w95."""
    words = {"<pad>": PAD, "<eos>": EOS, "<unk>": UNKNOWN}
    words |= {f"w{i}": i for i in range(len(words), VOCABULARY)}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def build(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A new transformers model; the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(CONFIGS[family](), dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():  # gains and biases that are not 1 and 0
                if weight.dim() == 1:
                    weight += 0.1 * torch.randn_like(weight)
    return model.to(dtype).eval()


def save_packable(folder: Path) -> None:
    """A llama whose matrices are large enough for bitsandbytes to pack, with its tokenizer."""
    config = LlamaConfig(**_MODERN | {"hidden_size": PACKABLE_D, "intermediate_size": 128})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)


@cache
def plain_model(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """The model alone, that nnsight never saw."""
    return build(family, dtype)


@cache
def tiny_model(family: str, dtype: torch.dtype = torch.float32) -> steer.Model:
    """The same model as `steer.load` gives it."""
    return steer.load(build(family, dtype), tokenizer=tokenizer())


def statistics(width: int, seed: int = 0) -> FeatureStatistics:
    """Made-up statistics; feature 0 was never active."""
    generator = torch.Generator().manual_seed(seed)
    maximum = torch.rand(width, generator=generator) * 4 + 1
    maximum[0] = 0
    shares = torch.tensor(QUANTILES) / 100
    window = sum(WINDOW)
    return FeatureStatistics(
        density=torch.rand(width, generator=generator),
        maximum=maximum,
        mean=maximum / 2,
        quantiles=maximum[:, None] * shares,
        contexts=torch.randint(3, VOCABULARY, (width, TOP, window), generator=generator),
        context_activations=torch.rand(width, TOP, window, generator=generator),
        promoted=torch.randint(3, VOCABULARY, (width, TOP), generator=generator),
        promoted_logits=torch.rand(width, TOP, generator=generator),
        suppressed=torch.randint(3, VOCABULARY, (width, TOP), generator=generator),
        suppressed_logits=-torch.rand(width, TOP, generator=generator),
        tokens=1000,
    )


ARCHITECTURES = ("standard", "jumprelu", "batchtopk", "topk", "abstopk", "gated")
SEPARABLE = ("standard", "jumprelu", "batchtopk", "gated")


def dictionary(
    hookpoint: str = "resid_post.1",
    architecture: str = "jumprelu",
    *,
    d: int = D,
    seed: int = 3,
    normalisation: str = "none",
    with_statistics: bool = True,
) -> Dictionary:
    """A random dictionary named `tiny`, with unit decoder rows and about a third active."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    rows = normal(WIDTH, d)
    rows /= rows.norm(dim=-1, keepdim=True)
    about: dict[str, Any] = {
        "W_enc": (rows + 0.1 * normal(WIDTH, d)).T.contiguous(),
        "b_enc": 0.1 * normal(WIDTH),
        "W_dec": rows,
        "b_dec": 0.1 * normal(d),
        "config": DictionaryConfig(d, WIDTH, hookpoint, normalisation=normalisation),
        "name": "tiny",
        "statistics": statistics(WIDTH) if with_statistics else None,
    }
    match architecture:
        case "standard":
            return ReLU(**about)
        case "jumprelu":
            return JumpReLU(**about, threshold=0.1 * normal(WIDTH).abs())
        case "batchtopk":
            return BatchTopK(**about, threshold=torch.full((WIDTH,), 0.1), k=16)
        case "topk":
            return TopK(**about, k=16)
        case "abstopk":
            return AbsTopK(**about, k=16)
        case _:
            vectors: dict[str, Any] = {
                name: 0.1 * normal(WIDTH) for name in ("b_gate", "b_mag", "r_mag")
            }
            return Gated(**about, **vectors)


def site_width(model: steer.Model, hookpoint: str) -> int:
    """d of a site, from the activations themselves."""
    ids, mask = model.tokenize(["w5"])
    (value,) = model.collect(ids, mask, [hookpoint]).values()
    return value.shape[-1]


def active_features(model: steer.Model, given: Dictionary, prompt: str = PROMPT) -> list[int]:
    """Features that are active somewhere but not at every token of the prompt."""
    active = model.features(prompt, given).activations != 0
    return (active.any(0) & ~active.all(0)).nonzero().flatten().tolist()


def silent_feature(model: steer.Model, given: Dictionary, prompt: str = PROMPT) -> int:
    """A feature that is active at no token of the prompt."""
    active = (model.features(prompt, given).activations != 0).any(0)
    return int((~active).nonzero()[0])
