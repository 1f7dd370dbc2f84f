"""What a person brings by path: prompts, an answer each, tasks and corpora; edits in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.corpora import documents
from dictionaries import catalogue
from steer.evals.lm_eval.compare import TASKS
from tests.support import tiny
from tests.support.command import Run

PROMPTS = ["w7 w31 w12", "w20 w3 w9"]


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tiny.build("llama").save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    catalogue.save(tiny.dictionary(), tmp_path / "sae")
    monkeypatch.chdir(tmp_path)
    return ["--model", "model", "--dictionary", "sae", "--json"]


def effects_of(run: Run, *arguments: object) -> list[dict[str, float]]:
    answer = run(*arguments)
    assert answer.code == 0, answer.err
    rows: list[dict[str, float]] = json.loads(answer.out)["features"]
    return rows


def test_each_prompt_has_its_own_answer(run: Run, options: list[str]) -> None:
    Path("answers.txt").write_text("w5\tw6\nw8\n")
    both = effects_of(
        run, "sweep", *PROMPTS, "--answers", "answers.txt", "--draws", "0", "--top", "48", *options
    )
    alone = [
        effects_of(run, "sweep", prompt, *asked, "--draws", "0", "--top", "48", *options)
        for prompt, asked in (
            (PROMPTS[0], ["--answer", "w5", "--against", "w6"]),
            (PROMPTS[1], ["--answer", "w8"]),
        )
    ]
    each = [{row["feature"]: row["effect"] for row in rows} for rows in alone]
    for row in both:
        mean = sum(effects.get(row["feature"], 0.0) for effects in each) / 2
        assert row["effect"] == pytest.approx(mean, abs=1e-6)


def test_an_effect_has_answers_too(run: Run, options: list[str]) -> None:
    Path("answers.txt").write_text("w5\nw8\n")
    answer = run("effects", *PROMPTS, "--ablate", "6", "--answers", "answers.txt", *options)
    assert answer.code == 0, answer.err
    assert "metric" in json.loads(answer.out)["summary"]


def test_prompts_from_a_file(run: Run, options: list[str]) -> None:
    Path("prompts.txt").write_text("\n".join(PROMPTS))
    typed, read = (
        effects_of(run, "sweep", *given, "--draws", "0", *options)
        for given in (PROMPTS, ["@prompts.txt"])
    )
    assert typed == read


def test_edits_in_order(run: Run, options: list[str]) -> None:
    asked = ["generate", PROMPTS[0], "--clamp", "5=2", "--add", "5=1"]
    assert run(*asked, *options).code == 2
    answer = run(*asked, "--in-order", *options)
    assert answer.code == 0, answer.err
    made = json.loads(answer.out)
    assert made["intervention"]["conflicts"] == "in_order"
    first, second = made["receipt"]
    assert (first["after"], second["before"], second["after"]) == pytest.approx((2.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("edits", "kinds", "becomes"),
    [
        ("--clamp 5=2 --scale 5=3 --add 5=1", ["clamp", "scale", "add"], 7.0),
        ("--add 5=1 --clamp 5=2 --scale 5=3", ["add", "clamp", "scale"], 6.0),
        ("--clamp 5=2 --in-order --add=5=1 --seed 4 --scale 5=3", ["clamp", "add", "scale"], 9.0),
        ("--ablate 5 --add 5=1 --ablate 5 --add 5=4", ["ablate", "add", "ablate", "add"], 4.0),
        ("--add 5=1 --add 5=2 --clamp 5=8 --clamp 5=3", ["add", "add", "clamp", "clamp"], 3.0),
    ],
)
def test_the_order_of_the_edits_is_that_of_the_typing(
    run: Run, options: list[str], edits: str, kinds: list[str], becomes: float
) -> None:
    ordered = edits.split() if "--in-order" in edits else [*edits.split(), "--in-order"]
    answer = run("generate", *ordered, PROMPTS[0], *options)
    assert answer.code == 0, answer.err
    made = json.loads(answer.out)
    assert [edit["kind"] for edit in made["intervention"]["edits"]] == kinds
    assert made["receipt"][-1]["after"] == pytest.approx(becomes)


def test_the_order_is_kept_without_in_order_too(run: Run, options: list[str]) -> None:
    answer = run("explain", "--add", "7=1", "--clamp", "5=2", "--ablate", "6", *options)
    assert answer.code == 0, answer.err
    assert answer.out.index('"add"') < answer.out.index('"clamp"') < answer.out.index('"ablate"')


def test_a_task_by_its_file(run: Run, options: list[str]) -> None:
    pytest.importorskip("lm_eval")
    own = Path("tasks")
    own.mkdir()
    Path("tasks/data.jsonl").write_text(
        "".join(json.dumps({"q": "w7", "right": f" w{n}", "wrong": " w9"}) + "\n" for n in (3, 4))
    )
    Path("tasks/my.yaml").write_text(
        "task: my_own\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {own.absolute()}/data.jsonl\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{q}}'\n"
        "doc_to_choice: '{{[right, wrong]}}'\ndoc_to_target: 0\nmetric_list:\n  - metric: acc\n"
    )
    answer = run("evaluate", "--tasks", "tasks/my.yaml", "--clamp", "5=2", *options)
    assert answer.code == 0, answer.err
    assert {row["task"] for row in json.loads(answer.out)["baseline"]} == {"my_own"}
    assert TASKS.is_dir()


def test_a_corpus_by_its_path(tmp_path: Path) -> None:
    paragraph = ("A text of some length, of which there are several. " * 8).strip()
    (tmp_path / "texts").mkdir()
    for name in ("b", "a"):
        said = "\n\n".join(f"{name} {number} {paragraph}" for number in range(6))
        (tmp_path / "texts" / f"{name}.txt").write_text(said)
    found = list(documents(str(tmp_path / "texts"), tmp_path / "cache"))
    assert [text[0] for text in found] == ["a", "a", "b", "b"]
    assert all(len(text) >= 1_000 for text in found)
    assert "\n\n".join(found[:2]) == (tmp_path / "texts" / "a.txt").read_text().strip()
    assert list(documents(str(tmp_path / "texts" / "a.txt"), tmp_path)) == found[:2]
