"""Interpretation by a judge: a language model explains a feature, and predicts it from that.

Bills et al. 2023 and the paper (section 3): a model reads the feature's strongest fragments and
explains them; given only the explanation it then simulates the activation of each token, 0 to 10,
and the score is the correlation with the true ones. Detection (Paulo et al. 2024) is cheaper: it
picks the fragments where the feature is active out of as many where it is not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.interpretation.detectors import Activity

Judge = Callable[[str], str]
"""A prompt -> the judge's reply."""


@dataclass(frozen=True)
class Fragment:
    """Consecutive tokens and the feature's activation at each, 0 where it is silent."""

    pieces: tuple[str, ...]
    strengths: tuple[float, ...]

    @property
    def active(self) -> bool:
        return max(self.strengths) > 0

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    def marked(self) -> str:
        """The text with «» around tokens of at least half the strongest activation."""
        bar = max(self.strengths) / 2
        pairs = zip(self.pieces, self.strengths, strict=True)
        joined = "".join(f"«{piece}»" if s > 0 and s >= bar else piece for piece, s in pairs)
        return " ".join(joined.split())


@dataclass(frozen=True)
class Detection:
    """How well the judge told active fragments from silent ones."""

    precision: float
    recall: float
    f1: float
    fragments: int


def fragments(
    activity: Activity,
    tokens: Tensor,
    texts: Sequence[str],
    feature: int,
    *,
    count: int = 10,
    length: int = 24,
    seed: int = 0,
) -> tuple[list[Fragment], list[Fragment], list[Fragment]]:
    """To explain with, to be detected, and silent ones; `count` of each where there are enough.

    The first are the strongest of the text that chooses, the others are drawn from the text that
    judges: active ones at random, and ones where the feature is silent throughout.
    tokens [contexts, context length]; texts: of every token id. Raises `SteerError` if the
    feature is silent in either part.
    """
    strengths = torch.zeros(tokens.numel())
    mine = activity.feature == feature
    strengths[activity.position[mine].long()] = activity.value[mine].float()
    strengths = strengths.view(tokens.shape)
    draw = random.Random(seed * 1_000_003 + feature)

    def cut(position: int) -> Fragment:
        row, at = divmod(position, tokens.shape[1])
        start = max(0, min(at - 2 * length // 3, tokens.shape[1] - length))
        span = slice(start, start + length)
        pieces = tuple(texts[i] for i in tokens[row, span].tolist())
        return Fragment(pieces, tuple(strengths[row, span].tolist()))

    flat = strengths.flatten()
    chosen = (flat * activity.fit).topk(min(4 * count, flat.numel()))
    strongest = [p for v, p in zip(*map(Tensor.tolist, chosen), strict=True) if v > 0]
    judged = ((flat > 0) & activity.heldout).nonzero().flatten().tolist()
    if not strongest or not judged:
        raise SteerError(f"feature {feature} is silent in this text; give another, or more text")
    others = activity.heldout.nonzero().flatten().tolist()
    drawn = (cut(p) for p in draw.sample(others, min(20 * count, len(others))))
    silent = [fragment for fragment in drawn if not fragment.active][:count]
    active = [cut(p) for p in draw.sample(judged, min(count, len(judged)))]
    return _distinct([cut(p) for p in strongest])[:count], active, silent


def explain(judge: Judge, examples: Sequence[Fragment]) -> str:
    """The judge's explanation of the fragments, on one line."""
    shown = "\n".join(f"{n}. {example.marked()}" for n, example in enumerate(examples, 1))
    reply = judge(
        "A feature of a language model is active at the tokens in «» of these fragments:\n\n"
        f"{shown}\n\nIn one short phrase, say what these tokens have in common. "
        "Reply with the phrase only."
    )
    phrase = next((line.strip() for line in reply.splitlines() if line.strip()), "")
    if not phrase:
        raise SteerError("the judge gave no explanation; try another model")
    return phrase[:200].rstrip(".").strip("\"'")


def detect_with(
    judge: Judge,
    explanation: str,
    active: Sequence[Fragment],
    silent: Sequence[Fragment],
    *,
    seed: int = 0,
) -> Detection:
    """Precision and recall of the judge's choice among active and silent fragments, shuffled."""
    shuffled = [*active, *silent]
    random.Random(seed).shuffle(shuffled)
    shown = "\n".join(f"{n}. {fragment.text}" for n, fragment in enumerate(shuffled, 1))
    reply = judge(
        f"A feature of a language model is described as: {explanation}\n\n"
        f"In which of these fragments is it active?\n\n{shown}\n\n"
        "Reply with their numbers, separated by commas, or with none."
    )
    named = {int(n) for n in re.findall(r"\d+", reply)} & set(range(1, len(shuffled) + 1))
    true = {n for n, fragment in enumerate(shuffled, 1) if fragment.active}
    hits = len(named & true)
    precision = hits / len(named) if named else 0.0
    recall = hits / len(true) if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return Detection(precision, recall, f1, len(shuffled))


def simulate(judge: Judge, explanation: str, shown: Sequence[Fragment]) -> float:
    """Correlation over all tokens of simulated activations, 0 to 10, with the true ones.

    NaN where either does not vary. Raises `SteerError` for a reply with no numbers in it.
    """
    simulated: list[float] = []
    for fragment in shown:
        listed = "\n".join(f"{n}. {piece!r}" for n, piece in enumerate(fragment.pieces, 1))
        reply = judge(
            f"A feature of a language model is described as: {explanation}\n\n"
            "Say how active it is at each of these tokens, from 0 to 10.\n\n"
            f"{listed}\n\nReply with a line per token: its number, a colon, the activation."
        )
        values = dict(re.findall(r"(\d+)\s*[:.)\t]\s*(\d+(?:\.\d+)?)", reply))
        if not values:
            raise SteerError(f"the judge's reply has no activations in it: {reply[:80]!r}")
        given = (float(values.get(str(n), 0)) for n in range(1, len(fragment.pieces) + 1))
        simulated += [min(10.0, value) for value in given]
    true = [value for fragment in shown for value in fragment.strengths]
    return torch.corrcoef(torch.tensor([simulated, true]))[0, 1].item()


def _distinct(cuts: Sequence[Fragment]) -> list[Fragment]:
    return list({fragment.text: fragment for fragment in cuts}.values())
