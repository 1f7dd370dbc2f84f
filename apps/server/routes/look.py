"""What a client may ask beside texts: models, tokens, plans, features, health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from apps.labels.feature_card import feature_card
from apps.server.request.asks import acting
from apps.server.request.bodies import (
    BodyError,
    DetokenizeBody,
    ExplainBody,
    FeaturesBody,
    TokenizeBody,
    read_body,
)
from apps.server.state import State
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError, PromptError
from steer.lm.prompts import read_prompt
from steer.runs.explain import NEUTRAL

T = TypeVar("T")


async def models(state: State, request: Request) -> Response:
    offer = state.offer
    listed = [_model(state, name) for name in offer.ids]
    about = {
        "fingerprint": offer.model.fingerprint,
        "dtype": offer.model.precision,
        "dictionaries": list(offer.dictionaries),
    }
    return JSONResponse({"object": "list", "data": listed, "steer": about})


async def model(state: State, request: Request) -> Response:
    """One of them."""
    return JSONResponse(_model(state, request.path_params["name"]))


def _model(state: State, name: str) -> dict[str, Any]:
    acting = state.offer.named(name)
    return {
        "id": name,
        "object": "model",
        "created": state.began,
        "owned_by": "steer",
        "max_model_len": state.offer.model.context,
        "steer": {
            "interventions": [intervention.to_dict() for intervention in acting],
            "digests": [intervention.digest for intervention in acting],
        },
    }


async def tokenize(state: State, request: Request) -> Response:
    body = await read_body(request, TokenizeBody)
    _known(state, body.model)
    model = state.offer.model
    if (body.prompt is None) == (body.messages is None):
        raise BodyError("give prompt or messages, one of them")
    if body.messages is not None:
        ids = list(read_prompt(model, [message.plain() for message in body.messages]).ids)
    else:
        ids = model.tokenizer(body.prompt, add_special_tokens=body.add_special_tokens)["input_ids"]
    texts = [model.token(token) for token in ids]
    told = {"count": len(ids), "max_model_len": model.context, "tokens": ids, "token_strs": texts}
    return JSONResponse(told)


async def detokenize(state: State, request: Request) -> Response:
    body = await read_body(request, DetokenizeBody)
    _known(state, body.model)
    model = state.offer.model
    size = len(model.tokenizer)
    if max(body.tokens) >= size:
        raise PromptError(f"token {max(body.tokens)} is none of the tokenizer's {size}")
    return JSONResponse({"prompt": model.tokenizer.decode(body.tokens)})


async def tokenizer_info(state: State, request: Request) -> Response:
    """Where lm-eval looks for a tokenizer that is not its own."""
    tokenizer = state.offer.model.tokenizer
    names = ("eos_token", "bos_token", "pad_token", "unk_token", "chat_template")
    return JSONResponse({name: getattr(tokenizer, name, None) for name in names})


async def explain(state: State, request: Request) -> Response:
    body = await read_body(request, ExplainBody)
    interventions = acting(state.offer, body)
    if not interventions:
        raise BodyError("nothing would act: give steering, or a model with an edit")
    model, used = state.offer.model, state.offer.used()
    prompt = body.prompt or NEUTRAL
    plan = await _between(
        state, lambda: model.explain(interventions, dictionaries=used, prompt=prompt)
    )
    return JSONResponse(
        {**plan.to_dict(), "digests": [intervention.digest for intervention in interventions]}
    )


async def features(state: State, request: Request) -> Response:
    body = await read_body(request, FeaturesBody)
    _known(state, body.model)
    dictionary = _dictionary(state, body.dictionary)
    if (body.text is None) == (body.feature is None):
        raise BodyError("give text, to see its features, or feature, to see its card")
    model = state.offer.model
    if body.feature is not None:
        return JSONResponse(feature_card(model.token, dictionary, body.feature).to_dict())
    text = body.text or ""
    read = await _between(state, lambda: model.features(text, dictionary))
    return JSONResponse({"dictionary": dictionary.name, "tokens": read.to_list(body.top)})


async def health(state: State, request: Request) -> Response:
    engine = state.engine
    status = {"status": "ok", "served": engine.served, "waiting": engine.waiting}
    return JSONResponse(status)


async def metrics(state: State, request: Request) -> Response:
    return PlainTextResponse(state.metrics.text(), media_type="text/plain; version=0.0.4")


async def _between(state: State, call: Callable[[], T]) -> T:
    return await asyncio.wrap_future(state.engine.between(call))


def _known(state: State, model: str | None) -> None:
    """Raise for a model that is not served; the same tokens are for all that are."""
    if model is not None:
        state.offer.named(model)


def _dictionary(state: State, name: str | None) -> Dictionary:
    offer = state.offer
    if name is None:
        name = next(iter(offer.dictionaries), "")
    dictionary = offer.dictionary(name)
    if dictionary is None:
        raise DictionaryError(f"{name!r} is a hookpoint, and a dictionary is asked for")
    return dictionary
