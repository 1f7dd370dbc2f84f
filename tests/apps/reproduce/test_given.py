"""Experiments on dictionaries by folder: rows of one are never taken for those of another, each is
measured once, and what is measured follows what was planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import steer
from apps.labels.reading import Reading
from apps.reproduce.e2_interpretability import given as e2
from apps.reproduce.e4_cards import given as e4
from apps.reproduce.e4_cards.experiment import Read
from apps.reproduce.e5_attribution import given as e5
from apps.reproduce.e5_attribution.experiment import Case
from apps.reproduce.e5_attribution.table import ESTIMATES
from apps.reproduce.e7_steering import given as e7
from apps.reproduce.e7_steering.bench import make_bench
from apps.reproduce.e7_steering.chosen import choose, probabilities
from apps.reproduce.settings import Settings
from apps.reproduce.shared.given import measure_given, read_given
from apps.reproduce.shared.recipe_text import first_of
from dictionaries import catalogue
from dictionaries.baselines import neurons, random_directions
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.effects.metric import LogitDifference
from steer.errors import SteerError
from steer.evals.steering.judges import Mentions
from steer.evals.steering.written import DOSE
from tests.apps.reproduce.test_e7 import ASKED, TINY
from tests.steer.evals.steering.test_matched_doses import own_words
from tests.support import tiny

SITE = "resid_post.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    catalogue.save(tiny.dictionary(), tmp_path / "one")
    catalogue.save(tiny.dictionary(seed=1), tmp_path / "other")
    return tmp_path


# -- which dictionary ------------------------------------------------------------------------------


def test_names_and_folders(llama: steer.Model, folder: Path) -> None:
    named = read_given(llama, [f"a=b={folder / 'one'}"[2:], str(folder / "other")], SITE)
    assert list(named) == ["b", str(folder / "other")]
    assert [dictionary.name for dictionary in named.values()] == list(named)
    assert torch.equal(named["b"].W_dec, tiny.dictionary().W_dec)


@pytest.mark.parametrize(
    ("names", "site", "said"),
    [
        (["x=one", "x=other"], SITE, "two dictionaries are called 'x'"),
        (
            ["x=one"],
            "resid_post.0",
            r"is of resid_post\.1, and what is measured here of",
        ),
        (["x=nothing"], SITE, "neither a name of the catalogue nor a folder"),
    ],
)
def test_what_is_refused(
    llama: steer.Model, folder: Path, names: list[str], site: str, said: str
) -> None:
    given = [name.replace("=", f"={folder}/") for name in names]
    with pytest.raises(SteerError, match=said):
        read_given(llama, given, site)


def test_rows_of_one_are_never_taken_for_those_of_another(llama: steer.Model, folder: Path) -> None:
    def measure(dictionary: Dictionary, item: str) -> list[dict[str, str]]:
        measured.append(f"{dictionary.name} {item}")
        return [{"item": item}]

    def run(places: list[str], items: str = "uv", header: str = "one") -> int:
        named = read_given(llama, [f"{folder}/".join(place.split("/")) for place in places], SITE)
        ledger = Ledger(folder / "rows.jsonl", {"what": header})
        return len(measure_given(ledger, named, {item: item for item in items}, measure))

    measured: list[str] = []
    assert run(["x=/one", "y=/other"]) == 4
    assert measured == ["x u", "y u", "x v", "y v"]
    assert run(["x=/one"], "uvw") == 5
    assert measured[4:] == ["x w"]
    with pytest.raises(SteerError, match="rows of another dictionary that was called 'x'"):
        run(["x=/other"])
    with pytest.raises(SteerError, match="holds another job"):
        run(["x=/one"], header="other")


# -- each experiment -------------------------------------------------------------------------------


def one_hot() -> Reading:
    """Contexts in which unit i of the site is on where token i stands."""
    tokens = torch.randint(3, 20, (60, 16), generator=torch.Generator().manual_seed(0))
    keep = torch.ones_like(tokens, dtype=torch.bool)
    keep[:, 0] = False
    heldout = torch.arange(60) % 2 == 1
    activations = torch.nn.functional.one_hot(tokens, tiny.VOCABULARY)
    return Reading(tokens, activations.bfloat16(), keep, heldout)


def by_name() -> dict[str, Dictionary]:
    return {
        "a unit a token": neurons(tiny.VOCABULARY),
        "random": random_directions(tiny.VOCABULARY, 64),
    }


def test_those_that_choose_come_first() -> None:
    few = first_of(one_hot(), 3, 2)
    assert few.heldout.tolist() == [False] * 3 + [True] * 2
    assert torch.equal(few.tokens, one_hot().tokens[[0, 2, 4, 1, 3]])


def test_e2_tells_readable_features_from_others(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    rows = e2.run(by_name(), one_hot(), tiny.tokenizer(), out)
    readable, random = rows
    assert (readable["features"], readable["good"], readable["F1"]) == (17, 1, 1)
    assert random["good"] < 0.5
    assert "| a unit a token | 17 | 100.0% [100.0%, 100.0%] |" in e2.table(rows)
    assert e2.run(by_name(), one_hot(), tiny.tokenizer(), out) == rows


def test_e4_finds_the_feature_of_a_kind_of_token(llama: steer.Model) -> None:
    text = first_of(one_hot(), 30, 30)
    read = Read(text.tokens, text.activations.float(), text.keep)
    units = neurons(tiny.VOCABULARY)
    row = e4.detected(llama, units, "w7", read)
    assert (row["feature"], row["place"]) == (7, "at")
    assert row["f1_low"] == pytest.approx(1)
    assert row["tokens"] == int((text.tokens[30:, 1:] == 7).sum())
    assert e4.detected(llama, units, "w50", read)["feature"] is None


def test_e4_measures_every_case_beside_its_controls(llama: steer.Model, tmp_path: Path) -> None:
    rows = e4.run(llama, by_name(), first_of(one_hot(), 30, 30), tmp_path / "rows.jsonl")
    assert [row["dictionary"] for row in rows[:4]] == [*by_name(), "PCA", "neurons"]
    assert len(rows) == 8
    assert len(e4.table(rows).splitlines()) == 2 + len(rows)


def test_e5_measures_each_on_each_prompt(llama: steer.Model, tmp_path: Path) -> None:
    named = {"one": tiny.dictionary(), "other": tiny.dictionary(seed=1)}
    metric = LogitDifference("w5", "w6")
    cases = [Case("ioi", text, metric) for text in ("w7 w31 w12 w55", "w9 w3 w12 w4")]
    rows = e5.run(llama, named, cases, tmp_path / "rows.jsonl")
    assert {(row.dictionary, row.prompt) for row in rows} == {
        (name, prompt) for name in named for prompt in range(2)
    }
    assert len(rows) == 2 * 2 * len(ESTIMATES)
    assert e5.table(rows).count("\n") == 3


def test_e7_chooses_the_row_that_writes_the_concept(llama: steer.Model) -> None:
    """Against the plain model, with the row added at the last token after the block."""
    plain, sae = tiny.plain_model("llama"), tiny.dictionary()
    ids = torch.tensor([tiny.tokenizer()(tiny.PROMPT)["input_ids"]])
    thirties = torch.tensor([token for token in range(3, 96) if 30 <= token < 40])
    likely = []
    for row in sae.W_dec:

        def push(module: object, given: object, out: torch.Tensor, row: torch.Tensor = row) -> None:
            out[:, -1] += DOSE * out[:, -1].norm() * row / row.norm()

        handle = plain.model.layers[1].register_forward_hook(push)
        with torch.no_grad():
            likely.append(plain(ids).logits[0, -1].softmax(-1)[thirties].sum())
        handle.remove()
    expected = torch.stack(likely).double()
    ours = probabilities(llama, sae, [thirties], tiny.PROMPT)
    assert torch.allclose(ours[:, 0], expected, atol=1e-5)
    feature, probability = choose(llama, sae, TINY[:1], [tiny.PROMPT])["thirties"]
    assert feature == int(expected.argmax())
    assert probability == pytest.approx(float(expected.max()), abs=1e-5)


def test_e7_steers_by_the_same_choice_in_each(llama: steer.Model, tmp_path: Path) -> None:
    sae = replace(tiny.dictionary(), name="shipped")
    texts = [own_words(text) for text in tiny.PROMPTS]
    settings = Settings(fast=True, scale=0.4, out=tmp_path, cache=tmp_path)
    bench = make_bench(settings, llama, sae, texts, Mentions(r"w\d", enough=1), ASKED)
    rows = e7.run(bench, e7.beside(sae), TINY, tmp_path / "rows.jsonl")
    by_hand = {row["concept"]: row for row in rows if row["dictionary"] == e7.BY_HAND}
    assert {name: row["feature"] for name, row in by_hand.items()} == {"thirties": 5, "forties": 9}
    assert len(rows) == 3 * len(TINY)
    for row in rows:
        assert 0 <= row["score"] <= 2
        assert row["delta_ce"] == pytest.approx(bench.budget, rel=0.1)
        assert row["chosen at"] is None or 0 < row["chosen at"] <= 1
    lines = e7.table(rows).splitlines()
    assert lines[0].startswith("| 2 concepts |")
    assert [line.split(" | ")[0][2:] for line in lines[2:]] == [*e7.beside(sae), "unsteered"]
