"""What an edit does to the next-token distribution: on the clean text, and on what it wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention, as_tuple
from steer.edits.rows import of_row
from steer.effects.controls.controls import controls
from steer.effects.defaults import DRAWS
from steer.effects.logits.result import (
    Forced,
    LogitEffect,
    TargetEffect,
    TokenEffect,
    wrong_way,
)
from steer.effects.metric import Metric, Reference, Tokens, as_metrics, token_ids
from steer.effects.passes.paired import Pair, run_pairs
from steer.effects.positionwise import Contrast, contrast
from steer.errors import InterventionError, SteerError
from steer.lm.prompts import as_texts
from steer.lm.remote import Remote, check_remote, ran_at
from steer.lm.remote_jobs import one_call
from steer.maths import metrics
from steer.maths.numbers import check_whole
from steer.maths.precision import exact
from steer.maths.statistics import interval
from steer.model import Model
from steer.splice.receipt import Receipt, check_if_silent


@one_call()
def logit_effect(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention | Sequence[Intervention],
    targets: Tokens = (),
    *,
    metric: Metric | str | Sequence[Metric] | None = None,
    dictionaries: Sequence[Dictionary] = (),
    draws: int | None = None,
    continuation: int = 0,
    top: int = 10,
    batch: int = 16,
    seed: int = 0,
    if_silent: str = "warn",
    remote: Remote = False,
) -> LogitEffect:
    """Run every prompt clean and edited, and compare the logits.

    intervention: positions by row are for the prompts, in their order.
    targets: tokens to report on, also at every position.
    metric: such as `LogitDifference(" Mary", " John")`, for the edit and its controls (KL for the
        controls if it is None).
    draws: how many random and matched controls to run, 8 if nothing is said; 0 for none. Several
        interventions have none.
    continuation: greedy tokens to write, clean and edited, and to read with both models.
    remote: as for `Model.generate`, of every pass but the clean ones that controls are read from.

    Raises what `Model.plans` and `Model.tokenize` raise, `InterventionError` for a target that is
    not one token or if there is no intervention, and `SteerError` for the draws of several.
    """
    check_remote(model.nn, remote)
    check_if_silent(if_silent)
    for name, given, least in (("draws", draws, 0), ("top", top, 1), ("batch", batch, 1)):
        check_whole(name, given, least=least, optional=name == "draws")
    check_whole("continuation", continuation)
    texts = as_texts(prompts)
    interventions = as_tuple(intervention)
    if not interventions:
        raise InterventionError("there is nothing to measure: give at least one intervention")
    if draws and len(interventions) > 1:
        raise SteerError(
            f"draws={draws}: controls are of one intervention, and {len(interventions)} act "
            "together; leave draws out, or put their edits into one"
        )
    chosen = token_ids(model, targets)
    measures = None if metric is None else as_metrics(model, metric, len(texts))
    ids = model.tokenize_each(texts)
    last = [
        _last(pair, measures[number] if measures else None, chosen)
        for number, pair in enumerate(
            run_pairs(model, ids, interventions, dictionaries, batch=batch, remote=remote)
        )
    ]
    for own in last:
        own.receipt.enforce(if_silent)
    before, after = (torch.stack([getattr(f, n) for f in last]) for n in ("clean", "edited"))
    delta, log_ratio = metrics.change(before, after), metrics.delta_logprob(before, after)
    count = min(top, delta.shape[1])
    wanted = DRAWS if draws is None else draws
    return LogitEffect(
        prompts=texts,
        kl=metrics.kl(before, after),
        delta_logit=delta,
        delta_logprob=log_ratio,
        promoted=_tokens(model, delta, log_ratio, delta.mean(0).topk(count).indices),
        suppressed=_tokens(model, delta, log_ratio, (-delta.mean(0)).topk(count).indices),
        receipts=tuple(own.receipt for own in last),
        dtype=model.precision,
        interventions=interventions,
        positions=tuple(own.contrast for own in last),
        targets=tuple(_target(model, i, before, after, delta, log_ratio, seed) for i in chosen),
        metric=None
        if measures is None
        else torch.tensor([own.metric for own in last], dtype=delta.dtype),
        controls=controls(
            model,
            texts,
            interventions[0],
            dictionaries=dictionaries,
            metric=measures or "kl",
            draws=wanted,
            seed=seed,
            remote=remote,
        )
        if wanted and len(interventions) == 1
        else None,
        forced=_forced(model, texts, ids, interventions, dictionaries, continuation, batch, remote)
        if continuation
        else None,
        remote=ran_at(remote),
    )


@dataclass(frozen=True, eq=False)
class _Last:
    """What is kept of one pair: last logits [V] on the CPU, and everything per position."""

    clean: Tensor
    edited: Tensor
    contrast: Contrast
    metric: float
    receipt: Receipt


def _last(pair: Pair, metric: Metric | None, targets: Sequence[int]) -> _Last:
    change = float("nan")
    if metric is not None:
        reference = Reference.of(pair.clean, pair.ids, 0, metric.every)
        logits = pair.edited if metric.every else pair.edited[-1:]
        change = metric.change(logits.unsqueeze(0), reference).item()
    return _Last(
        clean=exact(pair.clean[-1]).cpu(),
        edited=exact(pair.edited[-1]).cpu(),
        contrast=contrast(pair.clean, pair.edited, pair.ids, targets),
        metric=change,
        receipt=pair.receipt,
    )


def _tokens(
    model: Model, delta: Tensor, log_ratio: Tensor, index: Tensor
) -> tuple[TokenEffect, ...]:
    change, ratio = delta.mean(0), log_ratio.mean(0)
    return tuple(
        TokenEffect(model.token(i), i, change[i].item(), ratio[i].item()) for i in index.tolist()
    )


def _target(
    model: Model,
    token: int,
    before: Tensor,
    after: Tensor,
    delta: Tensor,
    log_ratio: Tensor,
    seed: int,
) -> TargetEffect:
    ranks = [
        (logits > logits[:, token, None]).sum(-1).double().mean().item()
        for logits in (before, after)
    ]
    return TargetEffect(
        token=model.token(token),
        id=token,
        delta_logit=interval(delta[:, token], seed=seed),
        delta_logprob=interval(log_ratio[:, token], seed=seed),
        rank=ranks[0],
        rank_edited=ranks[1],
        wrong_way=wrong_way(delta[:, token]),
    )


def _forced(
    model: Model,
    prompts: Sequence[str],
    ids: Sequence[Tensor],
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary],
    tokens: int,
    batch: int,
    remote: Remote,
) -> Forced:
    runs = [
        model.generate(
            prompt,
            of_row(interventions, row, len(prompts)),
            max_new_tokens=tokens,
            temperature=0,
            dictionaries=dictionaries,
            if_silent="ignore",
            remote=remote,
        )
        for row, prompt in enumerate(prompts)
    ]
    lengths = [len(row) for row in ids]

    def read(continuations: Iterable[tuple[int, ...]]) -> tuple[Contrast, ...]:
        texts = [
            torch.cat([row, torch.tensor(more, dtype=row.dtype, device=row.device)])
            for row, more in zip(ids, continuations, strict=True)
        ]
        pairs = run_pairs(
            model,
            texts,
            interventions,
            dictionaries,
            prompt_lengths=lengths,
            batch=batch,
            remote=remote,
        )
        return tuple(
            contrast(pair.clean, pair.edited, pair.ids).tail(length - 1)
            for pair, length in zip(pairs, lengths, strict=True)
        )

    return Forced(read(run.baseline.ids for run in runs), read(run.ids for run in runs))
