"""`steer concept`: what it refuses, and what it shows of a concept."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from apps.cli.views.concept import concept_view
from apps.studies import concept_table
from apps.studies.concept_words import HELD_OUT, INVENTED
from dictionaries import catalogue
from steer.concepts.result import Concept
from tests.support import tiny
from tests.support.command import Run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("concept")
    tiny.build("llama").save_pretrained(folder / "model")
    tiny.tokenizer().save_pretrained(folder / "model")
    catalogue.save(tiny.dictionary(), folder / "sae")
    (folder / "one.txt").write_text("w5 w6\n\n")
    return str(folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["w5", "--examples", "{}/none.txt"], "none.txt can't be read as text"),
        (["w5", "--examples", "{}/one.txt"], "examples has 1 different sentences and needs 4"),
        (["w5", "--against", "{}/one.txt"], "against has 1 different sentences and needs 4"),
        (["w5"] * 6, "6 words"),
        ([" "], "a concept is a word or a short phrase"),
        (["w5", "--budget", "-1"], "budget=-1.0 is not allowed"),
    ],
)
def test_bad_input_is_one_line(run: Run, model: str, arguments: list[str], said: str) -> None:
    options = ["--model", f"{model}/model", "--dictionary", f"{model}/sae"]
    code, out, err = run(
        "concept", *(argument.format(model) for argument in arguments), *options, "--json"
    )
    assert code == 2
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_the_view_shows_the_verdict_the_controls_and_every_text() -> None:
    rows = concept_table.rows(concept_table.RESULTS)
    row = next(row for row in rows if row["verdict"] == "works")
    data = {name: value for name, value in row.items() if name not in ("kind", "seconds")}
    concept = Concept.from_dict({**data, "examples": {}})
    console = Console(width=1000, file=io.StringIO(), record=True)
    for each in concept_view(concept):
        console.print(each, markup=False)
    shown = console.export_text()
    assert f"{concept.word}: works" in shown
    for said in (*data["controls"], *map(str, concept.features), "untouched"):
        assert said in shown
    for pair in concept.texts:
        assert " ".join(pair.edited.split())[:40] in shown


def test_the_study_runs_every_word_once_and_none_again() -> None:
    order = concept_table.held_out()
    words = [word for _, word in order]
    assert sorted(words) == sorted([*INVENTED, *(w for part in HELD_OUT.values() for w in part)])
    done = concept_table.rows(concept_table.RESULTS)
    assert [(row["kind"], row["word"]) for row in done] == order[: len(done)]


def test_the_table_counts_what_it_lists() -> None:
    done = concept_table.rows(concept_table.RESULTS)
    shown = concept_table.table(done)
    works = [row for row in done if (row["kind"], row["verdict"]) == ("held-out", "works")]
    assert f", {len(works)} works" in shown
    assert all(f"| {row['word']} |" in shown for row in done)
    empty = tuple(concept_table.rows(Path("no such file")))
    assert empty == ()
