"""Which status an error has."""

from __future__ import annotations

import pytest

from apps.server.answer.errors import status_of
from apps.server.request.offer import UnknownModelError
from steer.errors import SilentEditError, SteerError
from steer.serving.ask import BusyError, ClosingError, GoneError, LateError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SteerError("wrong"), 400),
        (UnknownModelError("wrong"), 404),
        (SilentEditError("wrong"), 422),
        (BusyError("wrong"), 429),
        (ClosingError("wrong"), 503),
        (LateError("wrong"), 504),
        (GoneError("wrong"), 499),
        (ZeroDivisionError("ours"), 500),
    ],
)
def test_an_error_s_status_says_whose_it_is(error: Exception, status: int) -> None:
    assert status_of(error) == status
