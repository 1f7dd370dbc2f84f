"""Streaming statistics against a naive pass over everything at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dictionaries.beside.statistics import QUANTILES, TOP, WINDOW, FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.measures.corpus import Corpus, collect_statistics, tally, with_tokens
from dictionaries.measures.tally import RELATIVE_ERROR, Tally

Make = Callable[..., Dictionary]
N, LENGTH, D = 40, 24, 8


@pytest.fixture
def corpus() -> Corpus:
    """Forty contexts; some positions don't count, and some contexts may not be shown."""
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(N, LENGTH, generator=generator) > 0.2
    keep[:, 0] = False
    return Corpus(
        activations=torch.randn(N, LENGTH, D, generator=generator),
        tokens=torch.randint(0, 500, (N, LENGTH), generator=generator),
        keep=keep,
        shippable=torch.rand(N, generator=generator) > 0.3,
    )


@pytest.fixture(params=["jumprelu", "topk"])
def dictionary(request: pytest.FixtureRequest, make: Make) -> Dictionary:
    alive: Dictionary = make(request.param)
    return replace(alive, b_enc=alive.b_enc.index_fill(0, torch.tensor([4]), -1e6))  # dead


@pytest.fixture
def features(dictionary: Dictionary, corpus: Corpus) -> Tensor:
    """Every feature at every position [n, length, m]; 0 where it doesn't count."""
    return dictionary.encode(corpus.activations)[0] * corpus.keep.unsqueeze(-1)


@pytest.fixture
def statistics(dictionary: Dictionary, corpus: Corpus) -> FeatureStatistics:
    return collect_statistics(dictionary, corpus)


def test_figures(statistics: FeatureStatistics, features: Tensor, corpus: Corpus) -> None:
    flat = features[corpus.keep]
    active = flat > 0
    torch.testing.assert_close(statistics.density, active.float().mean(0))
    assert torch.equal(statistics.maximum, flat.amax(0))
    for feature in range(flat.shape[1]):
        values = flat[active[:, feature], feature]
        expected = values.mean() if len(values) else torch.tensor(0.0)
        torch.testing.assert_close(statistics.mean[feature], expected)
    assert statistics.tokens == int(corpus.keep.sum())
    assert statistics.maximum[4] == statistics.density[4] == statistics.mean[4] == 0


def test_quantiles_are_those_of_the_active_tokens_to_the_stated_error(
    statistics: FeatureStatistics, features: Tensor
) -> None:
    flat = features.flatten(0, 1)
    for feature in range(flat.shape[1]):
        values = flat[flat[:, feature] > 0, feature].sort().values
        if not len(values):
            assert not statistics.quantiles[feature].any()
            continue
        places = (torch.tensor(QUANTILES) / 100 * (len(values) - 1)).round().long()
        error = (statistics.quantiles[feature] / values[places] - 1).abs()
        assert (error <= RELATIVE_ERROR).all()
        assert (statistics.quantiles[feature].diff() >= 0).all()


def test_features_below_zero_are_active_too(make: Make, corpus: Corpus) -> None:
    """Their mean was the sum of all over the count of those above 0: beyond the largest."""
    signed: Dictionary = make("abstopk")
    found = collect_statistics(signed, corpus)
    flat = signed.encode(corpus.activations)[0][corpus.keep]
    assert (flat < 0).any()
    torch.testing.assert_close(found.density, (flat != 0).float().mean(0))
    torch.testing.assert_close(found.mean * found.density, flat.mean(0), atol=1e-6, rtol=1e-5)
    shares = torch.tensor(QUANTILES, dtype=torch.float64) / 100
    for feature, column in enumerate(flat.unbind(1)):
        values = column[column != 0].sort().values
        wanted = values[(shares * (len(values) - 1)).round().long()]
        off = (found.quantiles[feature] - wanted).abs() / wanted.abs()
        assert (off <= RELATIVE_ERROR).all()


@pytest.mark.parametrize("split", range(10))
def test_any_split_of_the_corpus_is_the_same_card(
    statistics: FeatureStatistics, dictionary: Dictionary, corpus: Corpus, split: int
) -> None:
    """Ten random splits, merged in a random order: equal to the last bit, quantiles too."""
    generator = torch.Generator().manual_seed(split)
    order = torch.randperm(N, generator=generator)
    cuts = torch.randperm(N - 1, generator=generator)[: 1 + split % 5] + 1
    parts = [
        tally(
            dictionary,
            Corpus(*(getattr(corpus, name)[rows] for name in Corpus.__dataclass_fields__)),
        )
        for rows in order.tensor_split(cuts.sort().values.tolist())
    ]
    merged = reduce(Tally.merged, parts).statistics()
    for name, value in vars(statistics).items():
        other = getattr(merged, name)
        same = torch.equal(value, other) if isinstance(value, Tensor) else value == other
        assert same, name


