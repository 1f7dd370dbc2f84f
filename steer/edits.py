"""What to do to features: small frozen values that compare by content and travel as JSON.

Every feature edit is the same four numbers, so that nothing is dispatched at run time:

    f′ = clip(mul · f + add, lo, hi)

| edit        | mul | add | lo | hi |   meaning                                               |
|-------------|-----|-----|----|----|---------------------------------------------------------|
| `Ablate()`  | 0   | 0   | −∞ | ∞  | the feature is absent                                   |
| `Clamp(v)`  | 0   | v   | −∞ | ∞  | the feature is v at every token, active there or not    |
| `Scale(c)`  | c   | 0   | −∞ | ∞  | c times as active; nothing where it is silent           |
| `Add(a)`    | 1   | a   | −∞ | ∞  | a more than it is                                       |
| `Floor(v)`  | 1   | 0   | v  | ∞  | at least v                                              |
| `Cap(v)`    | 1   | 0   | −∞ | v  | at most v                                               |

A value is an activation (a number), or a multiple of something known about the feature, as text:
`"5x max"` (its largest activation on the statistics' corpus), `"2x q99"` (a quantile over the
tokens where it is active).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from steer.errors import InterventionError
from steer.positions import Positions, canonical

VERSION = 1
ERROR_POLICIES = ("keep", "drop")
Value = float | str
_MULTIPLE = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*x\s*(max|mean|q\d{1,2})?\s*")


@dataclass(frozen=True)
class Dose:
    """A parsed value: `amount` of `unit`, which is activation, max, mean or a quantile."""

    amount: float
    unit: str


def parse_value(value: Value) -> Dose:
    """5 -> 5 activation; "5x max" or "5x" -> 5 max. Raises `InterventionError` otherwise."""
    if isinstance(value, str):
        if match := _MULTIPLE.fullmatch(value):
            return Dose(_finite(float(match[1])), match[2] or "max")
        try:
            return Dose(_finite(float(value)), "activation")
        except ValueError:
            raise InterventionError(
                f'value {value!r} is not allowed: give a number, or text such as "5x max", '
                '"2x mean" or "1x q99"'
            ) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InterventionError(f"value {value!r} is not a number or text such as '5x max'")
    return Dose(_finite(value), "activation")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise InterventionError(f"value {value!r} is not allowed: it must be a finite number")
    return float(value)


def _canonical_value(value: Value) -> Value:
    dose = parse_value(value)
    return dose.amount if dose.unit == "activation" else f"{dose.amount:g}x {dose.unit}"


@dataclass(frozen=True)
class Edit:
    """One edit of one feature. Subclasses say which; see the module's table.

    feature: its index in the dictionary.
    positions: the tokens it touches, see `steer.positions`.
    """

    feature: int
    positions: Positions = field(default="all", kw_only=True)
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if isinstance(self.feature, bool) or not isinstance(self.feature, int):
            raise InterventionError(f"feature must be an index, not {self.feature!r}")
        if self.feature < 0:
            raise InterventionError(f"feature {self.feature} is negative; indices start at 0")
        object.__setattr__(self, "positions", canonical(self.positions))

    def affine(self, value: float) -> tuple[float, float, float, float]:
        """(mul, add, lo, hi), given the value in activation units."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Ablate(Edit):
    """The feature is absent: f′ = 0."""

    kind: ClassVar[str] = "ablate"

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return 0.0, 0.0, -math.inf, math.inf


@dataclass(frozen=True)
class _Valued(Edit):
    value: Value = field(default=math.nan)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", _canonical_value(self.value))


@dataclass(frozen=True)
class Clamp(_Valued):
    """The feature is `value` at every touched token: f′ = v (Templeton et al. 2024).

    The residual moves by (v − f) along the decoder row. This is neither the projection clamp
    (set h·d̂ to v) nor addition (h + v·d̂), which others also call clamping.
    """

    kind: ClassVar[str] = "clamp"

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return 0.0, value, -math.inf, math.inf


@dataclass(frozen=True)
class Add(_Valued):
    """f′ = f + value."""

    kind: ClassVar[str] = "add"

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return 1.0, value, -math.inf, math.inf


@dataclass(frozen=True)
class Floor(_Valued):
    """f′ = max(f, value)."""

    kind: ClassVar[str] = "floor"

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return 1.0, 0.0, value, math.inf


@dataclass(frozen=True)
class Cap(_Valued):
    """f′ = min(f, value)."""

    kind: ClassVar[str] = "cap"

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return 1.0, 0.0, -math.inf, value


