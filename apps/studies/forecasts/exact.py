"""What pushes really do: the model run with each of them, and what is kept of it.

A push is the decoder row of a feature, at one length, added at every token. Kept are changes of the
normed final residual, of which the logits are a linear function, and KL(clean‖edited).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.effects.passes.clean import run_clean
from steer.forecasts.fit import median_norm, site_written, unit_rows
from steer.lm.hookpoints import Hookpoint
from steer.lm.unembedding import norm_of
from steer.maths.precision import exact
from steer.model import Model

_ROWS, _WHOLE = 64, 8
"""Pushes at once, where the last token is read and where all are."""


@dataclass(frozen=True, eq=False)
class Exact:
    """Of t texts, n features and l lengths.

    changes [l, t, n, d]: of the normed final residual: at the last token, or mean over all but the
        first. kl [l, t, n]: nats, likewise; spread [l, t, n]: deviation of its logarithm over
        those tokens. shares [l]: lengths of the pushes, of the stream's median norm.
    """

    changes: Tensor
    kl: Tensor
    spread: Tensor
    shares: Tensor

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        named = {name: getattr(self, name) for name in ("kl", "spread", "shares")}
        save_file({"changes": self.changes.half(), **named}, str(path))

    @classmethod
    def load(cls, path: Path) -> Exact:
        return cls(**load_file(str(path)))


def joined(paths: Sequence[Path]) -> Exact:
    """Of several files with different lengths."""
    parts = [Exact.load(path) for path in paths]
    names = ("changes", "kl", "spread", "shares")
    return Exact(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@torch.inference_mode()
def measured(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    texts: Sequence[str],
    shares: Sequence[float],
    *,
    last: bool,
) -> Exact:
    """At the last token of each text, or at all but the first."""
    units, norm = unit_rows(dictionary, features), median_norm(model, dictionary)
    changes_of = [
        [_of_text(model, dictionary, units * (share * norm), text, last) for text in texts]
        for share in shares
    ]
    changes, kl, spread = (
        torch.stack([torch.stack([text[part] for text in texts_]) for texts_ in changes_of])
        for part in range(3)
    )
    return Exact(changes, kl, spread, torch.tensor(shares))


def _of_text(
    model: Model, dictionary: Dictionary, pushes: Tensor, text: str, last: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Changes [n, d], KL [n] and its spread [n]."""
    norm, final = norm_of(model), model.site(Hookpoint(model.anatomy.depth - 1, "resid_post"))
    unembedding = exact(model.module.get_output_embeddings().weight)
    ids, _ = model.tokenize([text])
    clean = run_clean(model, ids[0], model.site(site_written(model, dictionary)), [final])
    counted = slice(-1, None) if last else slice(1, None)
    before = norm(clean.others[final][counted])
    clean_log = (before @ unembedding.T).log_softmax(-1)
    parts = []
    for part in pushes.split(_ROWS if last else _WHOLE):
        delta = part[:, None].expand(-1, clean.length, -1).to(clean.x.dtype)
        after = norm(clean.resume(delta, sites=[final]).sites[0][:, counted])
        log = (after @ unembedding.T).log_softmax(-1)
        kl = (clean_log.exp() * (clean_log - log)).sum(-1).clamp(min=1e-9)
        spread = kl.log().std(1) if kl.shape[1] > 1 else torch.zeros(len(part))
        parts.append(((after - before).mean(1), kl.mean(1), spread))
    changes, kls, spreads = (torch.cat(blocks).float().cpu() for blocks in zip(*parts, strict=True))
    return changes, kls, spreads
