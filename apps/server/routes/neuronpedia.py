"""Neuronpedia's own requests, unchanged: decoder rows or vectors added, STEERED and DEFAULT.

Its `SIMPLE_ADDITIVE` is `AddDirection`; `PROJECTION_CAP` is `CapProjection`, with the strength as
the most; `ORTHOGONAL_DECOMP` with strength 0 is `ProjectOut`, and with another no edit here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from apps.server.answer.events import DONE, event, streamed
from apps.server.answer.proof import about, header, proof
from apps.server.answer.rows import Rows, while_connected
from apps.server.request.bodies import BodyError, TokenId, read_body
from apps.server.request.offer import Offer
from apps.server.state import State, tokens_allowed
from steer.edits import AddDirection, CapProjection, DirectionEdit, Intervention, ProjectOut
from steer.edits.directions import DecoderRow, Direction, Vector
from steer.lm.hookpoints import parse
from steer.lm.prompts import Prompt, read_prompt
from steer.runs.sampling import Sampling
from steer.serving.ask import Answer, Ask, Penalties, Scored

STEERED, DEFAULT = "STEERED", "DEFAULT"


class _Wire(BaseModel):
    """Its names in either case, as its server takes them."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        protected_namespaces=(),
    )


class Feature(_Wire):
    model: str
    source: str
    index: TokenId
    strength: float
    steering_vector: Annotated[list[float], Field(min_length=1)] | None = None


class RawVector(_Wire):
    steering_vector: Annotated[list[float], Field(min_length=1)]
    strength: float
    hook: str


class ChatMessage(_Wire):
    content: str
    role: Literal["system", "user", "assistant", "model"]


class _Steer(_Wire):
    model: str
    steer_method: Literal["SIMPLE_ADDITIVE", "ORTHOGONAL_DECOMP", "PROJECTION_CAP"]
    normalize_steering: bool
    types: Annotated[list[Literal["STEERED", "DEFAULT"]], Field(min_length=1, max_length=2)]
    features: Annotated[list[Feature], Field(min_length=1)] | None = None
    vectors: Annotated[list[RawVector], Field(min_length=1)] | None = None
    n_completion_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, le=10)]
    strength_multiplier: float
    freq_penalty: Annotated[float, Field(ge=-2, le=2)]
    seed: Annotated[float, Field(ge=0, le=2**53)]
    stream: bool | None = False
    n_logprobs: Annotated[int, Field(ge=0, le=10)] | None = 0
    fail_if_busy: bool = False


class SteerBody(_Steer):
    """POST /v1/steer/completion."""

    prompt: Annotated[str, Field(min_length=1)]


class SteerChatBody(_Steer):
    """POST /v1/steer/completion-chat."""

    prompt: Annotated[list[ChatMessage], Field(min_length=1)]
    steer_special_tokens: bool


async def completion(state: State, request: Request) -> Response:
    body = await read_body(request, SteerBody)
    prompt = read_prompt(state.offer.model, body.prompt)
    asked = _asks(state, body, prompt, "all")
    return await _answer(state, request, body, asked, None)


async def completion_chat(state: State, request: Request) -> Response:
    body = await read_body(request, SteerChatBody)
    messages = [
        {"role": _role(message.role), "content": message.content} for message in body.prompt
    ]
    prompt = read_prompt(state.offer.model, messages)
    asked = _asks(state, body, prompt, "all" if body.steer_special_tokens else "text")
    return await _answer(state, request, body, asked, messages)


def _role(role: str) -> str:
    return "assistant" if role == "model" else role


async def _answer(
    state: State,
    request: Request,
    body: _Steer,
    asked: Sequence[Ask],
    chat: list[dict[str, str]] | None,
) -> Response:
    rows = Rows(state.engine, asked)
    if body.stream:
        lines = _stream(state, body, asked, rows, chat)
        return await streamed(request, rows, lines, header(about(state.offer, asked)))
    async with while_connected(request, rows.cancel):
        answers = await rows.answers()
    state.metrics.finished(asked, answers)
    told = proof(state.offer, asked, answers)
    texts = [answer.text for answer in answers]
    whole = _outputs(state, body, asked, texts, [given.scored for given in answers], chat)
    return JSONResponse({**whole, "steer": told}, headers=header(told))


async def _stream(
    state: State,
    body: _Steer,
    asked: Sequence[Ask],
    rows: Rows,
    chat: list[dict[str, str]] | None,
) -> AsyncGenerator[str]:
    """Every event has the texts so far."""
    texts, scored = [""] * len(asked), [()] * len(asked)  # type: list[str], list[tuple[Scored, ...]]
    done: dict[int, Answer] = {}
    async for index, output in rows.events():
        if isinstance(output, Answer):
            done[index] = output
            texts[index], scored[index] = output.text, output.scored
        else:
            texts[index] += output.text
            scored[index] += output.scored
        last: dict[str, Any] = {}
        if len(done) == len(asked):
            answers = [done[number] for number in range(len(asked))]
            state.metrics.finished(asked, answers)
            last["steer"] = proof(state.offer, asked, answers)
        yield event({**_outputs(state, body, asked, texts, scored, chat), **last})
    yield DONE


