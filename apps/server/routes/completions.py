"""POST /v1/completions: texts continued, or scored."""

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
from apps.server.request.bodies import BodyError, CompletionBody, read_body
from apps.server.state import State, new_id, tokens_allowed, usage
from steer.errors import PromptError
from steer.lm.prompts import Prompt, read_prompt
from steer.model import Model
from steer.serving.ask import Answer, Ask, Piece, Scored

_DEFAULT_TOKENS = 16


async def completions(state: State, request: Request) -> Response:
    body = await read_body(request, CompletionBody)
    prompts = [_prompt(state.offer.model, prompt) for prompt in _prompts(body)]
    given = _DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    rows = asks(
        state.offer,
        body,
        prompts,
        max_tokens=tokens_allowed(state, given),
        top=body.logprobs,
        echo=bool(body.echo),
        context=body.context_tokens,
    )
    if not given and not body.echo:
        raise BodyError("max_tokens=0 without echo asks for nothing: give 1 or more")
    if body.stream and body.echo and body.logprobs is not None:
        raise BodyError("echo with logprobs is not streamed: leave stream out")
    head = {"id": new_id("cmpl"), "object": "text_completion", "created": int(time.time())}
    head["model"] = body.model
    running = Rows(state.engine, rows)
    if body.stream:
        lines = _stream(state, body, rows, running, head)
        return await streamed(request, running, lines, header(about(state.offer, rows)))
    async with while_connected(request, running.cancel):
        answers = await running.answers()
    state.metrics.finished(rows, answers)
    told = proof(state.offer, rows, answers, body.receipt == "tokens")
    choices = [
        _choice(state.offer.model, body, number, ask, answer)
        for number, (ask, answer) in enumerate(zip(rows, answers, strict=True))
    ]
    whole = {**head, "choices": choices, "usage": usage(rows, answers), "steer": told}
    return JSONResponse(whole, headers=header(told))


def _prompts(body: CompletionBody) -> Sequence[str | list[int]]:
    """One or several, as text or token ids."""
    given: Any = body.prompt
    if isinstance(given, str) or isinstance(given[0], int):
        return [given]
    several: list[str | list[int]] = given
    return several


def _prompt(model: Model, given: str | list[int]) -> Prompt:
    """Raises `PromptError` for one that the model can't read."""
    if isinstance(given, str):
        return read_prompt(model, given)
    size = len(model.module.get_input_embeddings().weight)
    if max(given) >= size:
        raise PromptError(f"token {max(given)} is none of the {size} that {model.name} has")
    model.check_length(len(given))
    return Prompt(model.tokenizer.decode(given), tuple(given))


def _choice(
    model: Model, body: CompletionBody, number: int, ask: Ask, answer: Answer
) -> dict[str, Any]:
    shown = answer.prompt_scored + answer.scored if body.echo else answer.scored
    text = ask.prompt.text + answer.text if body.echo else answer.text
    ids = {"token_ids": list(answer.ids), "prompt_token_ids": list(ask.prompt.ids)}
    return {
        "index": number,
        "text": text,
        "finish_reason": answer.finish,
        "logprobs": None if body.logprobs is None else _logprobs(model.token, shown),
        **(ids if body.return_token_ids else {}),
    }


def _logprobs(
    token: Callable[[int], str], scored: Sequence[Scored], start: int = 0
) -> dict[str, Any]:
    """In the older of OpenAI's forms: a list for each property. start: letters before these."""
    texts, offsets = [token(drawn.id) for drawn in scored], [start]
    for text in texts:
        offsets.append(offsets[-1] + len(text))
    return {
        "tokens": texts,
        "token_logprobs": [drawn.logprob for drawn in scored],
        "top_logprobs": [_top(token, drawn) for drawn in scored],
        "text_offset": offsets[:-1],
    }


def _top(token: Callable[[int], str], drawn: Scored) -> dict[str, float] | None:
    """The likeliest and the token itself, by text; of two with one text, the likelier."""
    if drawn.logprob is None:
        return None
    told = ((drawn.id, drawn.logprob), *reversed(drawn.likely))
    return {token(number): logprob for number, logprob in sorted(told, key=lambda one: one[1])}


async def _stream(
    state: State, body: CompletionBody, rows: Sequence[Ask], running: Rows, head: dict[str, Any]
) -> AsyncGenerator[str]:
    """A chunk a piece, one with the reason a text ended, and the proof in the last."""
    done: dict[int, Answer] = {}
    echoed: set[int] = set()
    letters = [0] * len(rows)
    token = state.offer.model.token
    async for index, output in running.events():
        prefix = rows[index].prompt.text if body.echo and index not in echoed else ""
        echoed.add(index)
        chunk: dict[str, Any] = {"index": index, "text": "", "finish_reason": None}
        chunk["logprobs"] = None
        if isinstance(output, Piece):
            chunk["text"] = prefix + output.text
            if body.logprobs is not None:
                chunk["logprobs"] = _logprobs(token, output.scored, letters[index])
                letters[index] += sum(map(len, chunk["logprobs"]["tokens"]))
            if body.return_token_ids:
                chunk["token_ids"] = list(output.ids)
            yield event({**head, "choices": [chunk]})
            continue
        done[index] = output
        chunk |= {"text": prefix, "finish_reason": output.finish}
        last: dict[str, Any] = {}
        if len(done) == len(rows):
            answers = [done[number] for number in range(len(rows))]
            state.metrics.finished(rows, answers)
            last["steer"] = proof(state.offer, rows, answers, body.receipt == "tokens")
        yield event({**head, "choices": [chunk], **last})
    if body.stream_options and body.stream_options.include_usage:
        yield event({**head, "choices": [], "usage": usage(rows, answers), **last})
    yield DONE
