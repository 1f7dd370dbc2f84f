"""What an edit does to the next-token distribution: on the clean text, and on what it wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import metrics
from steer.edits import Intervention, as_tuple
from steer.effects.contrast import Contrast, contrast
from steer.effects.controls import Controls, controls
from steer.effects.metric import Metric, Reference, Tokens, as_metrics, exact, token_ids
from steer.effects.paired import Pair, run_pairs, tokenize_each
from steer.effects.statistics import Interval, interval
from steer.receipt import Receipt

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


@dataclass(frozen=True)
class TargetEffect:
    """A chosen token at the last position: changes with intervals; mean rank (0 is likeliest)."""

    token: str
    id: int
    delta_logit: Interval
    delta_logprob: Interval
    rank: float
    rank_edited: float


@dataclass(frozen=True, eq=False)
class Forced:
    """Clean and edited model reading the same continuation: positions that predict its tokens.

    on_clean: the clean model's own continuation, so that any divergence is the edit's push on
        these very positions; on_edited: what the edited model wrote. Where the two diverge alike
        on both, the edit pushes logits; where mostly on the second, the text itself has drifted.
    """

    on_clean: tuple[Contrast, ...]
    on_edited: tuple[Contrast, ...]

    def to_frame(self) -> pandas.DataFrame:
        """One row a text and generated position."""
        import pandas

        parts = [
            part.to_frame().assign(text=name, prompt=number)
            for name, several in (("clean", self.on_clean), ("edited", self.on_edited))
            for number, part in enumerate(several)
        ]
        return pandas.concat(parts, ignore_index=True)


@dataclass(frozen=True, eq=False)
class LogitEffect:
    """Effect on n prompts; at the last token of each where nothing else is said.

    kl [n]: KL(clean‖edited) in nats.
    delta_logit, delta_logprob [n, V]: edited minus clean.
    promoted, suppressed: the tokens whose logit rose and fell most, on average over the prompts.
    receipts: one a prompt.
    positions: one a prompt: every position, on the clean text.
    targets: the chosen tokens; metric: changes [n] of the chosen metric, None if there is none.
    controls: the same size of edit elsewhere; None if not asked for, or for several interventions.
    forced: on continuations, if asked for.
    """

    prompts: tuple[str, ...]
    kl: Tensor
    delta_logit: Tensor
    delta_logprob: Tensor
    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]
    receipts: tuple[Receipt, ...]
    dtype: str
    positions: tuple[Contrast, ...] = ()
    targets: tuple[TargetEffect, ...] = ()
    metric: Tensor | None = None
    controls: Controls | None = None
    forced: Forced | None = None

    def summary(self, *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Means over the prompts with bootstrap intervals, in nats (`metric` in its own unit).

        kl, kl_reverse, js: at the last token; kl_text: mean over all positions; delta_ce: rise of
        the mean loss on the prompt's own tokens.
        """
        per_prompt = {
            "kl": self.kl.double(),
            "kl_reverse": _each(self.positions, lambda c: c.kl_reverse[-1]),
            "js": _each(self.positions, lambda c: c.js[-1]),
            "kl_text": _each(self.positions, lambda c: c.kl.mean()),
            "delta_ce": _each(self.positions, lambda c: c.delta_ce[:-1].mean()),
        }
        if self.metric is not None:
            per_prompt["metric"] = self.metric.double()
        return {name: interval(v, level=level, seed=seed) for name, v in per_prompt.items()}

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
    targets: Tokens = (),
    *,
    metric: Metric | str | Sequence[Metric] | None = None,
    dictionaries: Sequence[Dictionary] = (),
    draws: int = 8,
    continuation: int = 0,
    top: int = 10,
    batch: int = 16,
    seed: int = 0,
    if_silent: str = "warn",
) -> LogitEffect:
    """Run every prompt clean and edited, and compare the logits.

    targets: tokens to report on; metric: such as `LogitDifference(" Mary", " John")`, for the
        edit and its controls (KL for the controls if it is None).
    draws: how many random and matched controls to run; 0 for none.
    continuation: greedy tokens to write, clean and edited, and to read with both models.

    Raises what `Model.plans` and `Model.tokenize` raise, and `InterventionError` for a target
    that is not one token.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    interventions = as_tuple(intervention)
    chosen = token_ids(model, targets)
    measures = None if metric is None else as_metrics(model, metric, len(texts))
    ids = tokenize_each(model, texts)
    found = [
        _last(pair, measures[number] if measures else None)
        for number, pair in enumerate(
            run_pairs(model, ids, interventions, dictionaries, batch=batch)
        )
    ]
    for each in found:
        each.receipt.enforce(if_silent)
    before, after = (torch.stack([getattr(f, n) for f in found]) for n in ("clean", "edited"))
    delta, log_ratio = after - before, metrics.delta_logprob(before, after)
    count = min(top, delta.shape[1])
    rise, fall = delta.mean(0).topk(count), (-delta.mean(0)).topk(count)

    def effects(index: Tensor) -> tuple[TokenEffect, ...]:
        change, ratio = delta.mean(0), log_ratio.mean(0)
        return tuple(
            TokenEffect(model.token(i), i, change[i].item(), ratio[i].item())
            for i in index.tolist()
        )

    single = interventions[0] if len(interventions) == 1 and draws else None
    return LogitEffect(
        prompts=texts,
        kl=metrics.kl(before, after),
        delta_logit=delta,
        delta_logprob=log_ratio,
        promoted=effects(rise.indices),
        suppressed=effects(fall.indices),
        receipts=tuple(each.receipt for each in found),
        dtype=model.dtype,
        positions=tuple(each.contrast for each in found),
        targets=tuple(_target(model, i, before, after, delta, log_ratio, seed) for i in chosen),
        metric=None if measures is None else torch.tensor([each.metric for each in found]),
        controls=None
        if single is None
        else controls(
            model,
            texts,
            single,
            dictionaries=dictionaries,
            metric=measures or "kl",
            draws=draws,
            seed=seed,
        ),
        forced=_forced(model, texts, ids, interventions, dictionaries, continuation, batch)
        if continuation
        else None,
    )


@dataclass(frozen=True, eq=False)
class _Last:
    """What is kept of one pair: last logits [V] on the CPU, and everything per position."""

    clean: Tensor
    edited: Tensor
    contrast: Contrast
    metric: float
    receipt: Receipt


def _last(pair: Pair, metric: Metric | None) -> _Last:
    change = float("nan")
    if metric is not None:
        reference = Reference.of(pair.clean, pair.ids, 0, metric.every)
        kept = pair.edited if metric.every else pair.edited[-1:]
        change = metric.change(kept.unsqueeze(0), reference).item()
    return _Last(
        clean=exact(pair.clean[-1]).cpu(),
        edited=exact(pair.edited[-1]).cpu(),
        contrast=contrast(pair.clean, pair.edited, pair.ids),
        metric=change,
        receipt=pair.receipt,
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
    )


def _forced(
    model: Model,
    prompts: Sequence[str],
    ids: Sequence[Tensor],
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary],
    tokens: int,
    batch: int,
) -> Forced:
    runs = [
        model.generate(
            prompt,
            interventions,
            max_new_tokens=tokens,
            temperature=0,
            dictionaries=dictionaries,
            if_silent="ignore",
        )
        for prompt in prompts
    ]
    lengths = [len(each) for each in ids]

    def read(continuations: Iterable[tuple[int, ...]]) -> tuple[Contrast, ...]:
        texts = [
            torch.cat([each, torch.tensor(more, dtype=each.dtype, device=each.device)])
            for each, more in zip(ids, continuations, strict=True)
        ]
        pairs = run_pairs(
            model, texts, interventions, dictionaries, prompt_lengths=lengths, batch=batch
        )
        return tuple(
            contrast(pair.clean, pair.edited, pair.ids).tail(length - 1)
            for pair, length in zip(pairs, lengths, strict=True)
        )

    return Forced(read(run.baseline.ids for run in runs), read(run.ids for run in runs))


def _each(contrasts: Sequence[Contrast], value: Any) -> Tensor:
    return torch.stack([value(each).double() for each in contrasts])
