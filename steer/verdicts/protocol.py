"""What is going to be done, written down before it is: a frozen value with JSON and a digest.

Everything that could be chosen after the fact is in it: texts, seeds, arms, the rule of the dose,
the level and how it is shared. What runs takes all of that from here and from nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dictionaries.files.keys import refuse_unknown
from steer.edits import Intervention
from steer.errors import SteerError
from steer.verdicts.claim import Claim
from steer.verdicts.panel import Behaviour

VERSION = 3
_ADDED = {1: ("frozen", "frozen_weights", "contents"), 2: ("contents",)}
"""What protocols of an older version lack: files from then are read, and their digests stay."""
EDIT = "edit"
RANDOM, DENSITY, TURNED = "random direction", "equal density", "sign turned"
FROZEN, WRONG_SITE, ASKING = "frozen decoder", "wrong site", "asking"
ARMS = (RANDOM, DENSITY, FROZEN, TURNED, WRONG_SITE, ASKING)
DECISIVE = (RANDOM, DENSITY, TURNED)
"""What an edit has to be better than. A direction that is written into another block of the stream
may well do the same, and so may a prompt: that is told, and is no sign that the feature is not."""


@dataclass(frozen=True)
class Protocol:
    """A registered test of one claim about one intervention.

    fingerprint, dtype: of the model; weights: digest of the edited features' numbers.
    contents: a digest of each dictionary that the edit names, of all its numbers and the statistics
        that doses such as `2x max` and equal density are made of; None in older files.
    claim: None lets each arm choose its own tokens on `choosing` of the prompts, before the others
        are run: the edit and every random direction by the same rule.
    prompts: each in its `wordings`; choosing: how many of them choose, by a shuffle of the seed.
    asking: a template of `words` and `prompt`.
    draws, others: how many random directions, and features of equal density.
    frozen, frozen_weights: a dictionary that was trained with a frozen decoder, as many of whose
        rows are controls, and the digest of all its numbers; None without that arm.
    neutral: texts on which all arms are brought to the edit's ΔCE, within `tolerance`, by scaling
        by `most_scale` at most. An edit that costs less than `least_cost` nats is met at its norm.
    decisive: the arms that decide; the others are told beside.
    level: of error, for all comparisons together: each gets its share of it.
    harm: the share of a behaviour that must be lost, beyond what random directions lose.
    """

    model: str
    fingerprint: str
    dtype: str
    intervention: Intervention
    weights: str | None
    wrong_site: str
    claim: Claim | None
    prompts: tuple[tuple[str, ...], ...]
    wordings: tuple[str, ...]
    neutral: tuple[str, ...]
    panel: tuple[Behaviour, ...]
    asking: str
    choosing: int = 14
    tokens: int = 10
    draws: int = 24
    others: int = 8
    seed: int = 0
    tolerance: float = 0.1
    most_scale: float = 8.0
    least_cost: float = 0.002
    decisive: tuple[str, ...] = DECISIVE
    level: float = 0.05
    harm: float = 0.25
    most_prompts: int = 400
    frozen: str | None = None
    frozen_weights: str | None = None
    contents: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.decisive) - set(ARMS):
            raise SteerError(f"{', '.join(sorted(unknown))} is no control; {', '.join(ARMS)} are")
        if FROZEN in self.decisive and self.frozen is None:
            raise SteerError(
                f"{FROZEN} is to decide, and no dictionary was given: frozen= names one that was "
                "trained so"
            )
        if self.frozen is not None and self.others < 1:
            raise SteerError(f"others={self.others}: no row of {self.frozen} would be a control")
        if any(len(prompt) != len(self.wordings) for prompt in self.prompts):
            raise SteerError(f"give every prompt in {len(self.wordings)} wordings")
        held_out = len(self.prompts) - (self.choosing if self.claim is None else 0)
        if held_out < 4:
            raise SteerError(
                f"{max(held_out, 0)} prompts are left to test the claim on; at least 4 are needed"
            )
        if not self.neutral:
            raise SteerError("give neutral texts: what an edit costs is measured on them")
        if self.draws < 4:
            raise SteerError(f"draws={self.draws}: at least 4 random directions are needed")
        if not 0 < self.level < 1:
            raise SteerError(f"level={self.level} is no share between 0 and 1")

    @property
    def comparisons(self) -> int:
        """How many statements share the level."""
        return len(self.decisive) + len(self.wordings) + len(self.panel)

    @property
    def each(self) -> float:
        """The level of error of each comparison, one-sided."""
        return self.level / self.comparisons

    def to_dict(self) -> dict[str, Any]:
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        version = VERSION
        if self.contents is None:
            version = 1 if self.frozen is None else 2
        lacking = _ADDED.get(version, ())
        return {
            "version": version,
            **{name: value for name, value in plain.items() if name not in lacking},
        }

    @property
    def digest(self) -> str:
        """Twelve hex digits of the content."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Protocol:
        """Inverse of `to_dict`. Raises `SteerError` for what is no protocol of this version."""
        if not isinstance(data, Mapping):
            raise SteerError(f"a protocol is a JSON object, not {type(data).__name__}")
        version = data.get("version")
        if version not in (*_ADDED, VERSION):
            raise SteerError(
                f"version {version!r} of a protocol is unknown; this release reads 1 to {VERSION}"
            )
        names = {field.name for field in fields(cls)} - set(_ADDED.get(version, ()))
        refuse_unknown(data, names | {"version"}, "a protocol", SteerError)
        if missing := names - set(data):
            raise SteerError(f"a protocol needs {', '.join(sorted(missing))}")
        read = {**_READ, "intervention": Intervention.from_dict}
        return cls(**{name: read.get(name, _same)(data[name]) for name in names})


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _same(value: Any) -> Any:
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise SteerError(f"{value!r} is no list of texts")
    return tuple(value)


_READ = {
    "claim": lambda data: None if data is None else Claim.from_dict(data),
    "prompts": lambda data: tuple(_texts(wordings) for wordings in data),
    "wordings": _texts,
    "neutral": _texts,
    "decisive": _texts,
    "contents": lambda data: None if data is None else _texts(data),
    "panel": lambda data: tuple(Behaviour.from_dict(behaviour) for behaviour in data),
}
