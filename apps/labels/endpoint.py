"""Judges to explain features with: any endpoint that speaks OpenAI's protocol, or a local model.

The endpoint is POST {base}/chat/completions with `model`, `messages`, `temperature`, `max_tokens`;
the reply is `choices[0].message.content`. The key, if one is needed, is in STEER_JUDGE_KEY or
OPENAI_API_KEY and is sent nowhere else.
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from steer.errors import SteerError
from steer.model import Model

_RETRIED = (408, 429, 500, 502, 503, 504)
_REPLY_TOKENS = 400
_SECONDS = 10
_PORTS = {"http": 80, "https": 443}


class JudgeError(SteerError):
    """The judge can't be reached, refuses, or answers in another protocol."""


@dataclass(frozen=True)
class EndpointJudge:
    """A model behind an OpenAI-compatible endpoint; deterministic as far as temperature 0 is.

    base: such as `https://api.openai.com/v1` or `http://127.0.0.1:8000/v1`.
    model: as the endpoint calls it. attempts: for a busy endpoint, with doubled waits between.
    Raises `JudgeError`.
    """

    base: str
    model: str
    attempts: int = 4
    timeout: float = 120.0
    wait: float = 1.0

    def __post_init__(self) -> None:
        if not self.base.startswith(("http://", "https://")):
            raise JudgeError(
                f"an endpoint is a URL such as http://127.0.0.1:8000/v1, not {self.base!r}"
            )

    def __call__(self, prompt: str) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": _REPLY_TOKENS,
        }
        reply = self._post(json.dumps(body).encode())
        try:
            content = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise JudgeError(
                f"{self.base} did not answer as OpenAI's chat completions do: {reply[:100]!r}"
            ) from error
        if not isinstance(content, str):
            raise JudgeError(f"{self.base} answered without text: {reply[:100]!r}")
        return content

    def _post(self, body: bytes) -> bytes:
        for attempt in range(1, self.attempts + 1):
            try:
                with urllib.request.urlopen(self._request(body), timeout=self.timeout) as reply:
                    return reply.read()
            except urllib.error.HTTPError as error:
                said = error.read()[:200].decode(errors="replace")
                if error.code not in _RETRIED or attempt == self.attempts:
                    raise JudgeError(f"{self.base} answered {error.code}: {said}") from error
            except (OSError, ValueError) as error:
                if attempt == self.attempts:
                    raise JudgeError(f"{self.base} can't be reached: {error}") from error
            time.sleep(self.wait * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _request(self, body: bytes) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        key = os.environ.get("STEER_JUDGE_KEY") or os.environ.get("OPENAI_API_KEY")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.base.rstrip('/')}/chat/completions"
        return urllib.request.Request(url, data=body, headers=headers, method="POST")


def check_endpoint(base: str) -> None:
    """Raise `JudgeError` where nothing listens: before a model is loaded, not after the work.

    Behind a proxy that can't be seen from here, and is left to the first question.
    """
    address = urllib.parse.urlsplit(EndpointJudge(base, "").base)
    try:
        host, port = address.hostname or "", address.port
    except ValueError as error:
        raise JudgeError(f"{base} is no address: {error}") from error
    if address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port or _PORTS[address.scheme]), _SECONDS).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise JudgeError(f"{base} can't be reached: {reason}; start the server there") from error


@dataclass(frozen=True, eq=False)
class LocalJudge:
    """A loaded chat model, greedy. A small one explains poorly; its scores say so."""

    model: Model
    max_new_tokens: int = 60

    def __call__(self, prompt: str) -> str:
        chat = self.model.tokenizer.chat_template is not None
        asked: Any = [{"role": "user", "content": prompt}] if chat else prompt
        run = self.model.generate(asked, [], max_new_tokens=self.max_new_tokens, temperature=0)
        return run.baseline.text
