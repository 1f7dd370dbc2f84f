"""Requests as the client sends them. A field that is not known is refused, never left out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apps.server.request.refused import refused
from dictionaries.files.strict_json import read_json
from steer.errors import SteerError

MOST_ROWS = 64
"""Texts that one request may ask for."""

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Text = Annotated[str, Field(min_length=1)]
Stop = Text | Annotated[list[Text], Field(max_length=16)]
TokenId = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]


class BodyError(SteerError):
    """A request's body that is not what the route takes."""


class Body(BaseModel):
    """What all requests are: known fields of the right types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Extra(Body):
    """vLLM's place for what its protocol does not have."""

    steer: Any


class StreamOptions(Body):
    """include_usage: whether the last chunk counts tokens."""

    include_usage: bool = False


class Steered(Body):
    """What says which edits act, and what if they don't.

    steering, vllm_xargs: see `apps.server.request.steering`; one of them, and only where the id of
        the model brings no edit.
    silent: `error` makes an edit that never acts a 422.
    """

    model: str
    steering: Any = None
    vllm_xargs: Extra | None = None
    silent: Literal["report", "error"] = "report"


class Generating(Steered):
    """What completions and chats share. top_k, min_p, repetition_penalty: as in vLLM."""

    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


class CompletionBody(Generating):
    """POST /v1/completions.

    context_tokens: how many of an echoed prompt's tokens are the prompt as edits mean it.
    return_token_ids: as in vLLM. receipt: `tokens` proves it token by token.
    best_of, suffix, logit_bias: only where they ask for nothing.
    """

    prompt: (
        Text
        | TokenIds
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_ROWS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_ROWS)]
    )
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    context_tokens: Annotated[int, Field(ge=1)] | None = None
    return_token_ids: bool | None = None
    receipt: Literal["summary", "tokens"] = "summary"
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: Literal[""] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None


class Part(Body):
    """A part of a message: text is all there is."""

    type: Literal["text"]
    text: str


class Message(Body):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str | Annotated[list[Part], Field(min_length=1)]

    def plain(self) -> dict[str, str]:
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return {"role": self.role, "content": text}


class Format(Body):
    """Free text."""

    type: Literal["text"]


class ChatBody(Generating):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Format | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None


class TokenizeBody(Body):
    """POST /v1/tokenize. prompt, or messages that the chat template renders."""

    model: str | None = None
    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    add_special_tokens: bool = True


class DetokenizeBody(Body):
    """POST /v1/detokenize."""

    model: str | None = None
    tokens: TokenIds


class ExplainBody(Steered):
    """POST /v1/explain. prompt: what doses are measured on; a neutral sentence if left out."""

    prompt: Text | None = None


class FeaturesBody(Body):
    """POST /v1/features: the most active of each token of a text, or one feature's card."""

    model: str
    dictionary: str | None = None
    text: Text | None = None
    feature: Annotated[int, Field(ge=0)] | None = None
    top: Annotated[int, Field(ge=1, le=100)] = 5


class ConceptBody(Body):
    """POST /v1/concept."""

    model: str
    word: Text
    seed: Seed = 0


Read = TypeVar("Read", bound=BaseModel)


async def read_body(request: Request, kind: type[Read]) -> Read:
    """The body as one of these. Raises `BodyError`, naming the field and what it may be."""
    if request.url.query:
        raise BodyError(f"?{request.url.query} would not act: everything is said in the body")
    data = read_json(await request.body(), "the body is no JSON", BodyError)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise BodyError(refused(error, data)) from error
