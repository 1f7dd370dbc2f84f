"""The default model itself: fetched once, edited, and compared with a plain hook."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from apps import cli
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite

PROMPT = "The old bridge over the river"
SITE, PATH = "resid_post.20", "model.layers.20"


@pytest.fixture(scope="session")
def smollm() -> steer.Model:
    return steer.load("smollm2-135m", device="cpu")


@pytest.fixture(scope="session")
def sae() -> Dictionary:
    return tiny.dictionary(SITE, d=576)


def ids_of(model: steer.Model, prompt: str = PROMPT) -> Tensor:
    return model.tokenize([prompt])[0]


def test_the_tokenizer_splits_digits(smollm: steer.Model) -> None:
    assert ids_of(smollm, "In 2018, 12345 people").shape[1] == 14


def test_it_is_a_language_model(smollm: steer.Model) -> None:
    logits = plain.logits(smollm.module, ids_of(smollm, "The capital of France is"))
    assert smollm.token(int(logits[0, -1].argmax())) == " Paris"


EDITS: dict[str, tuple[steer.Edit, PlainEdit]] = {
    "clamp": (steer.Clamp(5, 60), PlainEdit(5, "clamp", 60)),
    "ablate": (steer.Ablate(5), PlainEdit(5, "ablate")),
    "scale": (steer.Scale(5, -9), PlainEdit(5, "scale", -9)),
    "add, generated only": (
        steer.Add(5, 60, positions="generated"),
        PlainEdit(5, "add", 60, plain.generated_only),
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_o33_edited_generation_is_a_plain_hook(
    name: str, smollm: steer.Model, sae: Dictionary
) -> None:
    edit, by_formula = EDITS[name]
    run = smollm.generate(
        PROMPT,
        steer.Intervention("tiny", [edit]),
        dictionaries=[sae],
        max_new_tokens=8,
        temperature=0,
        if_silent="ignore",
    )
    site, ids = PlainSite(PATH, "output", sae, [by_formula]), ids_of(smollm)
    assert list(run.ids) == plain.greedy(smollm.module, ids, 8, [site])
    assert list(run.baseline.ids) == plain.greedy(smollm.module, ids, 8)


def test_the_clamp_changes_the_text(smollm: steer.Model, sae: Dictionary) -> None:
    edit = steer.Intervention("tiny", [steer.Clamp(5, 400)])
    run = smollm.generate(PROMPT, edit, dictionaries=[sae], max_new_tokens=8, temperature=0)
    assert run.text != run.baseline.text
    assert run.receipt[0].acted_tokens == tuple(range(ids_of(smollm).shape[1] + 7))


@pytest.mark.parametrize("seed", [0, 1])
def test_o28_the_text_that_transformers_samples(
    seed: int, smollm: steer.Model, sae: Dictionary
) -> None:
    ids = ids_of(smollm)
    torch.manual_seed(seed)
    expected = smollm.module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=0.7,
        top_k=0,
        top_p=1.0,
        max_new_tokens=12,
        pad_token_id=smollm.tokenizer.pad_token_id,
    )[0, ids.shape[1] :]
    run = smollm.generate(
        PROMPT,
        steer.Intervention("tiny", [steer.Scale(5, 1)]),
        dictionaries=[sae],
        max_new_tokens=12,
        seed=seed,
        if_silent="ignore",
    )
    text = smollm.tokenizer.decode(expected, skip_special_tokens=True)
    assert run.text == run.baseline.text == text


# -- shipped dictionaries ----------------------------------------------------------------------

shipped = pytest.mark.parametrize("name", catalogue.names())


@shipped
def test_the_dictionary_is_of_this_model(name: str, smollm: steer.Model) -> None:
    card = smollm.dictionary(name).card
    assert card is not None
    assert card["fingerprint"] == smollm.fingerprint


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_dtype_is_no_other_model(dtype: str, smollm: steer.Model) -> None:
    model = steer.load("smollm2-135m", dtype=dtype, device="cpu")
    assert model.fingerprint == smollm.fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.dictionary(catalogue.names()[0])


@shipped
def test_its_features_are_as_the_card_says(name: str, smollm: steer.Model) -> None:
    dictionary = smollm.dictionary(name)
    assert dictionary.statistics is not None
    assert dictionary.card is not None
    text = "The committee met in the old town hall, and nobody could say who had called it. " * 3
    read = smollm.features(text, dictionary)
    active = read.activations[1:] > 0
    l0 = active.float().sum(1).mean().item()
    assert 0.5 * dictionary.card["l0"] < l0 < 2 * dictionary.card["l0"]
    x = smollm.collect(*smollm.tokenize([text]), [str(dictionary.config.hookpoint)])
    (residual,) = (value[0, 1:] for value in x.values())
    ordinary = residual[residual.norm(dim=-1) < 4 * residual.norm(dim=-1).median()]
    error = (ordinary - dictionary.reconstruct(ordinary)).square().sum()
    assert error / (ordinary - ordinary.mean(0)).square().sum() < 2.5 * dictionary.card["fvu"]


@shipped
def test_it_clamps(name: str, smollm: steer.Model) -> None:
    dictionary = smollm.dictionary(name)
    assert dictionary.statistics is not None
    feature = int(dictionary.statistics.density.argmax())
    edit = steer.Intervention(name, [steer.Clamp(feature, "5x max")])
    run = smollm.generate(PROMPT, edit, max_new_tokens=6, temperature=0)
    (entry,) = run.receipt
    asked = 5 * dictionary.statistics.maximum[feature].item()
    assert entry.after == pytest.approx(asked, rel=1e-5)
    assert len(entry.acted_tokens) == ids_of(smollm).shape[1] + 5
    site = PlainSite(
        f"model.layers.{str(dictionary.config.hookpoint).split('.')[1]}",
        "output",
        dictionary,
        [PlainEdit(feature, "clamp", asked)],
    )
    assert list(run.ids) == plain.greedy(smollm.module, ids_of(smollm), 6, [site])


@shipped
def test_it_saves_as_it_was_loaded(name: str, tmp_path: Path) -> None:
    one = catalogue.load(name)
    catalogue.save(one, tmp_path)
    other = catalogue.load(tmp_path)
    x = torch.randn(8, one.config.d_in, generator=torch.Generator().manual_seed(0)) * 5
    torch.testing.assert_close(other.encode(x)[0], one.encode(x)[0])


# -- the main job ------------------------------------------------------------------------------


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """JSON that a command prints."""

    def call(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["steer", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    return call


def test_the_demo(run_command: Callable[..., Any]) -> None:
    data = run_command("demo")
    assert data["baseline"] != data["steered"]
    assert data["receipt"][0]["acted_tokens"]
    assert len(data["promoted"]) == len(data["suppressed"]) == 10
    assert all(each["delta_logit"] > 0 for each in data["promoted"])
    edit = steer.Intervention.from_dict(data["intervention"])
    assert edit.dictionary in catalogue.names()


def test_the_cache_is_whole(run_command: Callable[..., Any]) -> None:
    data = run_command("fetch", "--check")
    assert Path(data["folder"]).is_dir()
    assert len(data["sha256"]) == 64
