"""One forward pass over some rows of a running batch, each under plans of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from steer.lm.language_model import LanguageModel
from steer.lm.passes.resumed import Takes
from steer.lm.span import Span
from steer.runs.few_rows import quick_rows
from steer.serving.rows_cache import RowsCache
from steer.splice.hooked import hooked
from steer.splice.one_pass import OnePass
from steer.splice.record import Record


def forward(
    model: LanguageModel,
    ids: Sequence[Sequence[int]],
    lengths: Sequence[int],
    cache: RowsCache,
    passes: Mapping[int, OnePass],
    *,
    keep: int,
    quick: bool = True,
) -> Tensor:
    """Logits [b, s, V] behind the new tokens ids [b, s] of rows whose keys and values are in cache.

    lengths: how many tokens of each row are in the cache already.
    passes: batch row -> what its plans do.
    keep: of how many last tokens logits are wanted; 0 is all.
    quick: whether a few tokens may be computed as `quick_rows` does, which differs by rounding.
    """
    new = torch.tensor(ids, device=model.device)
    read = torch.tensor(lengths, device=model.device).unsqueeze(1)
    takes = Takes.of(model.module)
    options: dict[str, Any] = {takes.cache: cache, **takes.options(True, keep)}
    if "position_ids" in signature(model.module.forward).parameters:
        options["position_ids"] = read + torch.arange(new.shape[1], device=model.device)
    if min(lengths) < cache.columns:  # no mask where it would mask nothing, as transformers does
        places = torch.arange(cache.columns + new.shape[1], device=model.device)
        options["attention_mask"] = (places >= cache.columns - read).long()
    few = quick_rows(new.numel()) if quick else nullcontext()
    with hooked(model.module, passes), few:
        output = model.module(input_ids=new, **options)
    logits: Tensor = output.logits
    return logits


def span_of(ids: Sequence[int], start: int, prompt_length: int, special: Tensor) -> Span:
    """The tokens ids [s] of one text, the first of them at position `start` of it."""
    device = special.device
    places = torch.arange(start, start + len(ids), device=device).unsqueeze(0)
    return Span(
        absolute=places,
        real=torch.ones_like(places, dtype=torch.bool),
        prompt_length=torch.tensor([prompt_length], device=device),
        ids=torch.tensor([ids], device=device),
        special=special,
    )


def end_to_end(passes: Sequence[Sequence[Record]]) -> list[Record]:
    """A text read in several passes, as records of one."""
    return [_joined(parts) for parts in zip(*passes, strict=True)]


def _joined(parts: Sequence[Record]) -> Record:
    if len(parts) == 1:
        return parts[0]
    by_token = [field.name for field in fields(Record) if field.name not in ("wrote", "site")]
    joined = {name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in by_token}
    wrote = parts[0].wrote
    if wrote.dim() == 4:
        wrote = torch.cat([part.wrote for part in parts], dim=1)
    return Record(**joined, wrote=wrote, site=parts[0].site)
