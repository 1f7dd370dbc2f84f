"""POST /v1/chat/completions: the next turn of a chat."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from apps.server.answer.events import DONE, event, streamed
from apps.server.answer.proof import about, header, proof
from apps.server.answer.rows import Rows, while_connected
from apps.server.request.asks import asks
from apps.server.request.bodies import BodyError, ChatBody, read_body
from apps.server.state import State, new_id, tokens_allowed, usage
from steer.lm.prompts import Prompt, read_prompt
from steer.serving.ask import Answer, Ask, Piece, Scored


async def chat(state: State, request: Request) -> Response:
    body = await read_body(request, ChatBody)
    if body.top_logprobs is not None and not body.logprobs:
        raise BodyError("top_logprobs without logprobs tells nothing: set logprobs to true")
    prompt = read_prompt(state.offer.model, [message.plain() for message in body.messages])
    rows = asks(
        state.offer,
        body,
        [prompt],
        max_tokens=_max_tokens(state, body, prompt),
        top=(body.top_logprobs or 0) if body.logprobs else None,
    )
    running = Rows(state.engine, rows)
    head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": body.model}
    if body.stream:
        lines = _stream(state, body, rows, running, head)
        return await streamed(request, running, lines, header(about(state.offer, rows)))
    async with while_connected(request, running.cancel):
        answers = await running.answers()
    state.metrics.finished(rows, answers)
    told = proof(state.offer, rows, answers)
    token = state.offer.model.token
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": answer.finish,
            "logprobs": _logprobs(token, answer.scored) if body.logprobs else None,
        }
        for number, answer in enumerate(answers)
    ]
    whole = {**head, "object": "chat.completion", "choices": choices}
    whole |= {"usage": usage(rows, answers), "steer": told}
    return JSONResponse(whole, headers=header(told))


def _max_tokens(state: State, body: ChatBody, prompt: Prompt) -> int:
    """What is asked for, by either name; or as much as there is room for."""
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise BodyError("max_tokens and max_completion_tokens are the same: give one")
    given = body.max_tokens or body.max_completion_tokens
    if given is not None:
        return tokens_allowed(state, given)
    return max(1, min(state.most_tokens, state.offer.model.context - len(prompt.ids)))


def _logprobs(token: Callable[[int], str], scored: Sequence[Scored]) -> dict[str, Any]:
    """In the newer of OpenAI's forms: an object for each token."""

    def one(number: int, logprob: float | None) -> dict[str, Any]:
        text = token(number)
        half = "\ufffd" in text  # a part of a letter, whose bytes are not those of its text
        own = None if half else list(text.encode())
        return {"token": text, "logprob": logprob, "bytes": own}

    content = [
        {
            **one(drawn.id, drawn.logprob),
            "top_logprobs": [one(*likely) for likely in drawn.likely],
        }
        for drawn in scored
    ]
    return {"content": content, "refusal": None}


async def _stream(
    state: State, body: ChatBody, rows: Sequence[Ask], running: Rows, head: dict[str, Any]
) -> AsyncGenerator[str]:
    """A chunk a piece, the first of a choice with its role; the proof in the last one."""
    head = {**head, "object": "chat.completion.chunk"}
    done: dict[int, Answer] = {}
    begun: set[int] = set()
    async for index, output in running.events():
        delta = {} if index in begun else {"role": "assistant"}
        begun.add(index)
        chunk: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
        chunk["logprobs"] = None
        if isinstance(output, Piece):
            chunk["delta"] = {**delta, "content": output.text}
            if body.logprobs:
                chunk["logprobs"] = _logprobs(state.offer.model.token, output.scored)
            yield event({**head, "choices": [chunk]})
            continue
        done[index] = output
        chunk["finish_reason"] = output.finish
        last: dict[str, Any] = {}
        if len(done) == len(rows):
            answers = [done[number] for number in range(len(rows))]
            state.metrics.finished(rows, answers)
            last["steer"] = proof(state.offer, rows, answers)
        yield event({**head, "choices": [chunk], **last})
    if body.stream_options and body.stream_options.include_usage:
        yield event({**head, "choices": [], "usage": usage(rows, answers), **last})
    yield DONE
