"""Who answers Inspect: the running batch in this process, or a `steer serve`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from steer.edits import Intervention
from steer.errors import PromptError, SteerError
from steer.lm.prompts import read_prompt
from steer.loading import load
from steer.model import Model
from steer.runs.sampling import Sampling
from steer.serving.ask import Ask, BusyError, Penalties
from steer.serving.engine import Engine, Limits
from steer.serving.proof import proof

_MOST_TOKENS = 1024
"""New ones where no number is asked for."""
_PATIENT = 10_000
"""Inspect asks for no more than it has connections, so that none is turned away."""

Messages = Sequence[Mapping[str, str]]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """choices: texts, and why each ended. read, drawn: tokens. proof: see `steer.serving.proof`."""

    choices: tuple[tuple[str, str], ...]
    read: int
    drawn: int
    proof: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Local:
    """This process."""

    model: Model
    engine: Engine
    edits: tuple[Intervention, ...]
    refuse: bool

    @classmethod
    def open(
        cls, name: str, edits: tuple[Intervention, ...], refuse: bool, dtype: str, rows: int
    ) -> Local:
        """Raises what loading and lowering raise."""
        model = load(name, dtype=dtype)
        model.plans(edits)
        loaded = [dictionary for edit in edits if (dictionary := model.dictionary_of(edit, {}))]
        limits = Limits(rows=rows, queue=_PATIENT, seconds=float("inf"))
        return cls(model, Engine(model, limits, loaded), edits, refuse)

    async def ask(self, messages: Messages, options: Options) -> Reply:
        """Raises what is wrong with the sample."""
        asks = self._asks(messages, options)
        tickets = self.engine.submit(asks)
        try:
            answers = [
                await anyio.to_thread.run_sync(ticket.result, abandon_on_cancel=True)
                for ticket in tickets
            ]
        finally:
            for ticket in tickets:
                ticket.cancel()
        return Reply(
            choices=tuple((answer.text, answer.finish) for answer in answers),
            read=sum(len(ask.prompt.ids) for ask in asks),
            drawn=sum(len(answer.ids) for answer in answers),
            proof=proof(self.model, self.model.name, asks, answers),
        )

    def busy(self, error: BaseException) -> bool:
        return isinstance(error, BusyError)

    async def close(self) -> None:
        await anyio.to_thread.run_sync(self.engine.close)

    def _asks(self, messages: Messages, options: Options) -> list[Ask]:
        """A row a choice, as the server reads the same options."""
        prompt = read_prompt(self.model, messages)
        room = self.model.context - len(prompt.ids)
        if room < 1:
            raise PromptError(f"the chat fills the {self.model.context} tokens of the context")
        temperature = options.get("temperature", 1.0)
        seed = options.get("seed")
        if seed is None:
            seed = 0 if temperature == 0 else secrets.randbelow(2**31)
        penalties = Penalties(
            options.get("frequency_penalty", 0.0), options.get("presence_penalty", 0.0)
        )
        return [
            Ask(
                prompt=prompt,
                interventions=self.edits,
                sampling=Sampling(
                    temperature, options.get("top_p"), options.get("top_k"), seed=seed + choice
                ),
                penalties=penalties,
                max_tokens=options.get("max_tokens", min(room, _MOST_TOKENS)),
                stop=tuple(options.get("stop", ())),
                refuse_silent=self.refuse,
            )
            for choice in range(options.get("n", 1))
        ]


class ServerError(SteerError, RuntimeError):
    """A server's refusal. status: HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Served:
    """A `steer serve`. url: with /v1."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        name: str,
        edits: tuple[Intervention, ...],
        refuse: bool,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=None)
        self._fixed: dict[str, Any] = {"model": name, "silent": "error" if refuse else "report"}
        if edits:
            self._fixed["steering"] = [edit.to_dict() for edit in edits]

    async def ask(self, messages: Messages, options: Options) -> Reply:
        """Raises `ServerError` with the server's own sentence."""
        body = {**self._fixed, "messages": [dict(message) for message in messages], **options}
        try:
            response = await self._client.post("chat/completions", json=body)
        except httpx.HTTPError as error:
            raise ServerError(f"{self._client.base_url}: {error!r}", 503) from error
        if response.status_code != 200:
            raise ServerError(_sentence(response), response.status_code)
        told = response.json()
        if "steer" not in told:
            raise ServerError(
                f"{self._client.base_url} does not say how it steered: it is no `steer serve`", 502
            )
        return Reply(
            choices=tuple(
                (choice["message"]["content"], choice["finish_reason"])
                for choice in told["choices"]
            ),
            read=told["usage"]["prompt_tokens"],
            drawn=told["usage"]["completion_tokens"],
            proof=told["steer"],
        )

    def busy(self, error: BaseException) -> bool:
        return isinstance(error, ServerError) and error.status in (429, 503)

    async def close(self) -> None:
        await self._client.aclose()


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text[:200]}"
