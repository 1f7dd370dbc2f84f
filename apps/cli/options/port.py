"""A port that a server is to listen at."""

from __future__ import annotations

import socket

from steer.errors import SteerError

HOST = "127.0.0.1"


def free_port(port: int, host: str = HOST) -> int:
    """The port, if a server can listen there. Raises `SteerError` before anything is loaded."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SteerError(
                f"port {port} of {host} can't be used: {reason}; give another"
            ) from error
    return port
