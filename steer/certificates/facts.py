"""What is published that is no measurement, beside what the file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dictionaries.dictionary import Dictionary
from steer.certificates.evidence import held_dtype
from steer.certificates.published import Published, same_kind
from steer.certificates.recorded import FINEST, Records

DTYPE = "dtype"


@dataclass(frozen=True)
class Fact:
    """agrees: None if it can't be told."""

    name: str
    published: str
    found: str
    agrees: bool | None

    def __str__(self) -> str:
        return f"{self.name} is {self.found} here, and {self.published} is published"


def facts(
    dictionary: Dictionary, said: Published, records: Records | None, off: float | None
) -> Iterator[Fact]:
    """Those that are published; off: how far recorded activations are off, as loaded."""
    config = dictionary.config
    for name, stated, here in (
        ("site", said.site, config.hookpoint),
        ("site_out", said.site_out, config.hookpoint_out),
    ):
        if stated is not None and here is not None:
            yield Fact(name, stated, here, stated == here)
    if said.kind is not None:
        same = same_kind(said.kind, dictionary.architecture)
        yield Fact("kind", said.kind, dictionary.architecture, same)
    bos = dict(config.metadata).get("prepend_bos")
    if said.prepend_bos is not None and isinstance(bos, bool):
        same = said.prepend_bos == bos
        yield Fact("prepend_bos", str(said.prepend_bos).lower(), str(bos).lower(), same)
    if said.dtype is not None:
        held = held_dtype(dictionary)
        yield Fact(DTYPE, said.dtype, held, _same_dtype(said.dtype, held, records, off))


def _same_dtype(stated: str, held: str, records: Records | None, off: float | None) -> bool | None:
    """Weights that were rounded before they were used are right all the same: activations tell."""
    if held in (stated, "float32"):
        return True
    if records is None or off is None or records.grain > FINEST:
        return None
    return off <= FINEST
