"""What is claimed of an edit: which tokens it makes likelier, beside which others.

The measure is a difference of logits at the last token of a prompt, edited minus clean: the mean
of the tokens `more` minus the mean of the tokens `less`, as `LogitDifference` has it, or minus the
mean of all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dictionaries.files.keys import refuse_unknown
from steer.effects.metric import Tokens, token_ids
from steer.errors import SteerError
from steer.model import Model


@dataclass(frozen=True)
class Claim:
    """The logits of `more` rise beside those of `less`.

    more, less: one token or several, as ids or as texts that are a single token each, with their
        leading space. less: every token of the vocabulary, on average, if none is given.
    """

    more: Tokens
    less: Tokens = ()

    def __post_init__(self) -> None:
        for name in ("more", "less"):
            given = getattr(self, name)
            several = (given,) if isinstance(given, str | int) else tuple(given)
            if any(
                isinstance(token, bool) or not isinstance(token, str | int) for token in several
            ):
                raise SteerError(f"{name}={given!r} is no token: give texts or ids")
            object.__setattr__(self, name, several)
        if self.more == ():
            raise SteerError("a claim needs a token that becomes likelier, such as Claim(' than')")

    def resolve(self, model: Model) -> Sides:
        """Its tokens as ids of this model.

        Raises `InterventionError` for a text that is not one token, and `SteerError` for a token on
        both sides.
        """
        sides = (token_ids(model, side) for side in (self.more, self.less))
        more, less = (tuple(dict.fromkeys(side)) for side in sides)
        if both := set(more) & set(less):
            names = ", ".join(repr(model.token(token)) for token in sorted(both))
            raise SteerError(f"{names} is in more and in less: a token can be on one side only")
        return Sides(more, less)

    def to_dict(self) -> dict[str, Any]:
        return {"more": list(_several(self.more)), "less": list(_several(self.less))}

    @classmethod
    def from_dict(cls, data: Any) -> Claim:
        """Inverse of `to_dict`. Raises `SteerError` for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("more"), list):
            raise SteerError(f"{data!r} is no claim such as {{'more': [' than'], 'less': []}}")
        refuse_unknown(data, ("more", "less"), "a claim", SteerError)
        return cls(tuple(data["more"]), tuple(data.get("less", ())))


@dataclass(frozen=True)
class Sides:
    """A claim as token ids."""

    more: tuple[int, ...]
    less: tuple[int, ...] = ()

    def of(self, logits: Tensor) -> Tensor:
        """The mean logit of `more` minus that of `less`, [..., V] -> [...]."""
        below = logits[..., list(self.less)] if self.less else logits
        return logits[..., list(self.more)].mean(-1) - below.mean(-1)

    def named(self, model: Model) -> Claim:
        """With texts where the tokenizer gives the same token back, and ids elsewhere."""
        return Claim(*([_text(model, token) for token in side] for side in (self.more, self.less)))


def chosen(change: Tensor, tokens: int) -> Sides:
    """What a change of logits [V] claims for itself: the tokens that it promotes most.

    Beside all tokens on average: a direction that stands for something promotes a few tokens, and
    a random one as many as it suppresses.
    """
    return Sides(tuple(change.topk(min(tokens, len(change) // 2)).indices.tolist()))


def _several(tokens: Tokens) -> Sequence[str | int]:
    return (tokens,) if isinstance(tokens, str | int) else tokens


def _text(model: Model, token: int) -> str | int:
    text = model.token(token)
    try:
        return text if model.token_id(text) == token else token
    except SteerError:
        return token
