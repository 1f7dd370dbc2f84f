"""Token contexts of given texts, and activations on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from steer.errors import PromptError
from steer.lm.language_model import LanguageModel
from steer.lm.prompts import as_texts

TOKENS, CONTEXT = 4096, 256
OUTLIER_MEDIANS = 4.0
BATCH = 4
_LEAST_TOKENS = 32


def contexts(
    model: LanguageModel,
    texts: Sequence[str] | str,
    tokens: int = TOKENS,
    context: int = CONTEXT,
    *,
    bos: bool | None = None,
) -> Tensor:
    """Token ids [n, length] of the texts joined, with a BOS each if the tokenizer adds one.

    bos: whether to begin with a BOS, whatever the tokenizer does.
    Raises `PromptError` for too few tokens.
    """
    joined: list[int] = []
    for text in as_texts(texts):
        joined += model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(joined) >= tokens:
            break
    joined = joined[:tokens]
    if len(joined) < _LEAST_TOKENS:
        raise PromptError(
            f"the texts have {len(joined)} tokens; at least {_LEAST_TOKENS} are needed"
        )
    length = min(context, model.context - 1, len(joined) // 2)
    ids = torch.tensor(joined[: len(joined) // length * length], device=model.device)
    ids = ids.view(-1, length)
    return with_bos(model, ids) if (adds_bos(model) if bos is None else bos) else ids


def adds_bos(model: LanguageModel) -> bool:
    """Whether the tokenizer begins a text with a BOS."""
    bos = model.tokenizer.bos_token_id
    return bos is not None and model.tokenizer("a")["input_ids"][0] == bos


def with_bos(model: LanguageModel, ids: Tensor) -> Tensor:
    """ids [n, s] with a BOS before each."""
    return torch.cat([ids.new_full((len(ids), 1), model.tokenizer.bos_token_id), ids], dim=1)


def collect(model: LanguageModel, ids: Tensor, *hookpoints: str) -> list[Tensor]:
    """float32 activations [n, length, d] at each hookpoint."""
    parts = [
        model.collect(rows, torch.ones_like(rows), list(hookpoints)) for rows in ids.split(BATCH)
    ]
    return [torch.cat([part[name].float() for part in parts]) for name in hookpoints]
