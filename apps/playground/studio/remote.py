"""A run whose texts a `steer serve` writes: the page's second front end of one engine.

The model here reads and measures as ever, so it must be the server's, weight for weight.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import torch

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.errors import FetchError, ModelError, SteerError
from steer.lm.prompts import Prompt
from steer.loading import DTYPES
from steer.model import Model
from steer.runs.generate import Run, Text
from steer.runs.sampling import OnStep, sampling_from
from steer.runs.settings import inherited
from steer.splice.build_receipt import build
from steer.splice.edited import edited_logits
from steer.splice.receipt import EditReceipt, Receipt, TokenEdit

BASELINE, EDITED = 0, 1
_Event = tuple[int, "list[int] | dict[str, Any] | BaseException"]


@dataclass(frozen=True)
class Remote:
    """url: of the server, without /v1. name: of the model there."""

    url: str
    name: str

    @classmethod
    def of(cls, url: str, model: Model) -> Remote:
        """Raises `FetchError` if there is no server, `ModelError` if it has another model."""
        url = _place(url)
        name, theirs, dtype = _about(url)
        ours = model.fingerprint
        if (theirs, dtype) != (ours, model.precision):
            raise ModelError(
                f"{url} serves {name} ({theirs}, {dtype}), and the page has {model.name} "
                f"({ours}, {model.precision}): give both the same --model and --dtype"
            )
        return cls(url, name)

    def run(
        self,
        model: Model,
        prompt: Prompt,
        interventions: tuple[Intervention, ...],
        dictionaries: Sequence[Dictionary],
        options: Mapping[str, Any],
        on_step: OnStep | None = None,
        on_first: OnStep | None = None,
    ) -> Run:
        """As `Model.generate` with these options, written by the server.

        Of a text that is stopped the receipt is read here, from one pass over what there is of it.
        """
        settings = dict(options)
        most = settings.pop("max_new_tokens")
        body: dict[str, Any] = {"model": self.name, "prompt": list(prompt.ids), "max_tokens": most}
        body |= {**settings, "return_token_ids": True, "receipt": "tokens", "stream": True}
        steering = [[], [intervention.to_dict() for intervention in interventions]]
        texts = _Texts(prompt, model.tokenizer.pad_token_id or 0)
        with _Rows(self.url, [{**body, "steering": edits} for edits in steering]) as events:
            texts.follow(events, on_step, on_first)
        baseline, edited = (
            Text(model.tokenizer.decode(ids, skip_special_tokens=True), tuple(ids))
            for ids in texts.ids
        )
        told, sampling = texts.proofs.get(EDITED), sampling_from(settings)
        if told is None:
            receipt = _read_again(model, prompt, edited.ids, interventions, dictionaries)
        else:
            receipt = _receipt(told["rows"][0]["receipt"])
        return Run(
            prompt=prompt.text,
            text=edited.text,
            ids=edited.ids,
            baseline=baseline,
            receipt=receipt,
            interventions=interventions,
            sampling=sampling,
            dtype=model.precision,
            model=model.name,
            inherited=inherited(model.module, sampling.options),
        )


def dtype_of(url: str) -> str:
    """Of the model that a server has.

    Raises `FetchError` if there is no server, `ModelError` if it has packed weights.
    """
    name, _, dtype = _about(_place(url))
    if dtype not in DTYPES:
        raise ModelError(
            f"{url} serves {name} in {dtype}, and the page loads weights as they are: serve it "
            "without --quantize, or launch the page in Python with a model that is packed alike"
        )
    return dtype


def _place(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")


def _about(url: str) -> tuple[str, str, str]:
    """Name, fingerprint and dtype of a server's model."""
    try:
        told = httpx.get(f"{url}/v1/models", headers=_key(), timeout=10)
        told.raise_for_status()
        about, name = told.json()["steer"], told.json()["data"][0]["id"]
        return name, about["fingerprint"], about["dtype"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise FetchError(f"no steer serve answers at {url}: {error}") from error


class _Texts:
    """Both texts as they come. proofs: of those that are whole, by row."""

    def __init__(self, prompt: Prompt, pad: int) -> None:
        self.prompt, self.pad = prompt, pad
        self.ids: tuple[list[int], list[int]] = ([], [])
        self.proofs: dict[int, dict[str, Any]] = {}
        self._told = 0

    def follow(
        self, events: Iterator[_Event], on_step: OnStep | None, on_first: OnStep | None
    ) -> None:
        """Until both are whole, or who listens wants no more. Raises what the server says."""
        for row, what in events:
            if isinstance(what, BaseException):
                raise what
            if isinstance(what, dict):
                self.proofs[row] = what
            else:
                self.ids[row].extend(what)
                first = row == EDITED and len(self.ids[row]) == len(what)
                if first and on_first and on_first(torch.tensor([[*self.prompt.ids, *what]])):
                    return
            if on_step and self._tell(on_step):
                return

    def _tell(self, on_step: OnStep) -> bool:
        """Every step that both texts have come to, or have ended before; True stops."""
        while self._told < self._steps:
            self._told += 1
            if on_step(self._so_far(self._told)):
                return True
        return False

    @property
    def _steps(self) -> int:
        waited_for = [ids for row, ids in enumerate(self.ids) if row not in self.proofs]
        lengths = [len(ids) for ids in waited_for or self.ids]
        return min(lengths) if waited_for else max(lengths)

    def _so_far(self, step: int) -> torch.Tensor:
        """Both after so many tokens [2, s]."""
        rows = [[*ids[:step], *[self.pad] * (step - len(ids))] for ids in self.ids]
        return torch.tensor([[*self.prompt.ids, *row] for row in rows])


class _Rows:
    """Streams of some requests at once; when left, the server is told by their end."""

    def __init__(self, url: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._client = httpx.Client(base_url=url, headers=_key(), timeout=None)
        self._left = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(row, body), daemon=True)
            for row, body in enumerate(bodies)
        ]

    def __enter__(self) -> Iterator[_Event]:
        for thread in reversed(self._threads):  # the edited text first: it is waited for
            thread.start()
        return self._heard()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _heard(self) -> Iterator[_Event]:
        done = 0
        while done < len(self._threads):
            event = self._events.get()
            done += isinstance(event[1], dict)
            yield event

    def _follow(self, row: int, body: Mapping[str, Any]) -> None:
        try:
            with self._client.stream("POST", "/v1/completions", json=dict(body)) as response:
                if response.status_code != 200:
                    response.read()
                    raise SteerError(response.json()["error"]["message"])
                for line in response.iter_lines():
                    if self._left.is_set():
                        return
                    if line.startswith("data: {"):
                        self._tell(row, json.loads(line.removeprefix("data: ")))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            told = error if isinstance(error, SteerError) else FetchError(f"the server: {error}")
            self._events.put((row, told))

    def _tell(self, row: int, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            raise SteerError(chunk["error"]["message"])
        for choice in chunk["choices"]:
            if ids := choice.get("token_ids"):
                self._events.put((row, ids))
        if "steer" in chunk:
            self._events.put((row, chunk["steer"]))


def _key() -> dict[str, str]:
    key = os.environ.get("STEER_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _receipt(entries: Sequence[Mapping[str, Any]]) -> Receipt:
    """Inverse of `Receipt.to_list`."""
    listed = ("acted_tokens", "massive", "cancelled_by")
    return Receipt(
        tuple(
            EditReceipt(
                **{
                    **entry,
                    **{name: tuple(entry[name]) for name in listed},
                    "tokens": tuple(TokenEdit(**token) for token in entry["tokens"]),
                }
            )
            for entry in entries
        )
    )


def _read_again(
    model: Model,
    prompt: Prompt,
    ids: Sequence[int],
    interventions: tuple[Intervention, ...],
    dictionaries: Sequence[Dictionary],
) -> Receipt:
    """What the edits do along a text, read in one pass."""
    read = [*prompt.ids, *ids[:-1]]
    plans = model.plans(interventions, dictionaries, rows=slice(0, 1))
    tokens, mask = model.pad([read])
    span = model.span(tokens, mask)
    span = replace(span, prompt_length=torch.tensor([len(prompt.ids)], device=tokens.device))
    _, records = edited_logits(model, tokens, span, plans)
    return build(interventions, [records], [model.token(token) for token in read])
