"""What is asked of a running batch, what comes of it meanwhile, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from steer.edits import Intervention
from steer.errors import SteerError
from steer.lm.prompts import Prompt
from steer.runs.sampling import Sampling
from steer.splice.receipt import Receipt


class BusyError(SteerError, RuntimeError):
    """More requests than the queue holds."""


class ClosingError(BusyError):
    """A server that is closing takes nothing more."""


class LateError(SteerError, RuntimeError):
    """A request that took longer than it may."""


class GoneError(SteerError, RuntimeError):
    """A request that was cancelled before it had an answer."""


@dataclass(frozen=True)
class Penalties:
    """What is taken off a token's logit, before the temperature: `frequency` for every time that it
    was generated before, `presence` once. As in OpenAI's API."""

    frequency: float = 0.0
    presence: float = 0.0


@dataclass(frozen=True)
class Ask:
    """One row: a prompt, edits that act together, and how to go on.

    penalties: beside those of `sampling`.
    max_tokens: most new tokens; 0 reads the prompt and draws none.
    stop: texts before which the continuation ends.
    top: of each token, how many likely alternatives to tell; None keeps no log-probabilities.
    echo: whether the prompt's tokens are to be scored too.
    context: how many of the prompt's tokens are the prompt as edits mean it; None is all.
    refuse_silent: whether an edit that never acts is an error; then no text is told before all
        have acted.
    """

    prompt: Prompt
    interventions: tuple[Intervention, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    penalties: Penalties = field(default_factory=Penalties)
    max_tokens: int = 40
    stop: tuple[str, ...] = ()
    top: int | None = None
    echo: bool = False
    context: int | None = None
    refuse_silent: bool = False

    @property
    def prompt_length(self) -> int:
        """Where the prompt ends for the edits."""
        return len(self.prompt.ids) if self.context is None else self.context


@dataclass(frozen=True)
class Scored:
    """A token with its log-probability under the edited model, before any penalty or temperature.

    likely: (id, log-probability) of the likeliest there, best first.
    None, and none, for the first token of a text.
    """

    id: int
    logprob: float | None
    likely: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """What was added to the text. ids: the tokens that are new with it; scored: the same, if asked.

    Of text that may yet be the beginning of a stop, or half a letter, nothing is told.
    """

    text: str
    ids: tuple[int, ...]
    scored: tuple[Scored, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A row that is done.

    text, ids: the continuation, and all its tokens. finish: `stop` or `length`.
    prompt_scored, scored: tokens of the prompt and of the continuation, where asked for.
    receipt: what every edit did.
    inherited: settings of the model's own that acted.
    """

    text: str
    ids: tuple[int, ...]
    finish: str
    receipt: Receipt
    prompt_scored: tuple[Scored, ...]
    scored: tuple[Scored, ...]
    inherited: dict[str, object]
