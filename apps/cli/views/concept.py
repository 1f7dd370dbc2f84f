"""What `steer concept` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.cli.output import records, table
from steer.shown import number

if TYPE_CHECKING:
    from steer.concepts.result import Concept, ConceptTable
    from steer.maths.statistics import Interval


def concept_view(concept: Concept) -> list[Any]:
    """The verdict, what it rests on, and texts without and with the edit."""
    lines: list[Any] = [f"{concept.word}: {concept.verdict} ({concept.reason})"]
    from steer.concepts.candidates import FADES

    if concept.intervention is None:
        return lines
    features = ", ".join(str(feature) for feature in concept.features)
    lines.append(f"{concept.method} in {concept.dictionary}: features {features}")
    lines.append(
        f"dose {concept.dose:g} of the residual's norm, halving every {FADES.n} generated tokens; "
        f"{concept.tried} edits compared"
    )
    lines.append(
        table([_row("the edit", concept.on_topic, concept.loss_increase), *_others(concept)])
    )
    lines.append(f"as a detector on held-out answers: {_detects(concept.detector)}")
    if corpus := concept.detector.get("in_corpus"):
        lines.append(
            f"on {corpus['positives']} contexts of the corpus that hold the word, among "
            f"{corpus['negatives']} others: {_detects(corpus)}"
        )
    for pair in concept.texts:
        about = "about it" if pair.on_topic else "not about it"
        lines += ["", f"{pair.prompt} [seed {pair.seed}, {about}]"]
        lines += [f"  untouched: {_line(pair.baseline)}", f"  edited:    {_line(pair.edited)}"]
    return lines


def concepts_view(several: ConceptTable) -> Any:
    """A line a word."""
    frame = several.to_frame()
    frame["features"] = [", ".join(map(str, features)) for features in frame["features"]]
    return table(records(frame), repr(several).splitlines()[0])


def _detects(detector: dict[str, Any]) -> str:
    return f"precision {number(detector['precision'])}, recall {number(detector['recall'])}"


def _others(concept: Concept) -> list[dict[str, Any]]:
    """The untouched model, then the controls."""
    untouched = _row("untouched", concept.on_topic_baseline, concept.on_topic_baseline)
    untouched |= {"nats": 0.0, "nats_low": None, "nats_high": None}
    return [untouched, *(_row(e.name, e.on_topic, e.loss_increase) for e in concept.controls)]


def _row(what: str, on_topic: Interval, loss: Interval) -> dict[str, Any]:
    return {
        "what": what,
        "on topic": on_topic.mean,
        **_bounds("on topic", on_topic),
        "nats": loss.mean,
        **_bounds("nats", loss),
    }


def _bounds(name: str, value: Interval) -> dict[str, float]:
    return {f"{name}_low": value.low, f"{name}_high": value.high}


def _line(text: str) -> str:
    return " ".join(text.split())
