"""Jobs of a remote server that survive the process that sent them.

What is to be known of a job is kept in the cache: a JSON file by the digest of all that its answer
depends on, and beside it the answer, once it is fetched. Both stay until the call that asked has
returned: whoever asks the same again before that, in this process or a later one, is given that
job's answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from dictionaries.files.whole import in_one_move, write_whole
from steer.disk.cache import cache_folder, cache_part
from steer.errors import FetchError, NonFiniteError, SilentEditError, SteerError
from steer.lm.remote import GONE, LOCAL, poll

ANSWER = "answer"
"""What a trace body calls the one value that it saves."""
ANSWERED = "answered"
_PART = "remote"
"""Of the cache."""
_TAKEN: ContextVar[dict[str, RemoteJob] | None] = ContextVar("taken", default=None)
"""Of the call that goes on, by digest."""


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

    @classmethod
    def kept(cls, digest: str) -> RemoteJob | None:
        """What was sent and is not taken; None if nothing was."""
        path = _file(digest)
        return _read(path) if path.exists() else None

    @property
    def age(self) -> float:
        """Seconds since it was sent."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.sent)).total_seconds()

    def keep(self) -> None:
        write_whole(_file(self.digest), json.dumps(asdict(self)))

    def look(self) -> str:
        """How far it is, and its answer fetched if there is one: `answered` then.

        Raises as `steer.lm.remote.poll` does, and `SteerError` for values that are none of ours.
        """
        if _answer(self.digest).exists():
            return ANSWERED
        if self.host == LOCAL:
            return GONE
        state, saved = poll(self.host, self.key, self.id)
        if saved is None:
            return state
        if not isinstance(saved, dict) or ANSWER not in saved:
            raise SteerError(f"job {self.id} at {self.host} saved no answer: run the same again")
        self.answer(saved[ANSWER])
        return ANSWERED

    def answer(self, plain: Any) -> None:
        """Keep what it saved: tensors, numbers and texts, in lists and dictionaries."""
        with in_one_move(_answer(self.digest)) as scratch:
            torch.save(plain, scratch)

    def take(self) -> Any:
        """The answer, which is here. It is forgotten when the call that takes it has returned.

        Raises `FetchError` where the file is damaged or gone; it is fetched again then.
        """
        try:
            plain = torch.load(_answer(self.digest), map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            _answer(self.digest).unlink(missing_ok=True)
            raise FetchError(
                f"the answer of job {self.id} can't be read ({error}): run the same again"
            ) from error
        taken = _TAKEN.get()
        if taken is None:
            self.forget()
        else:
            taken[self.digest] = self
        return plain

    def forget(self) -> None:
        """Nothing of it is kept here; the server is not told."""
        _answer(self.digest).unlink(missing_ok=True)
        _file(self.digest).unlink(missing_ok=True)


@contextmanager
def one_call() -> Iterator[None]:
    """Jobs whose answers are taken while this is entered are kept until it is left: what is stopped
    half way, by whatever error or signal, sends nothing twice. They are forgotten where it ends
    well, or because of what was answered. Within another, that one's end counts."""
    if _TAKEN.get() is not None:
        yield
        return
    token = _TAKEN.set({})
    try:
        yield
        forget_taken()
    except (NonFiniteError, SilentEditError):
        forget_taken()
        raise
    finally:
        _TAKEN.reset(token)


def forget_taken() -> None:
    """Of the call that goes on: what came of the answers so far is safe elsewhere."""
    taken = _TAKEN.get() or {}
    for job in taken.values():
        job.forget()
    taken.clear()


def kept_jobs() -> list[RemoteJob]:
    """Those whose answers were not taken, the oldest first."""
    jobs = [_read(path) for path in (cache_folder() / _PART).glob("*.json")]
    return sorted(jobs, key=lambda job: (job.sent, job.digest))


def _file(digest: str) -> Path:
    return cache_part(_PART) / f"{digest}.json"


def _answer(digest: str) -> Path:
    return cache_part(_PART) / f"{digest}.pt"


def _read(path: Path) -> RemoteJob:
    try:
        return RemoteJob(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise SteerError(
            f"{path} is no job that was sent ({error}); delete it, and what it was of is sent again"
        ) from error