def test_equal_contexts_are_ordered_by_what_they_say(make: Make) -> None:
    """Every context is as strong, and more are there than are kept."""
    tokens = torch.arange(2 * TOP).unsqueeze(1) * 10 + torch.arange(LENGTH)
    same = torch.randn(1, LENGTH, D, generator=torch.Generator().manual_seed(2))
    corpus = Corpus(
        activations=same.expand(len(tokens), -1, -1),
        tokens=tokens,
        keep=torch.ones(len(tokens), LENGTH, dtype=torch.bool),
        shippable=torch.ones(len(tokens), dtype=torch.bool),
    )
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))
    turned = replace(corpus, tokens=tokens[order])
    dictionary = make("jumprelu")
    one, other = (collect_statistics(dictionary, each) for each in (corpus, turned))
    assert (one.contexts >= 0).any()
    assert torch.equal(one.contexts, other.contexts)


def test_contexts_are_the_ten_strongest_that_may_be_shown(
    statistics: FeatureStatistics, features: Tensor, corpus: Corpus
) -> None:
    before, after = WINDOW
    for feature in range(features.shape[2]):
        peaks = features[..., feature].amax(1) * corpus.shippable
        ranked = [n for n in peaks.argsort(descending=True).tolist() if peaks[n] > 0][:TOP]
        for place in range(TOP):
            ids = statistics.contexts[feature, place]
            if place >= len(ranked):
                assert (ids == -1).all()
                continue
            context = ranked[place]
            peak = int(features[context, :, feature].argmax())
            for offset, token in enumerate(ids.tolist()):
                at = peak - before + offset
                inside = 0 <= at < LENGTH
                assert token == (int(corpus.tokens[context, at]) if inside else -1)
                expected = features[context, at, feature].item() if inside else 0.0
                given = statistics.context_activations[feature, place, offset].item()
                assert given == pytest.approx(expected, abs=1e-5)
        assert statistics.contexts.shape == (features.shape[2], TOP, before + after)


def test_progress_reaches_the_end(dictionary: Dictionary, corpus: Corpus) -> None:
    seen: list[tuple[int, int]] = []
    collect_statistics(dictionary, corpus, lambda done, total: seen.append((done, total)))
    assert seen == [(16, N), (32, N), (40, N)]


def test_o31_the_maximum_is_that_of_the_corpus(
    statistics: FeatureStatistics, dictionary: Dictionary, corpus: Corpus
) -> None:
    again = collect_statistics(dictionary, corpus)
    assert torch.equal(again.maximum, statistics.maximum)
    activations = dictionary.encode(corpus.activations[corpus.keep])[0]
    assert (activations <= statistics.maximum + 1e-6).all()


def named(statistics: FeatureStatistics) -> FeatureStatistics:
    m = len(statistics.maximum)
    ids = torch.arange(m * TOP).view(m, TOP)
    logits = torch.linspace(0, 5, m * TOP).view(m, TOP)
    return with_tokens(statistics, ids, ids + 1, logits, -logits)


@pytest.mark.parametrize("vocabulary", [500, 70_000])
def test_saved_and_loaded(statistics: FeatureStatistics, vocabulary: int, tmp_path: Path) -> None:
    written = named(statistics)
    if vocabulary > 2**16:
        written = replace(written, promoted=written.promoted + 65_536)
    written.save(tmp_path)
    read = FeatureStatistics.load(tmp_path)
    assert read is not None
    for name in ("density", "maximum", "mean", "contexts", "promoted", "suppressed"):
        assert torch.equal(getattr(read, name), getattr(written, name)), name
    for name in ("quantiles", "promoted_logits", "suppressed_logits"):
        torch.testing.assert_close(
            getattr(read, name), getattr(written, name), rtol=1e-3, atol=1e-3
        )
    step = (written.maximum / 255)[:, None, None]
    error = (read.context_activations - written.context_activations).abs()
    assert (error <= step + 1e-6).all()
    assert torch.equal(read.context_activations > 0, written.context_activations > 0)
    assert read.tokens == written.tokens
    assert read.written is None
    rises = torch.linspace(-1, 1, len(read.maximum))
    replace(written, written=rises).save(tmp_path)
    again = FeatureStatistics.load(tmp_path)
    assert again is not None
    assert again.written is not None
    torch.testing.assert_close(again.written, rises, rtol=1e-3, atol=1e-3)


def test_values_by_unit(statistics: FeatureStatistics) -> None:
    feature = int(statistics.maximum.argmax())
    assert statistics.value(feature, "max") == statistics.maximum[feature].item()
    assert statistics.value(feature, "mean") == statistics.mean[feature].item()
    assert statistics.value(feature, "q90") == statistics.quantiles[feature, 4].item()
    with pytest.raises(DictionaryError, match="q33 was not kept; kept: q10"):
        statistics.value(feature, "q33")
    with pytest.raises(DictionaryError, match="feature 4 was never above 0"):
        statistics.value(4, "max")


def test_a_folder_without_statistics(tmp_path: Path) -> None:
    assert FeatureStatistics.load(tmp_path) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file(statistics: FeatureStatistics, share: float, tmp_path: Path) -> None:
    named(statistics).save(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FormatError, match="is damaged"):
        FeatureStatistics.load(tmp_path)