@dataclass(frozen=True)
class Scale(Edit):
    """f′ = factor · f: silent where the feature is."""

    factor: float = field(default=math.nan)
    kind: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.factor, bool) or not isinstance(self.factor, int | float):
            raise InterventionError(f"factor {self.factor!r} is not a number")
        object.__setattr__(self, "factor", _finite(self.factor))

    def affine(self, value: float) -> tuple[float, float, float, float]:
        return self.factor, 0.0, -math.inf, math.inf


KINDS: dict[str, type[Edit]] = {cls.kind: cls for cls in (Ablate, Clamp, Scale, Add, Floor, Cap)}


def edit_from_dict(data: dict[str, Any]) -> Edit:
    """Inverse of `Edit.to_dict`; unknown kinds and keys are refused by name."""
    kind = data.get("kind")
    if kind not in KINDS:
        raise InterventionError(f"edit kind {kind!r} is unknown; allowed: {', '.join(KINDS)}")
    cls = KINDS[kind]
    _refuse_unknown(data, {"kind", *(f.name for f in fields(cls))}, f"a {kind} edit")
    arguments = {key: value for key, value in data.items() if key != "kind"}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise InterventionError(f"a {kind} edit needs more: {error}") from error


@dataclass(frozen=True)
class Intervention:
    """Edits of features of one dictionary, applied together at its site.

    dictionary: name of the dictionary.
    edits: all read their features from the same clean activation; order does not matter, and two
        edits of one feature are refused when they can touch the same token.
    error: `keep` leaves what the dictionary does not explain in place (the default); `drop`
        replaces the site by the edited reconstruction alone.
    """

    dictionary: str
    edits: Sequence[Edit]
    error: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        if not isinstance(self.dictionary, str) or not self.dictionary:
            raise InterventionError(
                f"dictionary must be a name such as 'smollm2-135m/resid_post.20', "
                f"not {self.dictionary!r}"
            )
        if self.error not in ERROR_POLICIES:
            allowed = ", ".join(ERROR_POLICIES)
            raise InterventionError(f"error={self.error!r} is unknown; allowed: {allowed}")
        edits = (self.edits,) if isinstance(self.edits, Edit) else tuple(self.edits)
        for edit in edits:
            if not isinstance(edit, Edit):
                raise InterventionError(f"{edit!r} is not an edit such as Clamp(123, '5x max')")
        object.__setattr__(self, "edits", edits)

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "dictionary": self.dictionary,
            "error": self.error,
            "edits": [edit.to_dict() for edit in self.edits],
        }

    def to_json(self) -> str:
        """Canonical JSON: equal interventions give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def digest(self) -> str:
        """Twelve hex digits that identify the intervention by content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Intervention:
        if not isinstance(data, dict):
            raise InterventionError(f"an intervention is a JSON object, not {type(data).__name__}")
        _refuse_unknown(data, {"version", "dictionary", "error", "edits"}, "an intervention")
        if data.get("version", VERSION) != VERSION:
            raise InterventionError(
                f"version {data['version']!r} is unknown; this release reads {VERSION}"
            )
        if missing := {"dictionary", "edits"} - set(data):
            raise InterventionError(f"an intervention needs {', '.join(sorted(missing))}")
        edits = [edit_from_dict(edit) for edit in data["edits"]]
        return cls(data["dictionary"], edits, data.get("error", "keep"))

    @classmethod
    def from_json(cls, text: str) -> Intervention:
        """Inverse of `to_json`. Raises `InterventionError` for anything else."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InterventionError(f"not JSON: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Intervention:
        """Read a JSON file."""
        return cls.from_json(Path(path).read_text())

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json() + "\n")


def as_tuple(interventions: Intervention | Sequence[Intervention]) -> tuple[Intervention, ...]:
    """One intervention or several, as a tuple. Raises `InterventionError` for anything else."""
    several = (interventions,) if isinstance(interventions, Intervention) else interventions
    if isinstance(several, str) or not isinstance(several, Sequence):
        raise InterventionError(f"expected an Intervention or several, not {several!r}")
    for each in several:
        if not isinstance(each, Intervention):
            raise InterventionError(f"expected an Intervention, not {each!r}")
    return tuple(several)


def _refuse_unknown(data: dict[str, Any], allowed: set[str], what: str) -> None:
    if unknown := sorted(set(data) - allowed):
        raise InterventionError(
            f"{what} has no {', '.join(map(repr, unknown))}; allowed: {', '.join(sorted(allowed))}"
        )