def _outputs(
    state: State,
    body: _Steer,
    asked: Sequence[Ask],
    texts: Sequence[str],
    scored: Sequence[Sequence[Scored]],
    chat: list[dict[str, str]] | None,
) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = []
    for kind, ask, text, drawn in zip(body.types, asked, texts, scored, strict=True):
        if chat is None:
            told: dict[str, Any] = {"type": kind, "output": text}
        else:
            turns = [*chat, {"role": "assistant", "content": text}]
            told = {"type": kind, "chatTemplate": turns, "raw": ask.prompt.text + text}
        if body.n_logprobs:
            told["logprobs"] = [_logprob(state, one) for one in drawn]
        outputs.append(told)
    if chat is None:
        return {"outputs": outputs}
    return {"outputs": outputs, "input": {"chatTemplate": chat, "raw": asked[0].prompt.text}}


def _logprob(state: State, scored: Scored) -> dict[str, Any]:
    token = state.offer.model.token
    likely = [{"token": token(number), "logprob": value} for number, value in scored.likely]
    return {"token": token(scored.id), "logprob": scored.logprob, "topLogprobs": likely}


def _asks(state: State, body: _Steer, prompt: Prompt, positions: str) -> list[Ask]:
    """A row for each type, with the same noise."""
    if len(set(body.types)) < len(body.types):
        raise BodyError("types names one twice")
    if body.seed != int(body.seed):
        raise BodyError(f"seed={body.seed} is no whole number")
    interventions = _interventions(state.offer, body, positions)
    sampling = Sampling(temperature=body.temperature, seed=int(body.seed))
    base = Ask(
        prompt=prompt,
        sampling=sampling,
        penalties=Penalties(body.freq_penalty),
        max_tokens=tokens_allowed(state, body.n_completion_tokens),
        top=body.n_logprobs or None,
    )
    return [replace(base, interventions=interventions if t == STEERED else ()) for t in body.types]


def _interventions(offer: Offer, body: _Steer, positions: str) -> tuple[Intervention, ...]:
    """One for each feature or vector, together at its site."""
    offer.named(body.model)
    if "@" in body.model and body.model != offer.name:
        raise BodyError(f"the model {body.model} brings an edit, and features say what acts")
    if (body.features is None) == (body.vectors is None):
        raise BodyError("exactly one of features or vectors must be provided")
    wanted: dict[str, list[DirectionEdit]] = {}
    for feature in body.features or ():
        if feature.model not in (body.model, offer.name):
            raise BodyError(f"a feature of {feature.model!r} can't steer {body.model!r}")
        if feature.steering_vector is not None:
            raise BodyError("give a feature by its index, or its vector under vectors")
        name = _source(offer, feature.source)
        direction = DecoderRow(name, feature.index)
        wanted.setdefault(_site(offer, name), []).append(
            _edit(body, direction, feature.strength, positions)
        )
    for vector in body.vectors or ():
        own = Vector(tuple(vector.steering_vector))
        site = str(parse(vector.hook))
        wanted.setdefault(site, []).append(_edit(body, own, vector.strength, positions))
    return tuple(Intervention(site, edits) for site, edits in wanted.items())


def _source(offer: Offer, source: str) -> str:
    """A dictionary by its name, or by what follows the model's."""
    short = f"{offer.name}/{source}"
    name = short if short in offer.dictionaries else source
    if offer.dictionary(name) is None:
        raise BodyError(f"source {source!r} is no dictionary; {', '.join(offer.dictionaries)} are")
    return name


def _site(offer: Offer, name: str) -> str:
    config = offer.dictionaries[name].config
    return str(config.hookpoint_out or config.hookpoint)


def _edit(body: _Steer, direction: Direction, strength: float, positions: str) -> DirectionEdit:
    amount = body.strength_multiplier * strength
    if body.steer_method == "SIMPLE_ADDITIVE":
        value = amount if body.normalize_steering else f"{amount!r}x vector"
        return AddDirection(direction, value, positions=positions)
    if body.steer_method == "PROJECTION_CAP":
        return CapProjection(direction, amount, positions=positions)
    if amount == 0:
        return ProjectOut(direction, positions=positions)
    raise BodyError(
        f"{body.steer_method} with strength {amount:g} multiplies a projection, which no edit does "
        "here; it does act with strength 0, and so do SIMPLE_ADDITIVE and PROJECTION_CAP"
    )
