"""The loss of a model whose site is replaced by something else, context by context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from steer.lm.anatomy import Site
from steer.lm.language_model import LanguageModel
from steer.lm.passes import plain
from steer.lm.passes.resumed import Resume, Takes, clean_pass, resume
from steer.maths import metrics
from steer.progress import Progress

Replacement = Callable[[Tensor], Tensor]
"""Activations [b, s, d] -> what takes their place, of the same shape."""


@torch.inference_mode()
def replacement_losses(
    model: LanguageModel,
    hookpoint: str,
    contexts: Tensor,
    replacements: Mapping[str, Replacement],
    cutoff: float,
    *,
    batch: int = 4,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Mean next-token loss [n] of each context of ids [n, length], in nats; `clean` is untouched.

    Gemma Scope's protocol (Lieberum et al. 2024): the first token and positions whose norm is
    above `cutoff` are left as they are. Position i predicts token i + 1; no padding.
    """
    changes = {name: keeping(change, cutoff) for name, change in replacements.items()}
    losses_of: dict[str, list[Tensor]] = {name: [] for name in ("clean", *replacements)}
    for start in range(0, len(contexts), batch):
        ids = contexts[start : start + batch].long().to(model.device)
        for name, logits in replaced_logits(model, ids, model.site(hookpoint), changes):
            losses_of[name].append(metrics.cross_entropy(logits, ids).mean(-1).cpu())
        if progress:
            progress("measuring loss", min(start + batch, len(contexts)), len(contexts))
    return {name: torch.cat(losses) for name, losses in losses_of.items()}


def keeping(change: Replacement, cutoff: float) -> Replacement:
    """`change` at kept positions of [b, s, d] only, computed in fp32 and cast back."""

    def replacement(x: Tensor) -> Tensor:
        replaced = x.float().norm(dim=-1) <= cutoff
        replaced[:, 0] = False
        return torch.where(replaced.unsqueeze(-1), change(x.float()).to(x.dtype), x)

    return replacement


def replaced_logits(
    model: LanguageModel,
    ids: Tensor,
    site: Site,
    changes: Mapping[str, Replacement],
    x: Tensor | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Logits [b, s, V] of the clean pass over ids [b, s], named `clean`, and of each change.

    A change gets the site's activations in the model's dtype and returns that dtype. At a block's
    output, the blocks up to there run once and only those above it run again.

    x [b, s, d]: the site's activations, if they are known; then those blocks do not run at all.
    """
    mask, below, takes = torch.ones_like(ids), None, Takes.of(model.module)
    if site.hookpoint.kind == "resid_post" and model.anatomy.resumes:
        below = model.anatomy.below(site.hookpoint.layer + 1)
    with model.lock:
        if x is None or below is None:
            (x,), logits, _ = clean_pass(model.nn, ids, mask, [site], keep=0)
        else:
            x = x.to(model.module.dtype)
            logits, _ = resume(model.nn, Resume(ids, mask, below, x, takes=takes))
    yield "clean", logits
    for name, change in changes.items():
        with model.lock:
            if below is None:
                logits = plain.replace(model.nn, ids, mask, site, change)
            else:
                logits, _ = resume(model.nn, Resume(ids, mask, below, change(x), takes=takes))
        yield name, logits
