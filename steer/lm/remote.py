"""Sending a run elsewhere: to NDIF, to a server's address, or to a rehearsal of that here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steer.errors import FetchError, ModelError, SteerError

Remote = bool | str
"""False: here. True: on NDIF. "local": rehearsed here. Otherwise a server's address."""

_PACKAGES = ("steer", "dictionaries")


def backend(nn: Any, remote: Remote, blocking: bool = True) -> dict[str, Any]:
    """Arguments that send a trace of the nnsight model elsewhere.

    blocking: whether to wait there and then; if not, the tracer's backend has a `job_id` to ask by.

    Once installed, our source is no longer taken for the user's own, so nnsight has to be told to
    send it along; without that, `remote="local"` would not notice and a server would fail.

    Raises `SteerError` for what is no address, `ModelError` for a model that no server can know.
    """
    if not remote:
        return {}
    if remote != "local":
        _check(nn, remote)
    from nnsight import register

    for package in _PACKAGES:
        register(package)
    return {"remote": remote} if blocking else {"remote": remote, "blocking": False}


def host_of(remote: Remote) -> str:
    """The server's address, or `local`."""
    from nnsight import CONFIG

    return remote.rstrip("/") if isinstance(remote, str) else str(CONFIG.API.HOST).rstrip("/")


@contextmanager
def sending(host: str) -> Iterator[None]:
    """Raise `FetchError` if a server can't be reached, or takes no job, while entered."""
    from nnsight.intervention.backends.remote import RemoteError

    try:
        yield
    except RemoteError as error:
        raise FetchError(f"{host} took no job: {error}; what was sent before is kept") from error


def poll(host: str, model_key: str, job_id: str) -> tuple[str, Any]:
    """How far a job is (`queued`, `running`, `completed`, …; `unknown` if the server has no such
    job), and once it is completed the values that it saved, by name.

    Raises `SteerError` for a job that failed, with the server's reason, and `FetchError` for a
    server that does not answer.
    """
    import httpx
    from nnsight.intervention.backends.remote import RemoteBackend, RemoteError

    asked = RemoteBackend(model_key, host=host, blocking=False, job_id=job_id)
    asked.display.enabled = False
    try:
        saved = asked.poll()
    except RemoteError as error:
        raise SteerError(f"job {job_id} failed at {host}: {error}") from error
    except httpx.HTTPError as error:
        raise FetchError(f"{host} does not tell of job {job_id}: {error}") from error
    return ("unknown" if asked.status is None else asked.status.value.lower()), saved


def _check(nn: Any, remote: Remote) -> None:
    if isinstance(remote, str) and not remote.startswith(("http://", "https://")):
        raise SteerError(
            f"remote={remote!r} is not allowed: give True for NDIF, 'local' to rehearse it, or an "
            "address that starts with http:// or https://"
        )
    name = nn.repo_id
    if not isinstance(name, str) or name.count("/") != 1 or Path(name).exists():
        raise ModelError(
            f"a server knows models by their hub id, org/name, and this one was loaded from "
            f"{name or 'memory'!r}: load it by its hub id, or rehearse with remote='local'"
        )
