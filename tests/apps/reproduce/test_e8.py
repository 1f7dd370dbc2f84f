"""E8's prompts, erasers and table on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import steer
from apps.reproduce.e8_erasure import experiment as e8
from apps.reproduce.e8_erasure.erased import Erased
from apps.reproduce.e8_erasure.prompts import Family, Prompts, prompts, split_names
from apps.reproduce.e8_erasure.table import COLUMNS, claims
from apps.reproduce.settings import Settings
from apps.studies.ioi_prompts import whole_words
from steer.errors import PromptError
from tests.support import tiny

MEN = tuple(f"w{i}" for i in range(10, 20))
WOMEN = tuple(f"w{i}" for i in range(30, 40))
FAMILIES = (
    Family("first", " w50 {name} w51 w52", (" w60", " w61"), " w53"),
    Family("second", " {name} w70 w71", (" w62", " w63"), " w72"),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(fast=True, scale=0.4, out=tmp_path, cache=tmp_path)


def test_names_are_split_and_shots_never_tell(llama: steer.Model) -> None:
    fit, test = split_names(llama, 4, 0, MEN, WOMEN)
    assert {name for name, _ in fit}.isdisjoint(name for name, _ in test)
    for half in (fit, test):
        assert sum(male for _, male in half) == 4 == len(half) - 4
        assert all((name in MEN) == male for name, male in half)
    made = prompts(llama, FAMILIES[0], test, fit, 3, 0)
    assert len(made.ids) == 3 * len(test)
    for ids, name, male in zip(made.ids.tolist(), made.names, made.male.tolist(), strict=True):
        words = [f"w{i}" for i in ids]
        assert words[made.start] == name
        assert words.count(name) == 1
        assert (name in MEN) == male
        assert words[made.start + 1 :] == ["w51", "w52"]
        assert words.count("w60") == words.count("w61") == 3
        shown = [words[i - 3] for i, w in enumerate(words) if w in ("w60", "w61")]
        right = [words[i] for i, w in enumerate(words) if w in ("w60", "w61")]
        assert [("w60" if n in MEN else "w61") for n in shown] == right
    assert made.answers == (60, 61)
    assert made.correct.tolist() == [0 if male else 1 for male in made.male]


def test_prompts_of_different_lengths_are_refused(llama: steer.Model) -> None:
    fit = [(name, True) for name in MEN[:5]] + [(name, False) for name in WOMEN[:5]]
    with pytest.raises(PromptError, match="differ in tokens"):
        prompts(llama, FAMILIES[0], [("w20", True), ("w21 w22", False)], fit, 1, 0)
    assert whole_words(llama, ["w20", "w21 w22"]) == ["w20"]
    with pytest.raises(PromptError, match="single tokens"):
        split_names(llama, 4, 0, MEN[:3], WOMEN)


def fitted(model: steer.Model) -> Prompts:
    fit, _ = split_names(model, 5, 0, MEN, WOMEN)
    return prompts(model, FAMILIES[0], fit, fit, 6, 0)


def test_what_each_eraser_leaves(llama: steer.Model) -> None:
    sae, given = tiny.dictionary(), fitted(llama)
    erasers = e8.fit_erasers(llama, sae, "resid_post.1", given, 0)
    by_method = {eraser.method: eraser for eraser in erasers}
    x = llama.collect(given.ids, torch.ones_like(given.ids), ["resid_post.1"])["resid_post.1"]
    x = x[:, given.start :]
    labels = given.male.repeat_interleave(x.shape[1])
    gap = x.flatten(0, 1)[labels].mean(0) - x.flatten(0, 1)[~labels].mean(0)
    assert torch.equal(by_method["none"].erase(x), x)
    for method in ("LEACE", "mean projection"):
        left = by_method[method].erase(x).flatten(0, 1)
        assert torch.allclose(left[labels].mean(0), left[~labels].mean(0), atol=1e-4)
    feature = by_method["feature: code ablated"].feature
    assert feature is not None
    row = sae.W_dec[feature]
    projected = by_method["feature: direction projected out"].erase(x)
    assert torch.allclose(projected @ row, torch.zeros(x.shape[:2]), atol=1e-4)
    ablated = by_method["feature: code ablated"].erase(x)
    assert torch.allclose(ablated, x - sae.encode(x)[0][..., feature, None] * row, atol=1e-5)
    active = (sae.encode(x.flatten(0, 1))[0] > 0).float().mean(0) > 0.01
    cosine = torch.cosine_similarity(sae.W_dec, gap[None], dim=-1).abs()
    assert feature == int(cosine.masked_fill(~active, -1).argmax())
    # Nothing moves less than LEACE and still makes the means equal (Belrose et al. 2023).
    moved = {m: (by_method[m].erase(x) - x).norm().item() for m in ("LEACE", "mean projection")}
    assert 0 < moved["LEACE"] < 1.5 * moved["mean projection"]


def test_measured_chances_are_the_plain_models(llama: steer.Model) -> None:
    sae, given = tiny.dictionary(), fitted(llama)
    erasers = e8.fit_erasers(llama, sae, "resid_post.1", given, 0)
    damage = e8.neutral_kl(llama, [tiny.PROMPT], "resid_post.1", erasers)
    measures = e8.measure(llama, "resid_post.1", given, erasers, damage)
    plain = tiny.plain_model("llama")
    for eraser, got in list(zip(erasers, measures, strict=True))[:5]:

        def erase(_: object, __: object, output: torch.Tensor, own: e8.Eraser = eraser) -> None:
            output[:, given.start :] = own.erase(output[:, given.start :])

        handle = plain.model.layers[1].register_forward_hook(erase)
        with torch.no_grad():
            logits = plain(given.ids).logits[:, -1]
        handle.remove()
        right = logits[:, list(given.answers)].double().softmax(-1)
        expected = right.gather(1, given.correct[:, None]).squeeze(1)
        assert torch.allclose(got.chance, expected, atol=1e-4)
    assert measures[0].norm.max() == 0
    assert damage[0].abs().max() < 1e-6
    assert damage[1:].min() >= -1e-6


def test_the_whole_table(llama: steer.Model, settings: Settings) -> None:
    saes = [tiny.dictionary("resid_post.0"), tiny.dictionary("resid_post.1")]
    table = e8.erase_gender(
        settings, llama, saes, tiny.PROMPTS, families=FAMILIES, men=MEN, women=WOMEN
    )
    again = e8.erase_gender(
        settings, llama, saes, tiny.PROMPTS, families=FAMILIES, men=MEN, women=WOMEN
    )
    assert table.rows == again.rows
    assert len(table.rows) == 2 * 2 * 2 * 8
    assert all(list(row) == list(COLUMNS) for row in table.rows)
    assert all(0 <= float(row["P(correct)"] or 0) <= 1 for row in table.rows)
    # A random model knows no gender: the experiment says that it is void.
    assert {claim.holds for claim in table.claims} == {None}
    assert all("void" in claim.measured for claim in table.claims)
    assert table.figure is not None
    drawn = {trace.name for trace in table.figure(table).data}
    assert drawn == {row["method"] for row in table.rows} - {"none"}


def erased(method: str, chance: float, kl: float) -> Erased:
    names = tuple("abcdef")
    wiggle = torch.linspace(-0.01, 0.01, 6).double()
    return Erased(
        "s", "f", "f", method, None, names, chance + wiggle, wiggle + 1, kl * (1 + wiggle)
    )


def test_claims_follow_the_figures() -> None:
    base = [erased("none", 0.95, 0), erased("random direction", 0.94, 0.01)]
    prior = [erased("LEACE", 0.55, 0.1), erased("mean projection", 0.55, 0.01)]
    own = "feature: direction projected out"
    good = claims([*base, *prior, erased(own, 0.5, 0.02)])
    assert [claim.holds for claim in good] == [True, True, False]
    costly = claims([*base, *prior, erased(own, 0.5, 0.2)])
    assert [claim.holds for claim in costly] == [True, False, False]
    weak = claims([*base, *prior, erased(own, 0.94, 0.001)])
    assert [claim.holds for claim in weak] == [False, False, False]
