"""Searching: what counts, what is measured, and what brings nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError
from steer.errors import PromptError
from steer.interpretation import fires as measured
from steer.interpretation.find import Finder
from steer.interpretation.fires import CONTEXTS, fires, others
from steer.interpretation.sides import CHANGES, sides
from tests.support import tiny

MODEL = tiny.tiny_model("llama")


@pytest.fixture
def dictionary(tmp_path: Path) -> Dictionary:
    catalogue.save(tiny.dictionary(), tmp_path)
    return replace(catalogue.load(tmp_path), statistics=tiny.statistics(tiny.WIDTH))


@pytest.fixture
def finder(dictionary: Dictionary) -> Finder:
    return Finder(dictionary, MODEL.token, MODEL)


def labelled(dictionary: Dictionary, *labels: Label) -> None:
    assert dictionary.place is not None
    Labels(labels).save(dictionary.place)


@pytest.mark.parametrize("words", ["w20", "w20 w31"])
def test_firing_is_the_largest_activation_at_the_words(dictionary: Dictionary, words: str) -> None:
    firing = fires(MODEL, dictionary, words)
    alone = []
    for before in CONTEXTS:
        read = MODEL.features(f"{before} {words}", dictionary).activations
        alone.append(read[-len(words.split()) :].amax(0))
    torch.testing.assert_close(firing.activation, torch.stack(alone).mean(0))
    assert torch.equal(firing.share, (torch.stack(alone) > 0).float().mean(0))
    assert (firing.words, firing.tokens) == (len(words.split()),) * 2


def test_each_other_word_is_read_as_it_is_alone(dictionary: Dictionary) -> None:
    found = others(MODEL, dictionary)
    for number in (0, len(measured.OTHERS) - 1):
        alone = fires(MODEL, dictionary, measured.OTHERS[number])
        torch.testing.assert_close(found[number], alone.activation)


def test_what_fires_on_a_word_alone_comes_first(dictionary: Dictionary) -> None:
    """A planted feature that tells w20 from the other words in these contexts."""
    word, site = "w20", "resid_post.1"

    def mean(of: str) -> Tensor:
        ids, mask = MODEL.tokenize([f"{before} {of}" for before in CONTEXTS])
        return MODEL.collect(ids, mask, [site])[site][:, -1].mean(0)

    away = mean(word) - mean(measured.OTHERS[0])
    rows = dictionary.W_enc.clone()
    rows[:, 9] = 100 * away / away.norm() ** 2
    between = (mean(word) + mean(measured.OTHERS[0])) @ rows[:, 9] / 2
    bias = dictionary.b_enc.clone()
    bias[9] = -between
    known = dictionary.statistics
    assert known is not None
    density = known.density.index_fill(0, torch.tensor([9]), 1e-3)
    rare = replace(known, density=density)
    planted = replace(dictionary, W_enc=rows, b_enc=bias, statistics=rare)
    hits = Finder(planted, MODEL.token, MODEL).find(word)
    first = hits.hits[0]
    assert hits.measured
    assert first.feature == 9
    assert first.fires is not None
    assert first.fires > 0
    assert "fires at" in first.why


def test_unmeasured_hits_have_no_activation(finder: Finder) -> None:
    hits = finder.find("w20", measure=False)
    assert not hits.measured
    assert hits.hits
    assert all(hit.fires is None and "fires at" not in hit.why for hit in hits.hits)


def test_one_ranking_has_what_reads_and_what_writes(dictionary: Dictionary) -> None:
    known = dictionary.statistics
    assert known is not None
    contexts = known.contexts.clone()
    contexts[:], contexts[4] = 3, 20
    promoted = known.promoted.fill_(3).clone()
    promoted[6, 0] = 20
    alone = replace(known, contexts=contexts, promoted=promoted)
    hits = Finder(replace(dictionary, statistics=alone), MODEL.token).find("w20")
    why = {hit.feature: hit.why for hit in hits.hits}
    assert set(why) == {4, 6}
    assert "peaks at it in 100% of its examples" in why[4]
    assert why[6] == "promotes it, 1 of its ten"


@pytest.mark.parametrize("odd", ["-4", "<b>", "w20<", "#", "  ", "()", "…?"])
def test_what_is_no_word_brings_nothing_and_a_sentence(finder: Finder, odd: str) -> None:
    hits = finder.find(odd)
    assert hits.hits == ()
    assert hits.note.endswith(".")


def test_a_mark_is_found_as_a_token(dictionary: Dictionary) -> None:
    names = {20: "?"}
    hits = Finder(dictionary, lambda i: names.get(i, f"w{i}"), None).find("?")
    assert hits.hits
    assert all("promotes it" in hit.why or "peaks at it" in hit.why for hit in hits.hits)


@pytest.mark.parametrize("number", ["7", "#7"])
def test_a_number_finds_its_feature(finder: Finder, number: str) -> None:
    assert [hit.feature for hit in finder.find(number).hits] == [7]
    with pytest.raises(DictionaryError, match="out of range"):
        finder.find("99999")


def test_a_phrase_that_is_too_long(finder: Finder) -> None:
    with pytest.raises(PromptError, match="up to 8; these are 500"):
        finder.find("w7 " * 500)


def test_a_word_in_pieces_is_said_to_be(dictionary: Dictionary) -> None:
    finder = Finder(dictionary, MODEL.token, MODEL)
    assert finder.find("w20").note == ""
    pieces = replace(fires(MODEL, dictionary, "w20"), tokens=3)
    from steer.interpretation.find import _in_parts

    assert "is 3 tokens to the model" in _in_parts("w20", pieces)


def test_no_refuted_label_is_shown_without_its_figure(dictionary: Dictionary) -> None:
    labelled(dictionary, Label(4, "bridges", "steer", f1=0.05), Label(5, "towers", "steer", f1=0.9))
    low, high = (sides(dictionary, MODEL.token, feature) for feature in (4, 5))
    assert "bridges" not in low.reads
    assert "its best rule has F1 0.05" in low.reads
    assert (low.f1, high.reads) == (0.05, "towers (F1 0.90)")


def test_both_sides_and_what_changes_text(dictionary: Dictionary) -> None:
    known = dictionary.statistics
    assert known is not None
    bare = sides(dictionary, MODEL.token, 7)
    assert bare.reads
    assert bare.writes.startswith("“w")
    assert (bare.changes, bare.effect) == (None, "not measured whether it changes text")
    rises = torch.zeros(tiny.WIDTH)
    rises[7] = CHANGES
    scored = replace(dictionary, statistics=replace(known, written=rises))
    written = sides(scored, MODEL.token, 7).effect
    assert written.startswith("changes text (the probability of its tokens +0.05 when pushed")
    silent_side = sides(scored, MODEL.token, 8).effect
    assert silent_side.startswith("only detects (the probability of its tokens +0.00")
    labelled(dictionary, Label(7, "er", "by hand", side="writes"))
    named = sides(dictionary, MODEL.token, 7)
    assert (named.reads, named.writes) == (bare.reads, "er (by hand)")
    silent = replace(scored, statistics=replace(known, written=rises * 0))
    assert sides(silent, MODEL.token, 7).effect.startswith("changes text as named, not by its own")
