"""Effects on the next-token distribution as values: per prompt, per token, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.edits import Intervention
from steer.effects.controls.controls import Controls
from steer.effects.positionwise import Contrast
from steer.maths.statistics import Interval, interval
from steer.shown import Shown, at, visible
from steer.splice.receipt import Receipt

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True)
class TokenEffect:
    """A token and how much its logit changed, averaged over the prompts."""

    token: str
    id: int
    delta_logit: float
    delta_logprob: float


@dataclass(frozen=True)
class TargetEffect:
    """A chosen token at the last position: changes with intervals; mean rank (0 is likeliest).

    wrong_way: the share of prompts on which its logit moved against the mean change.
    """

    token: str
    id: int
    delta_logit: Interval
    delta_logprob: Interval
    rank: float
    rank_edited: float
    wrong_way: float


@dataclass(frozen=True, eq=False, repr=False)
class Forced(Shown):
    """Clean and edited model reading the same continuation: positions that predict its tokens.

    on_clean: the clean model's own continuation, so that any divergence is the edit's push on
        these very positions; on_edited: what the edited model wrote. Where the two diverge alike
        on both, the edit pushes logits; where mostly on the second, the text itself has drifted.
    """

    on_clean: tuple[Contrast, ...]
    on_edited: tuple[Contrast, ...]

    def _title(self) -> str:
        return f"Forced: {len(self.on_clean)} prompts, read on both continuations"

    def to_frame(self) -> pandas.DataFrame:
        """One row a text and generated position."""
        import pandas

        parts = [
            part.to_frame().assign(text=name, prompt=number)
            for name, several in (("clean", self.on_clean), ("edited", self.on_edited))
            for number, part in enumerate(several)
        ]
        return pandas.concat(parts, ignore_index=True)


@dataclass(frozen=True, eq=False, repr=False)
class LogitEffect(Shown):
    """Effect on n prompts; at the last token of each where nothing else is said.

    kl [n]: KL(clean‖edited) in nats.
    delta_logit, delta_logprob [n, V]: edited minus clean.
    promoted, suppressed: the tokens whose logit rose and fell most, on average over the prompts.
    receipts: one a prompt; interventions: what was done, with their error policies.
    positions: one a prompt: every position, on the clean text, with its chosen tokens.
    targets: the chosen tokens; metric: changes [n] of the chosen metric, None if there is none.
    controls: the same size of edit elsewhere; None if not asked for, or for several interventions.
    forced: on continuations, if asked for.
    remote: the server that ran the edited passes, or `local` if that was rehearsed; empty if none.
    """

    prompts: tuple[str, ...]
    kl: Tensor
    delta_logit: Tensor
    delta_logprob: Tensor
    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]
    receipts: tuple[Receipt, ...]
    dtype: str
    interventions: tuple[Intervention, ...]
    positions: tuple[Contrast, ...] = ()
    targets: tuple[TargetEffect, ...] = ()
    metric: Tensor | None = None
    controls: Controls | None = None
    forced: Forced | None = None
    remote: str = ""

    def _title(self) -> str:
        policies = ", ".join(intervention.error for intervention in self.interventions)
        return (
            f"LogitEffect on {len(self.prompts)} prompts: KL(clean‖edited) "
            f"{self.kl.double().mean().item():.3g} nats, {self.dtype}; "
            f"error {policies}{at(self.remote)}"
        )

    def __repr__(self) -> str:
        lines = [self._title()]
        for name in ("promoted", "suppressed"):
            tokens = [f"{visible(t.token)} {t.delta_logit:+.3g}" for t in getattr(self, name)[:5]]
            lines.append(f"{name:<11}{'  '.join(tokens)}")
        lines += [str(receipt) for receipt in self.receipts[:1]]
        rest = len(self.receipts) - 1
        return "\n".join(lines + ([f"… {rest} more receipts in .receipts"] if rest > 0 else []))

    def plot(self) -> Figure:
        """The tokens that move most, and the effect beside its controls."""
        need("plotly")
        from steer.figures.effects import effect_figure

        return effect_figure(self)

    @property
    def wrong_way(self) -> float | None:
        """Share of prompts that moved the chosen metric against its mean; None without one."""
        return None if self.metric is None else wrong_way(self.metric)

    def summary(self, *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Means over the prompts with bootstrap intervals, in nats (`metric` in its own unit).

        kl, kl_reverse, js: at the last token; kl_text: mean over all positions; delta_ce: rise of
        the mean loss on the prompt's own tokens, of prompts that have more than one.
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
        rises = per_prompt["delta_ce"]
        per_prompt["delta_ce"] = rises[~rises.isnan()]
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


def wrong_way(changes: Tensor) -> float:
    """Share of the changes [n] whose sign is not that of their mean, as of those that are 0."""
    values = changes.double()
    return (~(values * values.mean().sign() > 0)).double().mean().item()


def _each(contrasts: Sequence[Contrast], value: Callable[[Contrast], Tensor]) -> Tensor:
    return torch.stack([value(contrast).double() for contrast in contrasts])
