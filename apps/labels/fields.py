"""What words are about, by WordNet: the field of each, and what it is a kind of.

Of a word's senses the one that SemCor's annotators met most often counts, of its nouns, verbs and
adjectives (Miller et al. 1993; the counts are in WordNet's own `index.sense`). The table that is
shipped, `wordnet.tsv`, is made by `python -m apps.labels.fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.corpora import SOURCES
from apps.corpora.archive import decode, members
from apps.corpora.fetch import fetch
from steer.disk.cache import cache_folder
from steer.interpretation.views import Grouping, View

_NAMES: tuple[str, ...] = (
    *("adjectives", "adjectives of belonging", "adverbs", "classes of nouns", "acts", "animals"),
    *("artefacts", "attributes", "body parts", "thoughts", "communication", "events", "feelings"),
    *("food", "groups", "places", "motives", "natural objects", "people", "natural phenomena"),
    *("plants", "possession", "processes", "quantities", "relations", "shapes", "states"),
    *("substances", "time", "verbs of the body", "verbs of change", "verbs of thought"),
    *("verbs of speech", "verbs of competition", "verbs of eating", "verbs of contact"),
    *("verbs of making", "verbs of feeling", "verbs of motion", "verbs of perception"),
    *("verbs of possession", "verbs of society", "verbs of being", "verbs of weather"),
    "adjectives of participles",
)
"""WordNet's lexicographer files, by their number (lexnames(5WN))."""
_ENDINGS = (
    *(("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"), ("zes", "z")),
    *(("ves", "f"), ("men", "man"), ("s", ""), ("ied", "y"), ("ed", "e"), ("ed", "")),
    *(("ing", "e"), ("ing", ""), ("est", ""), ("est", "e"), ("er", ""), ("er", "e")),
)
"""Rules of detachment (morphy(7WN))."""
_NOUN = 1
TABLE = Path(__file__).parent / "wordnet.tsv"
"""lemma, field, kind or nothing, count; WordNet's licence before them."""


@dataclass(frozen=True)
class Sense:
    """A lemma's commonest one.

    field: its lexicographer file's name. kind: the first word of the synset right above it, of
    nouns; or None. count: how often SemCor has it.
    """

    field: str
    kind: str | None
    count: int


def read_senses(table: Path = TABLE) -> dict[str, Sense]:
    """Lemma -> its commonest sense, of those that SemCor has at all."""
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {lemma: Sense(field, kind or None, int(n)) for lemma, field, kind, n in rows}


def write_senses(archive: Path, table: Path = TABLE) -> None:
    """Make the table from WordNet's archive (the corpus `wordnet`)."""
    notice = [f"# {line}".rstrip() for line in decode(_only(archive, "LICENSE")).splitlines()]
    rows = [
        f"{lemma}\t{sense.field}\t{sense.kind or ''}\t{sense.count}"
        for lemma, sense in sorted(_senses(archive).items())
    ]
    table.write_text("\n".join([*notice, *rows, ""]), encoding="utf-8")


def _only(archive: Path, name: str) -> bytes:
    (data,) = members(archive, re.escape(f"package/{name}")).values()
    return data


def _senses(archive: Path) -> dict[str, Sense]:
    above = _above(decode(_only(archive, "dict/data.noun")))
    best: dict[str, tuple[int, int]] = {}
    senses: dict[str, Sense] = {}
    for line in decode(_only(archive, "dict/index.sense")).splitlines():
        key, synset, _, counted = line.split()
        lemma, _, rest = key.partition("%")
        part, file = (int(number) for number in rest.split(":")[:2])
        count = int(counted)
        if count and (count, -part) > best.get(lemma, (0, 0)):
            best[lemma] = count, -part
            kind = above.get(synset) if part == _NOUN else None
            senses[lemma] = Sense(_NAMES[file], kind, count)
    return senses


def sense_of(text: str, senses: Mapping[str, Sense]) -> Sense | None:
    """Of a token that begins a word, its form of most counts; None for pieces, unknown words."""
    if not re.fullmatch(r"\s[A-Za-z]{3,}", text):
        return None
    known = [senses[form] for form in _forms(text.strip().lower()) if form in senses]
    return max(known, key=lambda sense: sense.count, default=None)


def _above(data: str) -> dict[str, str]:
    """Synset -> the first word of its hypernym's."""
    words: dict[str, str] = {}
    parents: dict[str, str] = {}
    for line in data.splitlines():
        if not line[:1].isdigit():
            continue
        parts = line.split(" | ")[0].split()
        words[parts[0]] = parts[4].replace("_", " ")
        pointer = next((at for at, part in enumerate(parts) if part in ("@", "@i")), None)
        if pointer is not None:
            parents[parts[0]] = parts[pointer + 1]
    return {synset: words[parent] for synset, parent in parents.items() if parent in words}


def _forms(word: str) -> Iterator[str]:
    """The word itself, then what it may be an inflected form of."""
    yield word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) + len(instead) > len(ending) + 2:
            yield word.removesuffix(ending) + instead


MEANINGS = (
    View("field", "field", 0, 3, "a word of {}"),
    View("kind", "kind", 0, 6, "a word for {}"),
    View("previous field", "field", -1, 3, "after a word of {}"),
)
"""Beside `views.VIEWS`, and after them: a rule of words is simpler than one of what they mean."""


def by_meaning(texts: Sequence[str], senses: Mapping[str, Sense]) -> dict[str, Grouping]:
    """The partitions of a vocabulary that `MEANINGS` look at, given the text of each token."""
    of = [sense_of(text, senses) for text in texts]
    return {
        "field": Grouping.of([None if sense is None else sense.field for sense in of]),
        "kind": Grouping.of([None if sense is None else sense.kind for sense in of]),
    }


if __name__ == "__main__":
    write_senses(fetch(SOURCES["wordnet"], cache_folder()))
