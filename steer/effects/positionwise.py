"""Two runs over the same tokens, position by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from steer.maths import metrics
from steer.maths.precision import exact
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas


_SHOWN = 5
"""How many promoted and suppressed tokens are kept of each position."""


@dataclass(frozen=True, eq=False, repr=False)
class Contrast(Shown):
    """Edited against clean at each of p positions, in nats.

    kl: KL(clean‖edited); kl_reverse: KL(edited‖clean); js: Jensen-Shannon divergence.
    delta_ce: rise of the loss of the token that follows; NaN after the last token.
    rank, rank_edited: places of the following token among all (0 is likeliest); -1 after the last.
    top, top_edited: ids of the likeliest tokens.
    promoted, suppressed [p, 5]: ids of the tokens whose logits rise and fall most.
    delta_logit, delta_logprob [p, k]: edited minus clean of k chosen tokens, in their order.
    tokens: ids at the positions.
    """

    tokens: Tensor
    kl: Tensor
    kl_reverse: Tensor
    js: Tensor
    delta_ce: Tensor
    rank: Tensor
    rank_edited: Tensor
    top: Tensor
    top_edited: Tensor
    promoted: Tensor
    suppressed: Tensor
    delta_logit: Tensor
    delta_logprob: Tensor

    _columns: ClassVar = ("position", "token", "kl", "js", "delta_ce", "rank", "rank_edited")

    def _title(self) -> str:
        return f"Contrast: edited against clean at {len(self.tokens)} positions, nats"

    def tail(self, start: int) -> Contrast:
        """The positions from `start` on."""
        return Contrast(**{f.name: getattr(self, f.name)[start:] for f in fields(self)})

    def to_frame(self) -> pandas.DataFrame:
        """One row a position."""
        import pandas

        columns = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        return pandas.DataFrame({"position": range(len(self.tokens)), **columns})

    def to_dict(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        data = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        return data | {"delta_ce": [None if x != x else x for x in data["delta_ce"]]}


def contrast(clean: Tensor, edited: Tensor, ids: Tensor, targets: Sequence[int] = ()) -> Contrast:
    """From the logits [s, V] of two runs over the same ids [s]; targets: the chosen tokens."""
    before, after = exact(clean), exact(edited)
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    mixture = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    following = torch.cat([ids[1:], ids[:1]]).unsqueeze(-1)
    change, chosen = metrics.change(before, after), list(targets)
    log_ratio = metrics.change(p, q)
    shown = min(_SHOWN, change.shape[-1])
    last = torch.arange(len(ids), device=ids.device) == len(ids) - 1
    delta_ce = -log_ratio.gather(-1, following).squeeze(-1)

    def rank(logits: Tensor) -> Tensor:
        places = (logits > logits.gather(-1, following)).sum(-1)
        return torch.where(last, -1, places).cpu()

    return Contrast(
        tokens=ids.cpu(),
        kl=metrics.divergence(p, q).cpu(),
        kl_reverse=metrics.divergence(q, p).cpu(),
        js=(metrics.divergence(p, mixture) / 2 + metrics.divergence(q, mixture) / 2).cpu(),
        delta_ce=torch.where(last, torch.nan, delta_ce).cpu(),
        rank=rank(before),
        rank_edited=rank(after),
        top=before.argmax(-1).cpu(),
        top_edited=after.argmax(-1).cpu(),
        promoted=change.topk(shown).indices.cpu(),
        suppressed=(-change).topk(shown).indices.cpu(),
        delta_logit=change[:, chosen].cpu(),
        delta_logprob=log_ratio[:, chosen].cpu(),
    )
