"""A planted feature is what writes about the concept; generic, dense and chance ones are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from steer.concepts.candidates import (
    Background,
    Candidate,
    candidates,
    contrast,
    matched_at_random,
    writers,
)
from steer.concepts.detector import MOST, OTHERS, contexts, detector, elsewhere
from tests.steer.concepts import planted
from tests.support import tiny


def test_only_the_planted_feature_counts() -> None:
    scores = contrast(planted.fit(), planted.held_out(), planted.background())
    assert scores.isfinite().nonzero().flatten().tolist() == [planted.CONCEPT]
    assert scores[planted.CONCEPT].item() == pytest.approx(2.0 - 0.1)


def test_a_word_without_features_of_its_own_has_no_candidates() -> None:
    other = planted.reading({planted.GENERIC: 3.0, planted.DENSE: 1.0})
    proposed = candidates(planted.dictionary(), other, other, planted.background())
    assert proposed == []


def test_sets_write_what_they_say() -> None:
    own = {feature: 1.0 + feature / 10 for feature in range(20, 34)}
    about = planted.reading(own)
    dictionary, empty = planted.dictionary(), planted.reading({})
    sets = candidates(dictionary, about, about, Background(empty, (empty, empty)))
    assert {each.name.split()[0] for each in sets} == {"single", "contrast", "sparse"}
    for each in sets:
        assert set(each.features) <= set(own)
        assert min(each.weights) > 0
        written = torch.tensor(each.weights) @ dictionary.W_dec[list(each.features)]
        assert written.norm().item() == pytest.approx(1, abs=1e-5)
        edits = each.edit("planted", 7.0).edits
        amounts = torch.tensor([edit.value for edit in edits])  # type: ignore[attr-defined]
        total = amounts @ dictionary.W_dec[[edit.feature for edit in edits]]  # type: ignore[attr-defined]
        assert total.norm().item() == pytest.approx(7, rel=1e-3)


def test_random_features_are_others_of_the_same_density_and_size() -> None:
    dictionary = planted.dictionary()
    share = torch.linspace(0.001, 0.04, planted.WIDTH)
    chosen = Candidate("set", (5, 6, 30), (0.5, 0.5, 0.5))
    control = matched_at_random(chosen, dictionary, share, seed=3)
    assert control == matched_at_random(chosen, dictionary, share, seed=3)
    assert len(set(control.features)) == 3
    assert not set(control.features) & set(chosen.features)
    written = torch.tensor(control.weights) @ dictionary.W_dec[list(control.features)]
    assert written.norm().item() == pytest.approx(1, abs=1e-5)


def test_a_planted_feature_detects_and_a_generic_one_does_not() -> None:
    halves = planted.fit(), planted.held_out(), planted.background()
    right = detector(Candidate("one", (planted.CONCEPT,), (1.0,)), *halves)
    assert (right.precision, right.recall, right.f1) == (1, 1, 1)
    assert (right.positives, right.negatives) == (12, 54)
    wrong = detector(Candidate("one", (planted.GENERIC,), (1.0,)), *halves)
    assert wrong.f1 < 0.5


def test_the_corpus_judges_by_the_threshold_that_answers_set() -> None:
    one = Candidate("one", (planted.CONCEPT,), (1.0,))
    fit, held_out = planted.fit(), planted.held_out()
    made = detector(one, fit, held_out, planted.background())
    there = elsewhere(made, one, held_out, fit)
    assert there.threshold == made.threshold
    assert (there.positives, there.negatives) == (len(held_out.mean), len(fit.mean))
    assert there.recall == 1
    assert there.precision == pytest.approx(len(held_out.mean) / (len(fit.mean) + 12))


class _Letters:
    """A tokenizer of one letter a token."""

    def batch_decode(self, ids: list[list[int]]) -> list[str]:
        return [" " + "abcdefgh"[row[0] % 8] for row in ids]


def test_the_writer_of_a_word_is_the_feature_with_the_best_output_score() -> None:
    dictionary = planted.dictionary()
    n = planted.WIDTH
    promoted = torch.zeros(n, 2, dtype=torch.int64)
    promoted[[3, 5, 7], 1] = 2
    written = torch.zeros(n)
    written[[3, 5, 9]] = torch.tensor([0.06, 0.2, 0.9])
    known = replace(tiny.statistics(n), promoted=promoted, written=written)
    with_scores = replace(dictionary, statistics=known)
    (best,) = writers(with_scores, _Letters(), "C")
    assert best.features == (5,), "9 writes more, but not this word"
    assert not writers(with_scores, _Letters(), "d"), "none promotes it"
    assert not writers(dictionary, _Letters(), "c"), "nobody measured it"
    written[[3, 5]] = 0.049
    weak = replace(dictionary, statistics=replace(known, written=written))
    assert not writers(weak, _Letters(), "c")


def test_contexts_of_the_statistics_hold_the_word_or_do_not() -> None:
    model = tiny.tiny_model("llama")
    known = tiny.statistics(tiny.WIDTH)
    dictionary = replace(tiny.dictionary(), statistics=known)
    texts = {
        model.tokenizer.decode([token for token in row if token >= 0])
        for row in known.contexts.flatten(0, 1).tolist()
    }
    word = next(iter(sorted(texts)[-1].split()))
    drawn = contexts(model, dictionary, word, 0)
    assert drawn == contexts(model, dictionary, word, 0)
    assert set(drawn.about) | set(drawn.others) <= texts
    assert 0 < len(drawn.about) <= MOST
    assert len(drawn.others) <= OTHERS * len(drawn.about)
    assert all(word in text for text in drawn.about)
    assert not any(f" {word} " in text for text in drawn.others)
    bare = replace(dictionary, statistics=None)
    assert contexts(model, bare, word, 0).about == ()
