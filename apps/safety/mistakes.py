"""A request that an app trips over is answered with a sentence, and the log gets a line of it."""

from __future__ import annotations

import logging

from apps.safety.asgi import App, Message, Receive, Scope, Send, refuse

_log = logging.getLogger(__name__)


class Mistakes:
    """For apps of others, which take some requests for granted that anyone can send.

    The traceback is logged at the level DEBUG.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: list[Message] = []
        begun = False

        async def told(message: Message) -> None:
            """What an app says of its own failure is held until it is known whether it raises."""
            nonlocal begun
            if held or (message["type"] == "http.response.start" and message["status"] >= 500):
                held.append(message)
                return
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, told)
        except Exception as error:
            name = type(error).__name__
            _log.warning("%s %s: %s: %s", scope["method"], scope["path"], name, error)
            _log.debug("a request failed", exc_info=error)
            if begun:
                raise
            sentence = f"this request can't be answered as it is ({name}); look at /openapi.json"
            await refuse(scope, send, 400, sentence)
        else:
            for message in held:
                await send(message)
