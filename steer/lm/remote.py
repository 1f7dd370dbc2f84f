"""Sending a run elsewhere: to NDIF, to a server's address, or to a rehearsal of that here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from steer.errors import FetchError, ModelError, SteerError
from steer.lm.placement import packing_of

Remote = bool | str
"""False: here. True: on NDIF. "local": rehearsed here. Otherwise a server's address."""

LOCAL = "local"
GONE = "gone"
"""A job whose values the server has no longer."""
_PACKAGES = ("steer", "dictionaries")
_GONE_CODES = (403, 404, 410)
"""What a store of results answers for what it has thrown away, or whose address has expired."""


def backend(nn: Any, remote: Remote) -> dict[str, Any]:
    """Arguments that send a trace of the nnsight model elsewhere, without waiting for it: the
    tracer's backend has a `job_id` to ask by.

    Once installed, our source is no longer taken for the user's own, so nnsight has to be told to
    send it along; without that, `remote="local"` would not notice and a server would fail.

    Raises what `check_remote` raises.
    """
    check_remote(nn, remote)
    from nnsight import register

    for package in _PACKAGES:
        register(package)
    made = nn._remote_backend(remote, blocking=False, job_id=None, verbose=False)
    if remote != LOCAL:
        made.display.enabled = False
    return {"backend": made}


def check_remote(nn: Any, remote: Remote, **beside: object) -> None:
    """Raise before anything runs: `SteerError` for what is no address, and for what a remote run
    can't have `beside` it (by name; None is nothing); `ModelError` for a model that no server can
    know, and `FetchError` for NDIF without a key."""
    if not remote:
        return
    for name, given in beside.items():
        if given is not None:
            raise SteerError(
                f"{name} can't be had with remote={remote!r}: a remote run sends its passes from "
                "this process, and only those of the edits; leave one of the two out"
            )
    if remote != LOCAL:
        _check_server(remote)
        _check_known(nn)


def _check_server(remote: Remote) -> None:
    from nnsight import CONFIG

    if isinstance(remote, str) and not remote.startswith(("http://", "https://")):
        raise SteerError(
            f"remote={remote!r} is not allowed: give True for NDIF (ndif on the command line), "
            "'local' to rehearse it, or an address that starts with http:// or https://"
        )
    if remote is True and not CONFIG.API.APIKEY:
        raise FetchError(
            f"there is no key for {CONFIG.API.HOST}: set NDIF_API_KEY to yours, or rehearse with "
            "remote='local'"
        )


def _check_known(nn: Any) -> None:
    name = nn.repo_id
    if not isinstance(name, str) or name.count("/") != 1 or Path(name).exists():
        raise ModelError(
            f"a server knows models by their hub id, org/name, and this one was loaded from "
            f"{name or 'memory'!r}: load it by its hub id, or rehearse with remote='local'"
        )
    if packing_of(nn._module):
        raise ModelError(
            f"{name} has packed weights here, and results would not be those of a server's: load "
            "it without quantization"
        )


def host_of(remote: Remote) -> str:
    """The server's address, or `local`."""
    from nnsight import CONFIG

    return remote.rstrip("/") if isinstance(remote, str) else str(CONFIG.API.HOST).rstrip("/")


def ran_at(remote: Remote) -> str:
    """What results say of where they were run: `host_of`, or nothing if that is here."""
    return host_of(remote) if remote else ""


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
    job, `gone` if it has its values no longer), and once it is completed the values by name.

    Raises `SteerError` for a job that failed, with the server's reason, and `FetchError` for a
    server that does not answer, or whose answer is damaged.
    """
    import httpx
    from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
    from zstandard import ZstdError

    asked = RemoteBackend(model_key, host=host, blocking=False, job_id=job_id)
    asked.display.enabled = False
    try:
        saved = asked.poll()
    except RemoteError as error:
        raise SteerError(f"job {job_id} failed at {host}: {error}") from error
    except httpx.HTTPError as error:
        if asked.status is not None and _is_gone(error):
            return GONE, None
        raise FetchError(f"{host} does not tell of job {job_id}: {error}") from error
    except (ZstdError, UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise FetchError(
            f"what {host} answers of job {job_id} is damaged ({error}): run the same again"
        ) from error
    state = "unknown" if asked.status is None else asked.status.value.lower()
    return (GONE if state == "completed" and saved is None else state), saved


def _is_gone(error: Exception) -> bool:
    """Whether a status came, and the values that it points to are not there."""
    response = getattr(error, "response", None)
    return response is not None and response.status_code in _GONE_CODES
