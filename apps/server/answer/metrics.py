"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from steer.serving.ask import Answer, Ask
from steer.serving.engine import Step

_ROWS = (0, 1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Of one server, in a registry of its own."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.requests = Counter("steer_requests", "Answers", ["route", "status"], registry=own)
        self._read = Counter("steer_prompt_tokens", "Tokens of prompts read", registry=own)
        self._drawn = Counter("steer_generated_tokens", "Tokens generated", registry=own)
        self._rows = Histogram("steer_step_rows", "Rows a step", buckets=_ROWS, registry=own)
        self._seconds = Histogram(
            "steer_step_seconds", "Time of a step", buckets=_SECONDS, registry=own
        )
        self._texts = Counter("steer_texts", "Texts finished", ["steered"], registry=own)
        self._silent = Counter(
            "steer_silent_edits", "Edits that did nothing to a text", registry=own
        )
        self._waiting = Gauge("steer_queue_rows", "Rows that are not begun", registry=own)
        self._served = Gauge("steer_served_rows", "Rows that wait or are served", registry=own)

    def watch(self, waiting: Callable[[], float], served: Callable[[], float]) -> None:
        """Ask these for what is now."""
        self._waiting.set_function(waiting)
        self._served.set_function(served)

    def step(self, step: Step) -> None:
        self._read.inc(step.read)
        self._drawn.inc(step.drawn)
        self._rows.observe(step.rows)
        self._seconds.observe(step.seconds)

    def finished(self, asks: Sequence[Ask], answers: Sequence[Answer]) -> None:
        for ask, answer in zip(asks, answers, strict=True):
            self._texts.labels("yes" if ask.interventions else "no").inc()
            self._silent.inc(len(answer.receipt.silent))

    def text(self) -> bytes:
        """All of it, in Prometheus's own format."""
        return generate_latest(self._registry)
