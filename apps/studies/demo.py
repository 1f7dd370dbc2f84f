"""`steer demo`: one clamp on the default model, with the proof beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.edits import Clamp, Intervention
from steer.effects.controls.trials import random_trials
from steer.effects.logits.logit_effect import logit_effect
from steer.effects.logits.result import LogitEffect, TokenEffect
from steer.effects.passes.changes import edit_delta
from steer.effects.passes.clean import run_clean
from steer.effects.paths.direct import TokenChange, top_tokens
from steer.maths import metrics
from steer.maths.precision import exact
from steer.model import Model
from steer.runs.generate import Run

DICTIONARY = "smollm2-135m/resid_post.20"
PROMPT = "The old bridge"
FEATURE = 1176
"""Comparatives: it promotes happier, quicker, cheaper, safer, sharper."""
VALUE = "2x max"
SEED = 0
"""Of the sampling noise, and of the random direction."""


@dataclass(frozen=True)
class Demo:
    """The run, the effect on the next token, and that of a random direction of the same norm.

    random_kl: its KL(clean‖edited) in nats; random_promoted: the tokens that it raises most.
    """

    run: Run
    effect: LogitEffect
    random_kl: float
    random_promoted: tuple[TokenChange, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.run.to_dict(),
            "promoted": [_plain(effect) for effect in self.effect.promoted],
            "suppressed": [_plain(effect) for effect in self.effect.suppressed],
            "kl": self.effect.kl.mean().item(),
            "random_direction": {
                "kl": self.random_kl,
                "promoted": [_plain(effect) for effect in self.random_promoted],
            },
        }


def _plain(effect: TokenEffect | TokenChange) -> dict[str, Any]:
    return {"token": effect.token, "delta_logit": effect.delta_logit}


def run_demo(
    model: Model, prompt: str | None = None, feature: int | None = None, value: str | None = None
) -> Demo:
    """Clamp a feature while a prompt is continued, and measure the next token's logits.

    The control is one random direction with the edit's ‖Δ‖ at each token of the prompt.
    """
    text = PROMPT if prompt is None else prompt
    clamp = Clamp(FEATURE if feature is None else feature, value or VALUE)
    intervention = Intervention(DICTIONARY, [clamp])
    run = model.generate(text, intervention, max_new_tokens=40, seed=SEED, repetition_penalty=1.1)
    effect = logit_effect(model, [text], intervention, draws=0)
    return Demo(run, effect, *random_direction(model, text, intervention))


def random_direction(
    model: Model, text: str, intervention: Intervention, dictionaries: Sequence[Dictionary] = ()
) -> tuple[float, tuple[TokenChange, ...]]:
    """KL and promoted tokens of one random direction with the edit's norm at each token."""
    ids, _ = model.tokenize([text])
    (plan,) = model.plans([intervention], dictionaries, clean=slice(0, 1))
    clean = run_clean(model, ids[0], plan.out, every=False)
    delta, _ = edit_delta(clean, plan)
    (trial,) = random_trials(delta, 1, SEED)
    edited = clean.resume(trial.delta.unsqueeze(0).to(clean.x.dtype)).logits[:, -1]
    before = clean.logits[-1:]
    kl = metrics.kl(before, edited).item()
    return kl, top_tokens(model, exact(edited) - exact(before), 10)
