"""What all routes of a server share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.server.answer.metrics import Metrics
from apps.server.request.bodies import BodyError
from apps.server.request.offer import Offer
from steer.serving.ask import Answer, Ask
from steer.serving.engine import Engine


@dataclass(frozen=True, eq=False)
class State:
    """most_tokens: new ones that a text may ask for."""

    offer: Offer
    engine: Engine
    metrics: Metrics
    most_tokens: int = 1024
    began: int = field(default_factory=lambda: int(time.time()))


def new_id(kind: str) -> str:
    """Of an answer, as OpenAI's look."""
    return f"{kind}-{uuid.uuid4().hex[:24]}"


def tokens_allowed(state: State, asked: int) -> int:
    """The new tokens that are asked for. Raises `BodyError` for more than the server allows."""
    if asked > state.most_tokens:
        raise BodyError(
            f"max_tokens={asked} is more than the {state.most_tokens} that this server allows"
        )
    return asked


def usage(asks: Sequence[Ask], answers: Sequence[Answer]) -> dict[str, int]:
    """Tokens of all rows."""
    read = sum(len(ask.prompt.ids) for ask in asks)
    drawn = sum(len(answer.ids) for answer in answers)
    return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}
