"""Which features dictionaries of other seeds have too, and what that says of one more seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dictionaries.beside.stability import RETURNS, Stability
from dictionaries.extras import need

NEAREST = 4
"""Rows of another seed that span the subspace a feature is looked for in."""
BESIDE = 3
_ROWS = 1024


def unit(rows: Tensor) -> Tensor:
    """Rows [n, d] of length 1."""
    rows = rows.float()
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def cosines(rows: Tensor, seeds: Sequence[Tensor]) -> Tensor:
    """Cosine of each row with the nearest row of each seed, [n, seeds]."""
    return torch.stack([_nearest_cosine(unit(rows), unit(others)) for others in seeds], dim=1)


def _nearest_cosine(rows: Tensor, others: Tensor) -> Tensor:
    return torch.cat([(part @ others.T).amax(1) for part in rows.split(_ROWS)])


def chances(seen: Tensor, returned: Tensor, asked: Tensor) -> Tensor:
    """Probability [n] that a feature returns, by a logistic regression on cosines.

    seen [m, s], returned [m]: cosines in s seeds, and whether one more had the feature, to fit it
        to. asked [n, s]: cosines in s seeds of those that are asked about.
    """
    need("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if returned.all() or not returned.any():
        return torch.full((len(asked),), returned.float().mean().item())
    fitted = make_pipeline(StandardScaler(), LogisticRegression())
    fitted.fit(_described(seen).numpy(), returned.numpy())
    return torch.from_numpy(fitted.predict_proba(_described(asked).numpy())[:, 1]).float()


def _described(seen: Tensor) -> Tensor:
    """What a feature's cosines [n, s] are summed up by, [n, 4], whatever s is."""
    seen = seen.double()
    returned = (seen >= RETURNS).double()
    return torch.stack([seen.mean(1), seen.amin(1), seen.amax(1), returned.mean(1)], dim=1)


def one_more(among: Tensor) -> Tensor:
    """Chance [n] that one more seed has each feature, from its cosines [n, s] in s ≥ 3 seeds.

    Each seed in turn is what the others are fitted to.
    """
    s = among.shape[1]
    left = [[other for other in range(s) if other != seed] for seed in range(s)]
    seen = torch.cat([among[:, others] for others in left])
    returned = torch.cat([among[:, seed] >= RETURNS for seed in range(s)])
    return torch.stack([chances(seen, returned, among[:, others]) for others in left]).mean(0)


def spans(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Share [n] of each row's squared length in the span of its nearest rows of another seed,
    whichever way they point, and that span's orthonormal rows [n, k, d].
    """
    theirs, shares, bases = unit(others), [], []
    for mine in unit(rows).split(_ROWS):
        index = (mine @ theirs.T).abs().topk(NEAREST, dim=1).indices
        basis = torch.linalg.qr(theirs[index].transpose(1, 2)).Q.transpose(1, 2)
        shares.append((basis @ mine.unsqueeze(2)).squeeze(2).square().sum(1))
        bases.append(basis)
    return torch.cat(shares), torch.cat(bases)


def stability(
    rows: Tensor, seeds: Sequence[Tensor], samples: int, own_samples: int | None = None
) -> Stability:
    """Of decoder rows [m, d] against those of other seeds, three or more."""
    among = cosines(rows, seeds)
    mine = unit(rows)
    share, inside = torch.zeros(len(rows)), torch.zeros(len(rows), len(rows))
    for others in seeds:
        part, bases = spans(rows, others)
        share += part / len(seeds)
        for target, basis in zip(inside.split(256), bases.split(256), strict=True):
            target += torch.einsum("nkd,md->nkm", basis, mine).square().sum(1) / len(seeds)
    inside.fill_diagonal_(-1)
    return Stability(
        chance=one_more(among),
        cosine=among.mean(1).clamp(min=0),
        share=share,
        beside=inside.topk(BESIDE, dim=1).indices,
        seeds=len(seeds),
        samples=samples,
        own_samples=own_samples,
    )
