"""The one place where a batch to run becomes a job that is kept, or is run here.

A batch is a trace body and what it is given. Run here, it is called. Sent, it is a job: without
waiting, and never twice, see `steer.lm.remote_jobs`. `local` is rehearsed: the job is serialised,
read back, run here, kept and taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from steer.disk.content import content_digest, source_digest
from steer.errors import FetchError, ModelError, SteerError
from steer.lm.language_model import LanguageModel
from steer.lm.remote import GONE, LOCAL, Remote, backend, host_of, sending
from steer.lm.remote_jobs import ANSWERED, RemoteJob

T = TypeVar("T")
DTYPE = "dtype"
"""What the answer of every body has: the dtype of the model that ran it."""
_PATIENCE = 600.0
"""Seconds after which a job that the server does not know will not come."""
_WAITS = (0.1, 5.0)
"""Seconds between two questions: at first, and at most."""


@dataclass(frozen=True, eq=False)
class Question(Generic[T]):
    """A batch to run.

    of: what it computes, in words.
    body: a trace body of ours, `body(nn, *given, asked)`: the tracer's backend and, where it ran
        here, the answer: plain data by name, with `DTYPE`. asked: arguments of nnsight's trace.
    given: all that the answer depends on beside the model.
    read: what is made of the answer; raises `SteerError` if it is not whole.
    """

    of: str
    body: Callable[..., tuple[Any, Any]]
    given: tuple[Any, ...]
    read: Callable[[dict[str, Any]], T]


def answers(model: LanguageModel, remote: Remote, questions: Iterable[Question[T]]) -> Iterator[T]:
    """The answer of each question, in their order: here one after the other as they are asked for;
    elsewhere all are sent before the first is waited for.

    Raises what `steer.lm.remote.backend` raises, `SteerError` for a job that fails, `ModelError`
    for a server whose model has another dtype, and `FetchError` for one that does not answer; the
    other jobs are kept.
    """
    if not remote:
        for question in questions:
            with model.lock:
                _, answer = question.body(model.nn, *question.given, {})
            yield question.read(answer)
        return
    errands = [_Errand(model, remote, one, _digest(model, remote, one)) for one in questions]
    jobs = [errand.sent() for errand in errands]
    for errand, job in zip(errands, jobs, strict=True):
        yield errand.taken(job)


@dataclass(frozen=True, eq=False)
class _Errand(Generic[T]):
    """A question on its way."""

    model: LanguageModel
    remote: Remote
    question: Question[T]
    digest: str

    def sent(self) -> RemoteJob:
        """The job that was sent before, or a new one."""
        return RemoteJob.kept(self.digest) or self._send()

    def taken(self, job: RemoteJob) -> T:
        """Wait for it. It is sent anew, once, where the server has lost it."""
        (pause, most), again = _WAITS, False
        while (state := _looked(job)) != ANSWERED:
            if state == GONE or (state == "unknown" and job.age > _PATIENCE):
                job.forget()
                if again:
                    raise FetchError(f"{job.host} has lost what job {job.id} gave, twice")
                job, again = self.sent(), True
            time.sleep(pause)
            pause = min(2 * pause, most)
        answer = job.take()
        try:
            self._check(answer, job)
            return self.question.read(answer)
        except SteerError:
            job.forget()  # not what was asked for: never to be taken again
            raise

    def _send(self) -> RemoteJob:
        host, local, digest = host_of(self.remote), self.remote == LOCAL, self.digest
        asked = backend(self.model.nn, self.remote)
        with sending(host), self.model.lock:
            server, answer = self.question.body(self.model.nn, *self.question.given, asked)
        job = RemoteJob(
            id=f"{LOCAL}-{digest[:8]}" if local else str(server.job_id),
            of=self.question.of,
            digest=digest,
            host=host,
            key="" if local else str(server.model_key),
            sent=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if local:
            job.answer(answer)
        job.keep()
        return job

    def _check(self, answer: dict[str, Any], job: RemoteJob) -> None:
        theirs = str(answer.get(DTYPE)).removeprefix("torch.")
        if theirs != self.model.dtype:
            raise ModelError(
                f"{job.host} runs {self.model.name} in {theirs}, and here it is in "
                f"{self.model.dtype}, which results would name: load it with dtype={theirs!r}"
            )


def _digest(model: LanguageModel, remote: Remote, question: Question[Any]) -> str:
    """Of all that decides the answer: never somebody else's is taken for it."""
    which = [model.name, model.fingerprint, model.dtype, model.nn._remoteable_get_env()]
    where = [host_of(remote), which, source_digest()]
    return content_digest(where, question.body, question.given)


def _looked(job: RemoteJob) -> str:
    try:
        return job.look()
    except FetchError:
        raise
    except SteerError:
        job.forget()  # it failed: the same again is to be tried again
        raise
