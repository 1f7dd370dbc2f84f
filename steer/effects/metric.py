"""What an effect is measured in: one number a run, from its logits.

Every metric is a mean over positions, so that the change an edit makes needs only the positions
from the first changed one on: those before it are the same and cancel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.maths.metrics import divergence
from steer.maths.precision import exact
from steer.model import Model

Tokens = str | int | Sequence[str | int]
"""One token or several: ids, or texts that are a single token each, with their leading space."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The clean run that rows are compared with, from some position on.

    logits [p, V]; following [p]: id of the token that follows each position, -1 after the last.
    length: how many tokens the whole prompt has.
    """

    logits: Tensor
    following: Tensor
    length: int

    @classmethod
    def of(cls, logits: Tensor, ids: Tensor, start: int, every: bool) -> Reference:
        """From a prompt's logits [p, V] and ids [s]: the last position, or all from `start` on."""
        wanted = len(ids) - start if every else 1
        following = torch.cat([ids[1:], ids.new_full((1,), -1)])
        return cls(exact(logits[-wanted:]), following[-wanted:], len(ids))


class Metric(ABC):
    """Logits [b, p, V] -> [b]. `every`: reads every position, not the last alone."""

    every: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    """Whether its gradient vanishes at the clean run, so that gradients say nothing there."""

    @abstractmethod
    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        """The metric of each row; differentiable."""

    def resolve(self, model: Model) -> Self:
        """The same with its tokens as ids of this model."""
        return self

    def change(self, logits: Tensor, reference: Reference) -> Tensor:
        """Edited minus clean, [b]."""
        return self(exact(logits), reference) - self(reference.logits.unsqueeze(0), reference)

    def to_dict(self) -> dict[str, Any]:
        return {"metric": type(self).__name__, **vars(self)}


@dataclass(frozen=True)
class LogitDifference(Metric):
    """Mean logit of the tokens `positive` minus that of `negative` (none: 0), at the last token."""

    positive: Tokens
    negative: Tokens = ()

    def __post_init__(self) -> None:
        _check_some("positive", self.positive)

    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        last = logits[:, -1]
        value = last[:, _ids(self.positive)].mean(-1)
        if self.negative == ():
            return value
        return value - last[:, _ids(self.negative)].mean(-1)

    def resolve(self, model: Model) -> Self:
        return replace(
            self,
            positive=token_ids(model, self.positive),
            negative=token_ids(model, self.negative),
        )


@dataclass(frozen=True)
class LogProbability(Metric):
    """Log of the total probability of the tokens, at the last token, in nats."""

    tokens: Tokens

    def __post_init__(self) -> None:
        _check_some("tokens", self.tokens)

    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        return logits[:, -1].log_softmax(-1)[:, _ids(self.tokens)].logsumexp(-1)

    def resolve(self, model: Model) -> Self:
        return replace(self, tokens=token_ids(model, self.tokens))


@dataclass(frozen=True)
class Divergence(Metric):
    """Divergence from the clean run at the last token, in nats.

    direction: `clean_edited` is KL(clean‖edited), `edited_clean` is KL(edited‖clean).
    """

    direction: Literal["clean_edited", "edited_clean"] = "clean_edited"
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.direction not in ("clean_edited", "edited_clean"):
            raise SteerError(
                f"direction={self.direction!r} is unknown; allowed: clean_edited, edited_clean"
            )

    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        clean = reference.logits[-1:].log_softmax(-1)
        edited = logits[:, -1].log_softmax(-1)
        p, q = (clean, edited) if self.direction == "clean_edited" else (edited, clean)
        return divergence(p, q)


@dataclass(frozen=True)
class Loss(Metric):
    """Mean cross entropy of the prompt's own tokens, in nats. Only its changes are meaningful."""

    every: ClassVar[bool] = True

    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        target = reference.following[:-1].expand(len(logits), -1).unsqueeze(-1)
        log_p = logits[:, :-1].log_softmax(-1).gather(-1, target)
        return -log_p.flatten(1).sum(1) / max(reference.length - 1, 1)


NAMED: dict[str, Metric] = {"kl": Divergence(), "loss": Loss()}


def as_metrics(model: Model, metric: Metric | str | Sequence[Metric], prompts: int) -> list[Metric]:
    """One metric a prompt, resolved. A sequence gives each prompt its own.

    Raises `SteerError` for an unknown name or a sequence of another length, `InterventionError`
    for a text that is not one token.
    """
    if isinstance(metric, str):
        if metric not in NAMED:
            raise SteerError(
                f"metric {metric!r} is unknown; allowed: {', '.join(NAMED)}, or a Metric such as "
                "LogitDifference(' Mary', ' John')"
            )
        metric = NAMED[metric]
    several = [metric] * prompts if isinstance(metric, Metric) else metric
    if not isinstance(several, Sequence) or not all(isinstance(one, Metric) for one in several):
        raise SteerError(
            f"metric={metric!r} is not allowed: give {', '.join(NAMED)}, a Metric such as "
            "LogitDifference(' Mary', ' John'), or a list with one for each prompt"
        )
    if len(several) != prompts:
        raise SteerError(f"{len(several)} metrics were given for {prompts} prompts; give one each")
    return [one.resolve(model) for one in several]


def token_ids(model: Model, tokens: Tokens) -> tuple[int, ...]:
    """Ids of tokens. Raises `InterventionError` for a text that is not exactly one token."""
    return tuple(model.token_id(token) for token in _several(tokens))


def _several(tokens: Tokens) -> tuple[str | int, ...]:
    return (tokens,) if isinstance(tokens, str | int) else tuple(tokens)


def _check_some(name: str, tokens: Tokens) -> None:
    """The mean over no token is no number."""
    if not isinstance(tokens, str | int | Sequence) or not _several(tokens):
        raise SteerError(f"{name}={tokens!r} is not allowed: give a token or several, such as ' a'")


def _ids(tokens: Tokens) -> list[int]:
    """Each once, though it was given as a text and as its id."""
    several = _several(tokens)
    if texts := [token for token in several if not isinstance(token, int)]:
        raise SteerError(f"{texts[0]!r} is a text: call resolve(model) first, or give its id")
    return list(dict.fromkeys(int(token) for token in several))
