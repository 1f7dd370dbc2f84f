"""Jobs of a remote server that survive the process that sent them.

A job is sent without waiting, and what is to be known of it is kept in the cache: a JSON file by
the digest of all that its answer depends on. Whoever asks the same again, in this process or a
later one, is given that job's answer, and nothing is sent twice. Once an answer is taken, the job
is forgotten. `local` is rehearsed: the job is serialised, read back, run here, kept and taken.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.files.whole import in_one_move, write_whole
from steer.disk.cache import cache_folder, cache_part
from steer.errors import FetchError, SteerError
from steer.lm.remote import Remote, backend, host_of, poll, sending

ANSWER = "answer"
"""What a trace body calls the one value that it saves."""
_LOCAL = "local"
_PART = "remote"
"""Of the cache."""
_GONE = 600.0
"""Seconds after which a job that the server does not know will not come."""
_WAITS = (0.1, 5.0)
"""Seconds between two questions: at first, and at most."""


@dataclass(frozen=True)
class RemoteJob:
    """id: the server's. of: what it computes, in words. digest: of all that its answer depends on.

    host: the server, or `local`. key: the model as the server knows it. sent: when, in UTC.
    """

    id: str
    of: str
    digest: str
    host: str
    key: str
    sent: str

    @property
    def file(self) -> Path:
        return _place() / f"{self.digest}.json"

    @property
    def answer(self) -> Path:
        """Where its answer is once it is fetched."""
        return _place() / f"{self.digest}.pt"

    @property
    def age(self) -> float:
        """Seconds since it was sent."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.sent)).total_seconds()

    def look(self) -> str:
        """How far it is, and its answer fetched if there is one: `answered` then.

        Raises as `steer.lm.remote.poll` does.
        """
        if self.answer.exists():
            return "answered"
        state, saved = poll(self.host, self.key, self.id)
        if saved is None:
            return state
        _keep(self.answer, saved[ANSWER])
        return "answered"

    def forget(self) -> None:
        """Nothing of it is kept here; the server is not told."""
        self.answer.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Question:
    """of, digest: as of the job. send: traces it with nnsight's arguments, and gives the tracer's
    backend and, where it ran here, the answer."""

    of: str
    digest: str
    send: Callable[[dict[str, Any]], tuple[Any, Tensor | None]]


def digest_of(*parts: object) -> str:
    """Of tensors by shape, dtype and content, and of anything else by its JSON."""
    made = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            made.update(f"{tuple(part.shape)} {part.dtype}".encode())
            bits = part.detach().cpu().contiguous().view(-1).view(torch.uint8)
            made.update(bits.numpy().tobytes())
        else:
            made.update(json.dumps(part).encode())
        made.update(b"\0")
    return made.hexdigest()[:32]


def kept_jobs() -> list[RemoteJob]:
    """Those whose answers were not taken, the oldest first."""
    jobs = [_read(path) for path in (cache_folder() / _PART).glob("*.json")]
    return sorted(jobs, key=lambda job: (job.sent, job.digest))


def answers(nn: Any, remote: Remote, questions: Sequence[Question]) -> Iterator[Tensor]:
    """The answer of each question, in their order; all are sent before the first is waited for.

    Raises what `steer.lm.remote.backend` raises, `SteerError` for a job that fails, and
    `FetchError` for a server that does not answer; the other jobs are kept.
    """
    asked = backend(nn, remote, blocking=False)
    jobs = [_job(nn, remote, asked, question) for question in questions]
    for question, job in zip(questions, jobs, strict=True):
        yield _taken(job, partial(_send, nn, remote, asked, question))


def _job(nn: Any, remote: Remote, asked: dict[str, Any], question: Question) -> RemoteJob:
    path = _place() / f"{question.digest}.json"
    return _read(path) if path.exists() else _send(nn, remote, asked, question)


def _send(nn: Any, remote: Remote, asked: dict[str, Any], question: Question) -> RemoteJob:
    host, local = host_of(remote), remote == _LOCAL
    with sending(host):
        server, answer = question.send(asked)
    job = RemoteJob(
        id=f"{_LOCAL}-{question.digest[:8]}" if local else str(server.job_id),
        of=question.of,
        digest=question.digest,
        host=host,
        key="" if local else str(server.model_key),
        sent=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if local:
        _keep(job.answer, answer)
    write_whole(job.file, json.dumps(asdict(job)))
    return job


def _taken(job: RemoteJob, again: Callable[[], RemoteJob]) -> Tensor:
    """Wait for it, and forget it. again: sends it anew, where the server has lost it."""
    pause, most = _WAITS
    while (state := _looked(job)) != "answered":
        if state == "unknown" and job.age > _GONE:
            job.forget()
            job = again()
        time.sleep(pause)
        pause = min(2 * pause, most)
    answer: Tensor = torch.load(job.answer, map_location="cpu", weights_only=True)
    job.forget()
    return answer


def _looked(job: RemoteJob) -> str:
    try:
        return job.look()
    except FetchError:
        raise
    except SteerError:
        job.forget()  # it failed: the same again is to be tried again
        raise


def _place() -> Path:
    return cache_part(_PART)


def _read(path: Path) -> RemoteJob:
    try:
        return RemoteJob(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise SteerError(
            f"{path} is no job that was sent ({error}); delete it, and what it was of is sent again"
        ) from error


def _keep(path: Path, answer: Tensor | None) -> None:
    with in_one_move(path) as scratch:
        torch.save(answer, scratch)
