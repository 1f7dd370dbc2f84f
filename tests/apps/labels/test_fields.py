"""What words mean, read off a little WordNet of our own in the archive's form."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import torch

from apps.labels import fields
from apps.labels.fields import MEANINGS, Sense, by_meaning, read_senses, sense_of, write_senses
from steer.interpretation.detectors import Activity, detect
from steer.interpretation.views import VIEWS, groupings

_SENSES = """\
cat%1:05:00:: 00000100 1 18
bank%1:17:01:: 00000200 1 25
bank%1:14:00:: 00000300 2 20
bank%2:40:00:: 00000400 1 3
jump%2:38:00:: 00000500 1 7
quark%1:27:00:: 00000600 1 0
"""
_NOUNS = """\
  1 a line of the licence
00000050 05 n 02 feline 0 felid 0 000 | a cat of any size
00000100 05 n 01 cat 0 001 @ 00000050 n 0000 | purrs
00000150 17 n 01 slope 0 000 | goes up
00000200 17 n 01 bank 0 001 @ 00000150 n 0000 | beside a river
"""


@pytest.fixture
def senses(tmp_path: Path) -> dict[str, Sense]:
    archive = tmp_path / "wordnet.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in (
            ("LICENSE", "Do with it what you like.\n"),
            ("dict/index.sense", _SENSES),
            ("dict/data.noun", _NOUNS),
        ):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    write_senses(archive, tmp_path / "table.tsv")
    assert (tmp_path / "table.tsv").read_text().startswith("# Do with it what you like.\n")
    return read_senses(tmp_path / "table.tsv")


def test_the_commonest_sense_counts(senses: dict[str, Sense]) -> None:
    assert senses["cat"] == Sense("animals", "feline", 18)
    assert senses["bank"] == Sense("natural objects", "slope", 25)
    assert senses["jump"] == Sense("verbs of motion", None, 7)
    assert "quark" not in senses, "no annotator met it"


def test_a_token_is_read_by_its_commonest_form(senses: dict[str, Sense]) -> None:
    for text in (" cat", " Cats", " CAT"):
        assert sense_of(text, senses) == senses["cat"]
    for text in (" jumped", " jumping", " jumps"):
        assert sense_of(text, senses) == senses["jump"]
    for text in ("cat", " ca", " cat's", " dog", "\n", " 7", " was"):
        assert sense_of(text, senses) is None, text


def test_a_feature_of_animals_is_labelled_so() -> None:
    """On words that the rule never saw as well: that is what a field is for."""
    animals = [f" animal{chr(97 + i)}" for i in range(26)]
    others = [f" thing{chr(97 + i)}" for i in range(26)]
    known = {text.strip(): Sense("animals", "creature", 1) for text in animals}
    known |= {text.strip(): Sense("artefacts", "tool", 1) for text in others}
    texts = animals + others
    tokens = torch.randint(52, (40, 8), generator=torch.Generator().manual_seed(0))
    heldout = (torch.arange(40) % 4 == 0).repeat_interleave(8)
    position = (tokens < 26).flatten().nonzero().flatten()
    activity = Activity(
        feature=torch.zeros_like(position),
        position=position,
        value=torch.ones(len(position)),
        features=1,
        fit=~heldout,
        heldout=heldout,
    )
    partitions = {**groupings(texts), **by_meaning(texts, known)}
    del partitions["beginning"], partitions["long ending"], partitions["ending"]
    views = [view for view in VIEWS if view.grouping in partitions]
    (detector,) = detect(activity, tokens, partitions, [*views, *MEANINGS])
    assert (detector.text, detector.f1) == ("a word of animals", 1.0)


def test_the_names_are_wordnets_own() -> None:
    assert len(fields._NAMES) == 45, "lexnames(5WN) numbers them 0 to 44"
    assert (fields._NAMES[5], fields._NAMES[44]) == ("animals", "adjectives of participles")


def test_the_shipped_table_knows_common_words() -> None:
    shipped = read_senses()
    assert len(shipped) > 20_000
    for text, field, kind in (
        *((" January", "time", "Gregorian calendar month"), (" guitars", "artefacts", None)),
        *((" France", "places", "European country"), (" women", "people", None)),
    ):
        sense = sense_of(text, shipped)
        assert sense is not None
        assert sense.field == field
        assert kind in (None, sense.kind)
