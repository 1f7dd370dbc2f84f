"""`steer demo`: one clamp on the default model, with the proof beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from apps.render import effect_view, run_view
from steer.edits import Clamp, Intervention
from steer.effects.logit_result import LogitEffect, TokenEffect
from steer.effects.logits import logit_effect
from steer.model import Model
from steer.runs import Run

DICTIONARY = "smollm2-135m/resid_post.20"
PROMPT = "The old bridge"
FEATURE = 1176
"""Comparatives: it promotes happier, quicker, cheaper, safer, sharper."""
VALUE = "2x max"


@dataclass(frozen=True)
class Demo:
    """The run and the effect on the next token."""

    run: Run
    effect: LogitEffect

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.run.to_dict(),
            "promoted": [_plain(effect) for effect in self.effect.promoted],
            "suppressed": [_plain(effect) for effect in self.effect.suppressed],
        }

    def render(self) -> RenderableType:
        entry = self.run.receipt[0]
        head = Text(f"{entry.kind} feature {entry.feature} of {entry.dictionary}")
        return Group(head, run_view(self.run), effect_view(self.effect))


def _plain(effect: TokenEffect) -> dict[str, Any]:
    return {"token": effect.token, "delta_logit": effect.delta_logit}


def run_demo(
    model: Model, prompt: str | None = None, feature: int | None = None, value: str | None = None
) -> Demo:
    """Clamp a feature while a prompt is continued, and measure the next token's logits."""
    text = PROMPT if prompt is None else prompt
    clamp = Clamp(FEATURE if feature is None else feature, value or VALUE)
    intervention = Intervention(DICTIONARY, [clamp])
    run = model.generate(text, intervention, max_new_tokens=40, seed=0, repetition_penalty=1.1)
    return Demo(run, logit_effect(model, [text], intervention, draws=0))
