"""`python -m apps.studies.concept_table`: `steer.concept` on the fixed words, and a table of it.

A line of JSON a word is appended to the results as it is done; words that are there already are not
run again, so that it can be stopped at any time. Held-out words come field by field in turn, with
an invented one after every two, so that a part of the run is a fair part of the words.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import typer

from apps.studies.concept_words import DEVELOPMENT, HELD_OUT, INVENTED

RESULTS = Path(__file__).parent / "concepts" / "held_out.jsonl"


def held_out() -> list[tuple[str, str]]:
    """(kind, word) in the order in which they are run."""
    real = [("held-out", word) for word in _in_turn(HELD_OUT)]
    made_up = [("invented", word) for word in INVENTED]
    pairs = [real[i : i + 2] for i in range(0, len(real), 2)]
    mixed = zip_longest(pairs, made_up)
    return [word for pair, one in mixed for word in (*(pair or ()), *((one,) if one else ()))]


def _in_turn(fields: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for row in zip(*fields.values(), strict=True):
        yield from row


def run(words: Sequence[tuple[str, str]], results: Path, dtype: str) -> None:
    """Append what is missing."""
    from steer import concept, load

    done = {row["word"] for row in rows(results)}
    model = load(dtype=dtype)
    for kind, word in words:
        if word in done:
            continue
        begun = time.monotonic()
        answer = concept(model, word).to_dict()
        seconds = round(time.monotonic() - begun, 1)
        fields = {name: value for name, value in answer.items() if name != "examples"}
        with results.open("a") as file:
            file.write(json.dumps({"kind": kind, "seconds": seconds, **fields}) + "\n")


def rows(results: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    text = results.read_text() if results.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def table(answers: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line a word, and how many of each kind work."""
    head = "| word | kind | verdict | set | dose | on topic | untouched | nats | seconds |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for row in answers:
        measures = (row[name] for name in ("on_topic", "on_topic_baseline", "loss_increase"))
        cells = [row["word"], row["kind"], row["verdict"], row["method"], row["dose"] or "–"]
        cells += [_interval(measure) for measure in measures]
        lines.append("| " + " | ".join(map(str, [*cells, row["seconds"]])) + " |")
    for kind in dict.fromkeys(row["kind"] for row in answers):
        of_kind = [row["verdict"] for row in answers if row["kind"] == kind]
        counts = ", ".join(f"{of_kind.count(v)} {v}" for v in ("works", "weak", "none here"))
        lines.append(f"\n{kind}: {len(of_kind)} words, {counts}")
    return "\n".join(lines)


def controls(answers: Sequence[dict[str, Any]]) -> str:
    """Markdown: mean share on topic and mean loss of the edits and of each control."""
    with_edit = [row for row in answers if row["controls"]]
    lines = ["| what | words | on topic | nats |", "|---|---|---|---|"]
    arms = {"the edit": with_edit}
    for name in with_edit[0]["controls"] if with_edit else ():
        arms[name] = [row["controls"][name] for row in with_edit]
    for name, shares in arms.items():
        topic, loss = (
            sum(one[measure]["mean"] for one in shares) / len(shares)
            for measure in ("on_topic", "loss_increase")
        )
        lines.append(f"| {name} | {len(shares)} | {topic:.2f} | {loss:.2f} |")
    return "\n".join(lines)


def detectors(answers: Sequence[dict[str, Any]]) -> str:
    """Markdown: F1 of each edit's features as a detector, in answers and in the corpus."""
    lines = ["| word | in answers | in the corpus | contexts with the word |", "|---|---|---|---|"]
    with_edit = [row for row in answers if row["detector"]]
    for row in sorted(with_edit, key=lambda row: -row["detector"]["f1"]):
        own, corpus = row["detector"]["f1"], row["detector"]["in_corpus"]
        there = (f"{corpus['f1']:.2f}", corpus["positives"]) if corpus else ("–", "fewer than 4")
        lines.append(f"| {row['word']} | {own:.2f} | {there[0]} | {there[1]} |")
    return "\n".join(lines)


def texts(answers: Sequence[dict[str, Any]], seed: int = 0, most: int = 5) -> str:
    """Markdown: texts of words that work, and of words that do not; drawn by the seed, not by eye.

    Of each word that was drawn, one of its texts is.
    """
    draw = random.Random(seed)
    lines = ["| word | verdict | about it | text |", "|---|---|---|---|"]
    measured = [row for row in answers if row["texts"]]
    for works in (True, False):
        rows_of_kind = [row for row in measured if (row["verdict"] == "works") == works]
        for row in draw.sample(rows_of_kind, min(most, len(rows_of_kind))):
            pair = draw.choice(row["texts"])
            text = " ".join(f"**{pair['prompt']}** {pair['edited']}".split()).replace("|", "\\|")
            about = "yes" if pair["on_topic"] else "no"
            lines.append(f"| {row['word']} | {row['verdict']} | {about} | {text} |")
    return "\n".join(lines)


def _interval(value: dict[str, Any]) -> str:
    if value["mean"] is None:
        return "–"
    return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def main(
    results: Path = RESULTS,
    development: bool = False,
    dtype: str = "bfloat16",
    only_table: bool = False,
) -> None:
    """Run what is missing, then print the tables."""
    words = [("development", word) for word in _in_turn(DEVELOPMENT)]
    if not only_table:
        run(words if development else held_out(), results, dtype)
    answers = rows(results)
    real = [row for row in answers if row["kind"] != "invented"]
    print(table(answers), controls(real), detectors(real), texts(real), sep="\n\n")


if __name__ == "__main__":
    typer.run(main)
