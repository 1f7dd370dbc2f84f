"""POST /v1/concept: from a word to an edit, found in a process of its own.

The search generates for minutes. In the engine's thread it would hold up every text, so it is the
command `steer concept`, one at a time; what it found is remembered in the cache folder.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from apps.same_model import arguments
from apps.server.answer.rows import while_connected
from apps.server.request.bodies import ConceptBody, read_body
from apps.server.state import State
from steer.concepts.examples import check_word
from steer.errors import SteerError
from steer.serving.ask import BusyError, GoneError, LateError

_ONE = asyncio.Lock()


async def concept(state: State, request: Request) -> Response:
    body = await read_body(request, ConceptBody)
    state.offer.named(body.model)
    word = check_word(body.word)
    if _ONE.locked():
        raise BusyError("another concept is being searched for: ask again in a minute")
    async with _ONE:
        search = asyncio.ensure_future(_searched(state, word, body.seed))
        try:
            async with while_connected(request, search.cancel):
                await asyncio.wait([search])
        finally:
            search.cancel()
    if search.cancelled():
        raise GoneError("nobody waits for the search any more")
    return JSONResponse(search.result())


async def _searched(state: State, word: str, seed: int) -> Any:
    command = [sys.executable, "-P", "-c", "from apps.cli import main; main()", "concept"]
    options = ["--json", *arguments(state.offer.model), "--seed", str(seed)]
    search = await asyncio.create_subprocess_exec(
        *command,
        *options,
        "--",
        word,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(state.engine.limits.seconds):
            out, err = await search.communicate()
    except TimeoutError:
        raise LateError(
            f"the search for {word!r} was not done within {state.engine.limits.seconds:g} seconds"
        ) from None
    finally:
        if search.returncode is None:
            search.kill()
            await search.wait()
    if search.returncode:
        lines = err.decode(errors="replace").strip().splitlines() or ["steer: the search ended"]
        raise SteerError(lines[-1].removeprefix("steer: "))
    return json.loads(out)
