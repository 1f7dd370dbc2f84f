"""One forward pass under edits, and the same by hand, as the laws of the splice compare them.

Nothing of the splice's inside is used: what a run did is read off the model by plain hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import steer
from dictionaries.dictionary import Dictionary
from tests.support import plain
from tests.support.plain import PlainSite
from tests.support.tiny import PROMPT

SITE = "resid_post.1"


@dataclass(frozen=True, eq=False)
class Pass:
    """Of n prompts: logits [n, s, V], the input of block 2 [n, s, d], real tokens [n, s]."""

    logits: Tensor
    residual: Tensor
    real: Tensor
    receipts: tuple[steer.Receipt, ...] = ()


def intervention(*edits: steer.Edit, error: Any = "keep") -> steer.Intervention:
    return steer.Intervention("tiny", edits, error)


@contextmanager
def watched(module: Any) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
    """Logits and the input of block 2, of the first batch that was run."""

    def seen() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = module.get_output_embeddings()(hidden[0])
        return logits, residual[0]

    norm, block = plain.final_norm(module), plain.block(module, 2)
    with plain.recorded(norm) as hidden, plain.recorded(block, "input") as residual:
        yield seen


def steered(
    model: steer.Model,
    interventions: steer.Intervention | Sequence[steer.Intervention],
    saes: Dictionary | Sequence[Dictionary],
    prompts: Sequence[str] = (PROMPT,),
) -> Pass:
    """What the model did with the prompts under the edits, which are read before the baselines."""
    given = [saes] if isinstance(saes, Dictionary) else saes
    with watched(model.module) as seen:
        runs = model.generate_batch(
            prompts, [interventions], max_new_tokens=1, dictionaries=given, if_silent="ignore"
        )
    real = model.tokenize(list(prompts))[1].bool()
    return Pass(*seen(), real, tuple(run.receipt for run in runs))


def by_hand(
    module: Any, model: steer.Model, *sites: PlainSite, prompts: Sequence[str] = (PROMPT,)
) -> Pass:
    """The same of a plain model, in a batch of the same size; untouched if there are no sites."""
    ids, mask = model.tokenize(list(prompts))
    with watched(module) as seen:
        plain.logits(module, ids, mask, sites)
    return Pass(*seen(), mask.bool())


def same(one: Pass, other: Pass) -> bool:
    """Bit-equal at every real token."""
    real = one.real
    return torch.equal(one.logits[real], other.logits[real]) and torch.equal(
        one.residual[real], other.residual[real]
    )


def hooks(module: torch.nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
