"""What `steer.concept` found, as plain data that JSON can hold and give back."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from steer.edits import Intervention
from steer.maths.statistics import Interval
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

Verdict = Literal["works", "weak", "none here"]


@dataclass(frozen=True)
class Control:
    """The same measurement of something else, on the same prompts and seeds."""

    name: str
    on_topic: Interval
    loss_increase: Interval


@dataclass(frozen=True)
class DoseTried:
    """A dose of the chosen features on the choosing half, and whether it stays in the budget."""

    dose: float
    on_topic: float
    loss_increase: float
    fluent: bool


@dataclass(frozen=True)
class Pair:
    """A continuation without and with the edit. shown: the caller's prompt, no part of figures."""

    prompt: str
    seed: int
    baseline: str
    edited: str
    on_topic: bool
    shown: bool = False


@dataclass(frozen=True, repr=False)
class Concept:
    """An edit that writes about a word, or the answer that there is none here.

    verdict: `works`, `weak` or `none here`; reason: why, in a sentence.
    intervention: the features' edit; None if none was found. features, weights: what it adds to
        each, in the order of the weights; method: how they were chosen.
    dose: share of the residual's norm at the site, before the edit fades; tried: candidates and
        doses compared; doses: those of the chosen features, rising.
    on_topic, on_topic_baseline: share of continuations about the word, with and without the edit:
        like its examples *and* with a word of its field. The judges are set so that at most one in
        twenty untouched texts passes, these among them, so the baseline is low by making.
    loss_increase: nats a token more than the unsteered text, under the untouched model.
        Intervals are over prompts that had no part in choosing; NaN where nothing was measured.
    similar, mentions: what either judge says alone.
    judge: how it is set: the field's words, the share of the concept's own examples that pass, and
        of those with the word masked.
    examples: what the concept was told from.
    detector: the features as a detector of texts, on answers that had no part in the threshold;
        `in_corpus`: of contexts of the dictionary's statistics that hold the word, among others.
    """

    word: str
    verdict: Verdict
    reason: str
    intervention: Intervention | None
    dictionary: str
    method: str
    features: tuple[int, ...]
    weights: tuple[float, ...]
    dose: float
    budget: float
    tried: int
    doses: tuple[DoseTried, ...]
    on_topic: Interval
    on_topic_baseline: Interval
    loss_increase: Interval
    similar: Interval
    mentions: Interval
    controls: tuple[Control, ...]
    detector: dict[str, Any]
    judge: dict[str, Any]
    examples: dict[str, Any]
    texts: tuple[Pair, ...]
    model: str
    dtype: str
    seed: int

    def __repr__(self) -> str:
        lines = [f"Concept {self.word!r}: {self.verdict} ({self.reason})"]
        if self.intervention is not None:
            features = ", ".join(map(str, self.features))
            lines += [
                f"features {features} of {self.dictionary}, dose {self.dose:.3g} of the norm",
                f"on topic {self.on_topic}, untouched {self.on_topic_baseline}; "
                f"loss {self.loss_increase} nats",
            ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; None for NaN."""
        plain = asdict(self)
        plain["intervention"] = self.intervention and self.intervention.to_dict()
        plain["controls"] = {
            control["name"]: {key: control[key] for key in ("on_topic", "loss_increase")}
            for control in plain["controls"]
        }
        return _without_nan(plain)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Concept:
        """Inverse of `to_dict`."""
        values = dict(data)
        for name in ("on_topic", "on_topic_baseline", "loss_increase", "similar", "mentions"):
            values[name] = _interval(values[name])
        values["intervention"] = data["intervention"] and Intervention.from_dict(
            data["intervention"]
        )
        values["controls"] = tuple(
            Control(name, **{key: _interval(value) for key, value in shares.items()})
            for name, shares in data["controls"].items()
        )
        values["doses"] = tuple(DoseTried(**fields) for fields in data["doses"])
        values["texts"] = tuple(Pair(**fields) for fields in data["texts"])
        for name in ("features", "weights"):
            values[name] = tuple(values[name])
        values["dose"] = _number(values["dose"])
        return cls(**values)


@dataclass(frozen=True, repr=False)
class ConceptTable(Shown):
    """Several words, each with its answer. shard: such as `2/3` where these are a part of them."""

    concepts: tuple[Concept, ...]
    shard: str = ""

    _columns: ClassVar = ("word", "verdict", "dose", "on_topic", "untouched", "nats")

    def _title(self) -> str:
        part = f"shard {self.shard} of a " if self.shard else ""
        verdicts = [concept.verdict for concept in self.concepts]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in get_args(Verdict))
        return f"{part}ConceptTable of {len(verdicts)} words: {counts}"

    def to_frame(self) -> pandas.DataFrame:
        """A row a word: verdict, method, features and dose of its edit; means of the share of texts
        on topic with it and untouched, and of nats a token more, each with its interval."""
        import pandas

        rows: list[dict[str, Any]] = []
        for concept in self.concepts:
            edit = concept.intervention is not None
            row: dict[str, Any] = {"word": concept.word, "verdict": concept.verdict}
            row |= {"method": concept.method, "features": list(concept.features)}
            row["dose"] = concept.dose if edit else None
            measured = {
                "on_topic": concept.on_topic,
                "untouched": concept.on_topic_baseline,
                "nats": concept.loss_increase,
            }
            for name, value in measured.items():
                row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            rows.append(row)
        return pandas.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; None for NaN."""
        return {"concepts": [concept.to_dict() for concept in self.concepts]}


def nothing(n: int = 0) -> Interval:
    """An interval of what was not measured."""
    return Interval(math.nan, math.nan, math.nan, n)


def _interval(data: dict[str, Any]) -> Interval:
    bounds = {name: _number(data[name]) for name in ("mean", "low", "high")}
    return Interval(**bounds, n=data["n"], level=data["level"])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
