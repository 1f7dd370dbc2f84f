"""Tokens a second of one and of eight clients, and how long the first token takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import torch

from apps.server.bench.started import Target
from steer.model import Model

_PROMPT = "The old bridge"
_LONG = (
    "The committee met on Tuesday to discuss the plans for the new library in the town. " * 5
).strip()
_TOKENS = 64
_CLIENTS = 8
_EDIT = [{"feature": 1176, "clamp": "2x max"}]


def _body(number: int) -> dict[str, Any]:
    """Other noise and another dose for each client."""
    edit = [{"feature": 1176, "clamp": f"{1 + number / 8}x max"}]
    return {"prompt": _PROMPT, "max_tokens": _TOKENS, "seed": number, "steering": edit}


def _rate(target: Target, clients: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda n: target.complete(**_body(n)), range(clients)))
    drawn = sum(answer["usage"]["completion_tokens"] for answer in answers)
    return drawn / (time.perf_counter() - began)


def _plain(model: Model, tokens: int) -> float:
    """transformers' own generate of the same prompt, unedited, in this process."""
    ids = torch.tensor([model.tokenizer(_PROMPT)["input_ids"]])
    began = time.perf_counter()
    with torch.inference_mode():
        output = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=True, top_k=0
        )
    return (output.shape[1] - ids.shape[1]) / (time.perf_counter() - began)


def _first(target: Target, prompt: str) -> float:
    began = time.perf_counter()
    for _ in target.stream(prompt=prompt, max_tokens=1, temperature=0, steering=_EDIT):
        return time.perf_counter() - began
    raise RuntimeError("no token came")


def _first_beside(target: Target, prompt: str) -> float:
    """While seven others decode."""
    stop, begun = threading.Event(), threading.Barrier(_CLIENTS)

    def decode(number: int) -> None:
        told = False
        body = {**_body(number), "max_tokens": 400}
        for _ in target.stream(**body):
            if not told:
                begun.wait()
                told = True
            if stop.is_set():
                return

    with ThreadPoolExecutor(_CLIENTS - 1) as pool:
        others = [pool.submit(decode, number) for number in range(_CLIENTS - 1)]
        begun.wait()
        taken = _first(target, prompt)
        stop.set()
        for other in others:
            other.result()
    return taken


def speed(target: Target, model: Model, rounds: int) -> dict[str, Any]:
    """Medians of pairs, each measured one after the other."""
    _rate(target, _CLIENTS)
    one, eight, plain = [], [], []
    for _ in range(rounds):
        plain.append(_plain(model, _TOKENS))
        one.append(_rate(target, 1))
        eight.append(_rate(target, _CLIENTS))
    figures: dict[str, Any] = {
        "tokens a second, one client": _spread(one),
        "tokens a second, eight clients": _spread(eight),
        "eight clients / one": _spread([b / a for a, b in zip(one, eight, strict=True)]),
        "one client / transformers' generate, unedited, in process": _spread(
            [a / b for a, b in zip(one, plain, strict=True)]
        ),
    }
    for name, prompt in (("3", _PROMPT), (str(_length(model, _LONG)), _LONG)):
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(_first(target, prompt))
            beside.append(_first_beside(target, prompt))
        figures |= {
            f"first token of {name}, ms, alone": _spread([1000 * seconds for seconds in alone]),
            f"first token of {name}, ms, while 7 decode": _spread([1000 * b for b in beside]),
            f"first token of {name}, while 7 decode / alone": round(
                median(beside) / median(alone), 2
            ),
        }
    return figures


def _length(model: Model, text: str) -> int:
    return len(model.tokenizer(text)["input_ids"])


def _spread(values: Sequence[float]) -> str:
    """Median, lowest and highest."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
