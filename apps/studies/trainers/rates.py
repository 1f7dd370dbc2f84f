"""How fast a trainer is told to learn: as its library recommends, or all alike."""

from __future__ import annotations

from typing import Any

from apps.studies.trainers.size import Size
from steer.errors import SteerError

OWN = "own"
DEFAULT = (OWN, "1e-3")


def rate(said: str) -> str | float:
    """`own`, or a learning rate. Raises `SteerError` for anything else."""
    if said == OWN:
        return OWN
    try:
        value = float(said)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise SteerError(f"rate must be {OWN!r} or a number between 0 and 1, not {said!r}")
    return value


def settings(library: str, size: Size, rate: str | float) -> dict[str, Any]:
    """What a library's trainer is given, by its own names.

    `own`: what it does if it is told nothing; for ours, the rate of the shipped recipe. A number:
    Adam at that rate, warmed up over 2% of the steps and decayed to 0 over the last 30%; in
    sparsify, whose decay can't be moved, from the end of warming up.
    """
    if rate == OWN:
        return _OWN[library]
    warm, decay = size.steps // 50, round(0.3 * size.steps)
    match library:
        case "sparsify":
            return {"optimizer": "adam", "lr": rate, "lr_warmup_steps": warm}
        case "sae-lens":
            scheduled = {"lr_warm_up_steps": warm, "lr_decay_steps": decay}
            return {"lr": rate, "lr_end": rate, **scheduled}
        case "dictionary_learning":
            return {"lr": rate, "warmup_steps": warm, "decay_start": size.steps - decay}
        case _:
            return {"learning_rate": rate}


_OWN: dict[str, dict[str, Any]] = {
    "steer": {"learning_rate": 5e-4},
    "sparsify": {},
    "sae-lens": {"lr": 3e-4, "lr_end": 3e-4},
    "dictionary_learning": {"lr": None},
}
"""sparsify and dictionary_learning choose by width: .0082 for signs, and 3.3e-4."""
