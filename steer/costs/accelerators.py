"""Accelerators by their data sheets, and the share of their peak that work like ours can expect."""

from __future__ import annotations

from dataclasses import dataclass

from steer.errors import SteerError

SHARE = 0.3
"""Of the peak: an assumption, not measured here. Large dense passes reach 0.4 to 0.5, short ones
less."""
USABLE = 0.9
"""Of a card's memory."""


@dataclass(frozen=True)
class Accelerator:
    """gib: of memory; teraflops: dense bf16 operations a second at the peak, in 10¹²."""

    name: str
    gib: int
    teraflops: float


TABLE = (
    Accelerator("RTX 4090", 24, 165),
    Accelerator("L40S", 48, 362),
    Accelerator("A100 80GB", 80, 312),
    Accelerator("H100 SXM", 80, 989),
    Accelerator("H200", 141, 989),
    Accelerator("B200", 180, 2250),
    Accelerator("MI300X", 192, 1307),
)


def accelerators(named: str | None) -> tuple[Accelerator, ...]:
    """All, or those with this in their name. Raises `SteerError` if there are none."""
    if named is None:
        return TABLE
    chosen = tuple(
        accelerator for accelerator in TABLE if named.lower() in accelerator.name.lower()
    )
    if not chosen:
        known = ", ".join(accelerator.name for accelerator in TABLE)
        raise SteerError(f"machine {named!r} is unknown; allowed: {known}")
    return chosen
