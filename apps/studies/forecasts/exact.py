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
from steer.forecasts.fit import site_written, unit_rows
from steer.lm.hookpoints import Hookpoint
from steer.lm.unembedding import norm_of
from steer.maths.precision import exact
from steer.model import Model

_ROWS = 64


@dataclass(frozen=True, eq=False)
class Exact:
    """Of t texts, n features and l lengths.

    changes [l, t, n, d]: of the normed final residual: at the last token, or mean over all but the
        first. kl [l, t, n]: nats, likewise; spread [l, t, n]: deviation of its logarithm over
        those tokens.
    """

    changes: Tensor
    kl: Tensor
    spread: Tensor

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"changes": self.changes.half(), "kl": self.kl, "spread": self.spread}, str(path))

    @classmethod
    def load(cls, path: Path) -> Exact:
        return cls(**load_file(str(path)))


@torch.inference_mode()
def measured(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    texts: Sequence[str],
    lengths: Sequence[float],
    *,
    last: bool,
) -> Exact:
    """At the last token of each text, or at all but the first."""
    units = unit_rows(dictionary, features)
    found = [
        [_of_text(model, dictionary, units * length, text, last) for text in texts]
        for length in lengths
    ]
    changes, kl, spread = (
        torch.stack([torch.stack([text[part] for text in texts_]) for texts_ in found])
        for part in range(3)
    )
    return Exact(changes, kl, spread)


def _of_text(
    model: Model, dictionary: Dictionary, pushes: Tensor, text: str, last: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Changes [n, d], KL [n] and its spread [n]."""
    norm, final = norm_of(model), model.site(Hookpoint(model.anatomy.depth - 1, "resid_post"))
    unembedding = exact(model.module.get_output_embeddings().weight)
    ids, _ = model.tokenize([text])
    clean = run_clean(model, ids[0], model.site(site_written(model, dictionary)), [final])
    kept = slice(-1, None) if last else slice(1, None)
    before = norm(clean.others[final][kept])
    clean_log = (before @ unembedding.T).log_softmax(-1)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for part in pushes.split(_ROWS):
        delta = part[:, None].expand(-1, clean.length, -1).to(clean.x.dtype)
        after = norm(clean.resume(delta, sites=[final]).sites[0][:, kept])
        for edited in after:
            log = (edited @ unembedding.T).log_softmax(-1)
            kl = (clean_log.exp() * (clean_log - log)).sum(-1).clamp(min=1e-9)
            spread = kl.log().std() if len(kl) > 1 else kl.new_zeros(())
            rows.append(((edited - before).mean(0), kl.mean(), spread))
    changes, kls, spreads = (torch.stack(each).float().cpu() for each in zip(*rows, strict=True))
    return changes, kls, spreads
