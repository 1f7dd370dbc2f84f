"""Eight clients for minutes: texts checked, cancels, disconnects and errors among them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from apps.server.bench.rows import Row, add
from apps.server.bench.started import MODEL, Target
from apps.server.bench.together import bodies

_CLIENTS = 8
_TOKENS = 24
_WRONG: tuple[dict[str, Any], ...] = (
    {"prompt": "a", "steerng": []},
    {"prompt": "a", "steering": [{"feature": 99_999, "clamp": 1}]},
    {"prompt": "a", "steering": [{"feature": 1176, "clamp": 1e38}]},
    {"prompt": "a", "steering": [{"feature": 5, "scale": 1}], "silent": "error"},
    {"prompt": "a", "max_tokens": 10**6},
    {"prompt": ""},
)


def soak(target: Target, minutes: float, log: Path) -> Row:
    """Counts, wrong texts, and memory over time. The first tenth is left out of what is flat.

    log: JSON lines, one every ten seconds, of what there was so far.
    """
    asked = bodies(_TOKENS)
    known = [target.complete(**body)["choices"] for body in asked]
    counts: Counter[str] = Counter()
    until = time.monotonic() + 60 * minutes
    lock = threading.Lock()

    def client(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < until:
            outcome = _one(target, chance, asked, known)
            with lock:
                counts[outcome] += 1

    memory: list[float] = []
    began = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        running = [pool.submit(client, number) for number in range(_CLIENTS)]
        while time.monotonic() < until:
            time.sleep(min(10.0, 60 * minutes / 20))
            memory.append(target.megabytes)
            with lock:
                so_far = dict(sorted(counts.items()))
            seconds = round(time.monotonic() - began)
            add(log, {"seconds": seconds, "MiB": round(memory[-1], 1), **so_far})
        for future in running:
            future.result()
    for _ in range(100):
        if not target.served:
            break
        time.sleep(0.1)
    settled = memory[len(memory) // 10 :]
    third = max(1, len(settled) // 3)
    first, last = (sum(part) / len(part) for part in (settled[:third], settled[-third:]))
    again = [target.complete(**body)["choices"] for body in asked]
    return {
        "minutes": minutes,
        **dict(sorted(counts.items())),
        "rows left": target.served,
        "memory, MiB, mean of first and last third": f"{first:.0f}, {last:.0f}",
        "memory, last / first": round(last / first, 3),
        "texts afterwards as before": f"{sum(map(_same, known, again))} of {len(known)}",
    }


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _one(
    target: Target, chance: random.Random, asked: list[dict[str, Any]], known: list[Any]
) -> str:
    """One request, and what came of it."""
    number = chance.randrange(len(asked))
    match chance.choices(("whole", "streamed", "gone", "given up", "wrong"), (4, 2, 2, 1, 2))[0]:
        case "whole":
            answer = target.complete(**asked[number])["choices"]
            return "right text" if answer == known[number] else "WRONG TEXT"
        case "streamed":
            text = "".join(target.stream(**asked[number]))
            return "right stream" if text == known[number][0]["text"] else "WRONG STREAM"
        case "gone":  # the connection is closed in the middle of the text
            for _ in islice(target.stream(**asked[number]), chance.randrange(1, 12)):
                pass
            return "disconnected"
        case "given up":  # before there is an answer
            with target.client() as client:
                client.timeout = chance.uniform(0.05, 0.8)
                try:
                    client.post("/v1/completions", json={"model": MODEL, **asked[number]})
                except Exception as error:
                    return "given up" if "Timeout" in type(error).__name__ else "LOST"
            return "in time"
    with target.client() as client:
        wrong = {"model": MODEL, **chance.choice(_WRONG)}
        status = client.post("/v1/completions", json=wrong).status_code
    return "refused" if 400 <= status < 500 else f"WRONG STATUS {status}"
