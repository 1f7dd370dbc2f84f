"""A tiny random Llama that reads English: byte-level BPE made in code, so corpora make sense."""

from __future__ import annotations

import inspect
import textwrap
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from apps.reproduce.settings import Settings

NAMES = ("Mary", "John", "Tom", "James", "Sarah", "Anna", "Paul", "David")
CORPORA = (("python", 1.0),)
"""The standard library's own source: nothing is downloaded."""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """600 tokens; each of `NAMES` after a space is one."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    names = " ".join(f"When {a} and {b} went to the store," for a in NAMES for b in NAMES) * 9
    backend.train_from_iterator([inspect.getsource(textwrap), names], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")


def model_folder(folder: Path) -> Path:
    """The model with its tokenizer, saved as `steer.load` takes it; the same weights every time."""
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(5)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def settings(folder: Path, **changes: Any) -> Settings:
    """A fast run of a twentieth of the size, on the tiny model, in `folder`."""
    model = folder / "model"
    if not model.exists():
        model_folder(model)
    defaults: dict[str, Any] = {
        "model": str(model),
        "fast": True,
        "scale": 0.05,
        "tokens": 30_000,
        "corpora": CORPORA,
        "out": folder / "results",
        "cache": folder / "cache",
    }
    return Settings(**{**defaults, **changes})
