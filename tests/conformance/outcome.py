"""What came of one cell of the table."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.errors import DictionaryError, FetchError, SilentEditError, SteerError

RIGHT, REFUSED, WRONG, RAW, NONE = "right", "refused", "WRONG", "raw", "n/a"
PASSED = ("runs/few_rows.py", "maths/memory.py")
"""Files of steer that every call of torch goes through, whoever is at fault."""
NAMED = (SteerError, DictionaryError, SilentEditError, FetchError)


@dataclass(frozen=True)
class Outcome:
    """status: right, refused (by name), WRONG, raw (an exception of no kind of steer's), or n/a.

    detail: the residue, or what was said; where: the deepest line of steer that a raw one passed.
    """

    status: str
    detail: str = ""
    where: str = ""


def cell(job: Callable[[], Outcome]) -> Outcome:
    """The job's outcome, or what it raised."""
    try:
        return job()
    except NAMED as error:
        return Outcome(REFUSED, f"{type(error).__name__}: {_short(str(error))}")
    except Exception as error:  # the point of the table is to show them
        return Outcome(RAW, f"{type(error).__name__}: {_short(_last(str(error)))}", _deepest(error))


def same(
    found: Tensor, wanted: Tensor, tolerance: float = 1e-3, noise: float = 0.0, what: str = ""
) -> Outcome:
    """Right if two tensors agree: ‖difference‖ ≤ tolerance · ‖wanted‖ + noise."""
    if found.shape != wanted.shape:
        return Outcome(WRONG, f"{what}shape {list(found.shape)}, not {list(wanted.shape)}")
    gap, size = (found - wanted).double().norm().item(), wanted.double().norm().item()
    if gap <= tolerance * size + noise:
        return Outcome(RIGHT)
    if not torch.isfinite(found).all():
        return Outcome(WRONG, f"{what}not finite")
    return Outcome(WRONG, f"{what}off by {gap:.3g} of {size:.3g}")


def worst(*outcomes: Outcome) -> Outcome:
    """The first that is not right."""
    return next((outcome for outcome in outcomes if outcome.status != RIGHT), outcomes[0])


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _short(text: str) -> str:
    return " ".join(text.split())[:260]


def _deepest(error: BaseException) -> str:
    """Such as `steer/lm/passes/resumed.py:82`, through all causes."""
    places: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        for number, frame in enumerate(frames):
            name = frame.filename.replace("\\", "/")
            passed = name.endswith(PASSED) and number < len(frames) - 1
            if "/steer/" in name and "site-packages" not in name and not passed:
                places.append(f"steer/{name.rsplit('/steer/', 1)[1]}:{frame.lineno}")
        cause = cause.__cause__ or cause.__context__
    return places[-1] if places else ""
