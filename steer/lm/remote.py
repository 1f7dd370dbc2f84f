"""Sending a run elsewhere: to NDIF, to a server's address, or to a rehearsal of that here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steer.errors import ModelError, SteerError

Remote = bool | str
"""False: here. True: on NDIF. "local": rehearsed here. Otherwise a server's address."""

_PACKAGES = ("steer", "dictionaries")


def backend(nn: Any, remote: Remote) -> dict[str, Any]:
    """Arguments that send a trace of the nnsight model elsewhere.

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
    return {"remote": remote}


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
