"""Ours beside lm-eval 0.4.13's own `steered` model: where it is right we agree, and its defects
are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.hf_steered import SteeredModel

import steer
from dictionaries.dictionary import Dictionary
from steer.evals.lm_eval.model import SteerLM
from steer.exchange.formats import export_to
from tests.steer.evals.lm_eval.conftest import Make
from tests.steer.evals.lm_eval.requests import PAIRS, ask
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite

DIRECTION = steer.DecoderRow("tiny", 5)


def theirs(folder: Path, file: Path) -> Any:
    return SteeredModel(str(folder / "model"), str(file), device="cpu", batch_size=3)


@pytest.mark.parametrize("kind", ["loglikelihood", "generate_until"])
@pytest.mark.parametrize(
    "edit",
    [
        steer.Add(5, 6.0),
        steer.AddDirection(DIRECTION, 6.0),
        steer.ClampProjection(DIRECTION, 9.0),
    ],
    ids=lambda edit: edit.kind,
)
def test_an_exported_edit_scores_alike(
    edit: steer.Edit, kind: str, folder: Path, llama: steer.Model, sae: Dictionary, tmp_path: Path
) -> None:
    given = steer.Intervention("tiny", [edit])
    export_to("lm-eval", llama, given, tmp_path / "edit.pt", (sae,))
    expected = ask(theirs(folder, tmp_path / "edit.pt"), kind)
    answers = ask(SteerLM(llama, given, (sae,), batch_size=3, progress=False), kind)
    if kind == "generate_until":
        assert answers == expected
    else:
        scores, wanted = zip(*answers, strict=True), zip(*expected, strict=True)
        assert list(next(scores)) == pytest.approx(list(next(wanted)), abs=1e-4)


def test_two_features_of_one_layer_both_act(make: Make, llama: steer.Model) -> None:
    """Theirs keeps the last row of a hookpoint."""
    one, two = steer.Add(5, 6.0), steer.Add(11, 4.0)
    apart = [ask(make(each), "loglikelihood") for each in (one, two)]
    lm = make(one, two)
    together = ask(lm, "loglikelihood")
    assert together not in apart
    assert [entry.acted for entry in lm.tally.entries] == [lm.tally.entries[0].touched] * 2


def test_every_edit_has_its_own_value(make: Make, sae: Dictionary) -> None:
    """A hook that binds late gives all of them the last one's."""
    given = steer.Add(5, 6.0), steer.Add(11, -4.0), steer.Add(20, 9.0)
    same = [PlainEdit(5, "add", 6.0), PlainEdit(11, "add", -4.0), PlainEdit(20, "add", 9.0)]
    ids = tiny.tokenizer()("w5 w6 w7 w8", return_tensors="pt")["input_ids"]
    site = PlainSite("model.layers.1", "output", sae, same)
    logits = plain.logits(tiny.plain_model("llama"), ids, sites=[site])
    expected = logits[0, -1].log_softmax(-1)[9].item()
    answers = ask(make(*given), "loglikelihood", [("w5 w6 w7 w8", " w9")])
    assert answers[0][0] == pytest.approx(expected, abs=1e-4)


def test_a_clamp_sets_the_activation_and_not_the_projection(make: Make) -> None:
    """Theirs sets x · d and calls it clamp."""
    clamp = ask(make(steer.Clamp(5, 9.0)), "loglikelihood")
    projection = ask(make(steer.ClampProjection(DIRECTION, 9.0)), "loglikelihood")
    assert max(abs(a[0] - b[0]) for a, b in zip(clamp, projection, strict=True)) > 1e-2


def test_an_unknown_site_leaves_the_model_as_it_was(llama: steer.Model) -> None:
    """Theirs has hooked the other sites by the time that it finds out, and leaves the hooks on."""
    before = ask(SteerLM(llama, batch_size=3, progress=False), "loglikelihood", PAIRS[:2])
    given = [
        steer.Intervention(site, [steer.AddDirection(steer.Random(1), 9.0)])
        for site in ("resid_post.0", "resid_post.77")
    ]
    with pytest.raises(steer.HookpointError, match="77"):
        SteerLM(llama, given, progress=False)
    after = ask(SteerLM(llama, batch_size=3, progress=False), "loglikelihood", PAIRS[:2])
    assert after == before
