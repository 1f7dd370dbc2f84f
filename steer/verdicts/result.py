"""What a verdict says, to be read, to be sent, and to be tried again from its file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dictionaries.files.place import writable_file
from dictionaries.files.whole import write_whole
from steer.errors import SteerError
from steer.shown import Shown, visible
from steer.verdicts.claim import Claim
from steer.verdicts.compare import Comparison, Effect, Harm
from steer.verdicts.decide import Decision
from steer.verdicts.protocol import DENSITY, FROZEN, Protocol

if TYPE_CHECKING:
    import pandas

_ABSENT = {
    DENSITY: "no feature is edited, or no other one is ever active",
    FROZEN: "no dictionary that was trained with a frozen decoder was given (frozen=)",
}


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """Whether an edit does what is claimed of it, and what that stands on.

    claim: the tokens; chosen: whether the edit chose them itself, on prompts of their own.
    by_norm: whether controls have the edit's norm, since its cost is too small to be met.
    untested: behaviours of the panel that could not be tested, with the reason.
    """

    decision: Decision
    claim: Claim
    chosen: bool
    effect: Effect
    controls: tuple[Comparison, ...]
    panel: tuple[Harm, ...]
    untested: Mapping[str, str]
    by_norm: bool
    protocol: Protocol

    @property
    def verdict(self) -> str:
        """`steers`, `no better than …`, `harms …` or `undecided: … more prompts would tell`."""
        return str(self.decision)

    @property
    def steers(self) -> bool:
        return self.decision.word == "steers"

    @property
    def absent(self) -> Mapping[str, str]:
        """Controls that were not run, with the reason."""
        run = {control.control for control in self.controls}
        return {name: why for name, why in _ABSENT.items() if name not in run}

    def _title(self) -> str:
        return f"Verdict: {self.verdict}; {self.decision.why}"

    def to_frame(self) -> pandas.DataFrame:
        """One row a control."""
        import pandas

        return pandas.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """One row a control: its effect, its bound, and how far the edit is beyond, in logits."""
        return [
            {
                "control": control.control,
                "decides": control.decisive,
                "effect": control.effect.mean,
                "low": control.effect.low,
                "high": control.effect.high,
                "bound": control.bound,
                "beyond": control.advantage.mean,
                "beyond_low": control.advantage.low,
                "beyond_high": control.advantage.high,
                "draws": control.draws,
                "scale": control.scale,
                "cost": control.cost,
                "met": control.met,
            }
            for control in self.controls
        ]

    def __repr__(self) -> str:
        sides = [", ".join(visible(str(token)) for token in side) for side in self._sides()]
        how = "chosen by the edit itself" if self.chosen else "stated"
        lines = [
            self._title(),
            f"claim ({how}): more {sides[0]}; less {sides[1] or 'all tokens'}",
            f"effect {self.effect.whole} logits over {self.effect.whole.n} prompts, "
            f"{self.effect.wrong_way:.0%} the wrong way, ΔCE {self.effect.cost:.3g} nats",
            *(_line(control) for control in self.controls),
            *(f"  not run: {name}, since {why}" for name, why in self.absent.items()),
            f"protocol {self.protocol.digest}",
        ]
        return "\n".join(lines)

    def _sides(self) -> tuple[Any, Any]:
        return self.claim.more, self.claim.less

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is not finite is None."""
        return _finite(
            {
                "verdict": self.verdict,
                "why": self.decision.why,
                "claim": {**self.claim.to_dict(), "chosen": self.chosen},
                "effect": asdict(self.effect),
                "controls": [
                    asdict(control) | {"better": control.better} for control in self.controls
                ],
                "panel": [asdict(harm) for harm in self.panel],
                "absent": dict(self.absent),
                "untested": dict(self.untested),
                "by_norm": self.by_norm,
                **registered(self.protocol),
            }
        )

    def save(self, path: str | Path) -> None:
        """Write the JSON that `steer.verify_again` reads."""
        write(path, self.to_dict())


def registered(protocol: Protocol) -> dict[str, Any]:
    """A protocol with its digest, as a file holds it before anything has run."""
    return {"protocol": protocol.to_dict(), "digest": protocol.digest}


def write(path: str | Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1)
    write_whole(writable_file(Path(path)), text + "\n")


def read(path: str | Path) -> tuple[Protocol, str | None]:
    """The protocol that a file holds, and its verdict if it has one.

    Raises `SteerError` for a file that is none, or whose protocol is not the one of its digest.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SteerError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise SteerError(f"{path} is no verdict: not JSON: {error}") from error
    if not isinstance(data, dict) or "protocol" not in data:
        raise SteerError(f"{path} is no verdict: it holds no protocol")
    try:
        protocol = Protocol.from_dict(data["protocol"])
    except SteerError as error:
        raise SteerError(f"{path}: {error}") from error
    if data.get("digest") != protocol.digest:
        raise SteerError(
            f"{path} says that its protocol is {data.get('digest')}, and what it holds is "
            f"{protocol.digest}: it was changed after it was registered"
        )
    return protocol, data.get("verdict")


def _line(comparison: Comparison) -> str:
    mark = ("better than" if comparison.better else "not better than") + " " * comparison.better
    bound = "" if comparison.bound is None else f", bound {comparison.bound:.3g}"
    told = "" if comparison.decisive else " (told, does not decide)"
    beyond = f"{bound}; beyond it {comparison.advantage}{told}"
    return f"  {mark} {comparison.control}: {comparison.effect}{beyond}"


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
