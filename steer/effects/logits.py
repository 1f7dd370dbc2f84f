"""What an edit does to the next-token distribution, on the clean text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine, metrics, receipt
from steer.edits import Intervention, as_tuple
from steer.receipt import Receipt
from steer.runs import reorder

if TYPE_CHECKING:
    import pandas

    from steer.model import Model


@dataclass(frozen=True)
class TokenEffect:
    """A token and how much its logit changed, averaged over the prompts."""

    token: str
    id: int
    delta_logit: float
    delta_logprob: float


@dataclass(frozen=True, eq=False)
class LogitEffect:
    """Effect at the last token of each of n prompts.

    kl [n]: KL(clean‖edited) in nats.
    delta_logit, delta_logprob [n, V]: edited minus clean.
    promoted, suppressed: the tokens whose logit rose and fell most, on average over the prompts.
    receipts: one a prompt.
    """

    prompts: tuple[str, ...]
    kl: Tensor
    delta_logit: Tensor
    delta_logprob: Tensor
    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]
    receipts: tuple[Receipt, ...]
    dtype: str

    def to_frame(self, tokens: int = 10) -> pandas.DataFrame:
        """One row per prompt and token, for the `tokens` most promoted and most suppressed."""
        import pandas

        rows: list[dict[str, Any]] = []
        for number, prompt in enumerate(self.prompts):
            for effect in (*self.promoted[:tokens], *self.suppressed[:tokens]):
                rows.append(
                    {
                        "prompt": prompt,
                        "kl": self.kl[number].item(),
                        "token": effect.token,
                        "id": effect.id,
                        "delta_logit": self.delta_logit[number, effect.id].item(),
                        "delta_logprob": self.delta_logprob[number, effect.id].item(),
                    }
                )
        return pandas.DataFrame(rows)

    @property
    def frame(self) -> pandas.DataFrame:
        """`to_frame()` with its defaults."""
        return self.to_frame()


def logit_effect(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention | Sequence[Intervention],
    *,
    dictionaries: Sequence[Dictionary] = (),
    top: int = 10,
    batch: int = 16,
    if_silent: str = "warn",
) -> LogitEffect:
    """Run every prompt clean and edited, and compare the logits at its last token.

    Clean and edited rows go through one batch, so that nothing but the edit differs.
    Raises what `Model.plans` and `Model.tokenize` raise.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    interventions = as_tuple(intervention)
    clean, edited, receipts = [], [], []
    for start in range(0, len(texts) or 1, batch):
        part = list(texts[start : start + batch])
        rows = _pair(model, part, interventions, dictionaries)
        clean.append(rows[0])
        edited.append(rows[1])
        receipts += rows[2]
    for each in receipts:
        each.enforce(if_silent)
    before, after = torch.cat(clean), torch.cat(edited)
    delta, log_ratio = after - before, metrics.delta_logprob(before, after)
    rise, fall = delta.mean(0).topk(top), (-delta.mean(0)).topk(top)

    def effects(ids: Tensor) -> tuple[TokenEffect, ...]:
        change, ratio = delta.mean(0), log_ratio.mean(0)
        return tuple(
            TokenEffect(model.token(i), i, change[i].item(), ratio[i].item()) for i in ids.tolist()
        )

    return LogitEffect(
        prompts=texts,
        kl=metrics.kl(before, after),
        delta_logit=delta,
        delta_logprob=log_ratio,
        promoted=effects(rise.indices),
        suppressed=effects(fall.indices),
        receipts=tuple(receipts),
        dtype=model.dtype,
    )


def _pair(
    model: Model,
    prompts: list[str],
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary],
) -> tuple[Tensor, Tensor, list[Receipt]]:
    """Last-token logits [n, V] clean and edited, and a receipt a prompt."""
    n = len(prompts)
    plans = model.plans(interventions, dictionaries, rows=slice(n, 2 * n))
    ids, mask = model.tokenize([*prompts, *prompts])
    with model.lock:
        logits, records = engine.logits(model.nn, ids, mask, plans)
    last = logits[:, -1].float().cpu()
    ordered = reorder([records], plans)
    receipts = []
    for row in range(n):
        tokens = [model.token(token) for token in ids[row][mask[row].bool()].tolist()]
        receipts.append(receipt.build(interventions, ordered, tokens, row=row))
    return last[:n], last[n:], receipts
