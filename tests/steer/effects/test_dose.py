"""Doses: a batch of doses is each dose alone, and nothing happens at no dose."""

from __future__ import annotations

import pytest
import torch

import steer
from steer.effects.dose.dose_response import dose_response
from steer.effects.metric import LogitDifference
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.errors import SteerError
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")


def test_each_dose_is_the_edit_alone(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    feature = tiny.active_features(llama, dictionary)[1]
    response = dose_response(
        llama, tiny.PROMPTS, dictionary, feature, [-2.0, 0.0, "1x max"], metric=METRIC
    )
    ablated = ablation_sweep(llama, tiny.PROMPTS, dictionary, [feature], metric=METRIC)
    own = torch.zeros(3, dtype=torch.float64)
    for row in ablated.rows:
        own[row["prompt"]] = row["effect"]
    assert torch.allclose(response.effect[1], own, atol=2e-5)
    assert (response.kl >= -1e-6).all()
    assert list(response.to_frame()["dose"]) == [-2.0, 0.0, "1x max"]


def test_no_change_is_no_effect(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    response = dose_response(llama, tiny.PROMPTS, dictionary, 5, [0.0, 2.0], edit=steer.Add)
    assert response.kl[0].abs().max() < 1e-6
    assert response.delta_ce[0].abs().max() < 1e-6
    assert not response.relative_dose[0].any()
    assert response.strongest(budget=1e9) == 2.0
    assert response.strongest(budget=-1.0) is None


def test_no_doses(llama: steer.Model) -> None:
    with pytest.raises(SteerError, match="no doses"):
        dose_response(llama, tiny.PROMPT, tiny.dictionary(), 5, [])


def test_written_text_is_judged_by_the_untouched_model(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    response = dose_response(
        llama, tiny.PROMPTS, dictionary, 5, [0.0, 2.0, 40.0], edit=steer.Add, continuation=6
    )
    assert response.loss is not None
    assert response.distinct is not None
    assert response.loss.shape == response.distinct.shape == (3, 3)
    for number, prompt in enumerate(tiny.PROMPTS):
        plain = llama.generate(
            prompt,
            steer.Intervention("tiny", [steer.Add(5, 0.0)]),
            dictionaries=[dictionary],
            max_new_tokens=6,
            if_silent="ignore",
        )
        ids = torch.tensor([*llama.tokenize([prompt])[0][0].tolist(), *plain.baseline.ids])
        with torch.inference_mode():
            logits = tiny.plain_model("llama")(ids[None]).logits[0]
        losses = -logits[:-1].log_softmax(-1).gather(-1, ids[1:, None])
        own = losses[-len(plain.baseline.ids) :].mean().item()
        assert response.loss[0, number].item() == pytest.approx(own, rel=1e-4)
    assert {"loss", "distinct"} <= set(response.to_frame().columns)


def test_the_strongest_dose_is_of_neutral_text(llama: steer.Model) -> None:
    dictionary, neutral = tiny.dictionary(), ["w3 w8 w9 w30", "w40 w41 w42 w43 w44"]
    doses = [1.0, 4.0, 16.0]
    response = dose_response(
        llama, tiny.PROMPT, dictionary, 5, doses, edit=steer.Add, neutral=neutral
    )
    own = dose_response(llama, neutral, dictionary, 5, doses, edit=steer.Add)
    assert torch.equal(response.neutral_ce, own.delta_ce)
    assert not torch.equal(response.neutral_ce.mean(1), response.delta_ce.mean(1))
    limit = own.delta_ce.mean(1)[:2].max().item() + 1e-9
    weaker = own.delta_ce.mean(1)[2].item() > limit
    assert response.strongest(limit) == (4.0 if weaker else 16.0)


def test_the_two_signs(llama: steer.Model) -> None:
    response = dose_response(
        llama, tiny.PROMPTS, tiny.dictionary(), 5, [-2.0, 2.0, 3.0, "-1x max", "1x max"]
    )
    table = response.asymmetry()
    assert set(zip(table["unit"], table["dose"], strict=True)) == {("activation", 2.0), ("max", 1)}
    row = table[table["unit"] == "activation"].iloc[0]
    assert row["even"] + row["odd"] == pytest.approx(row["plus"])
    assert row["even"] - row["odd"] == pytest.approx(row["minus"])
    assert response.asymmetry().equals(table)


def test_a_prompt_without_touched_tokens_does_not_hide_the_strongest_dose(
    llama: steer.Model,
) -> None:
    """Its ‖Δ‖/‖x‖ is 0, as its effect is: were it not a number, any dose could be the strongest."""
    prompts = [*tiny.PROMPTS, "w7"]
    response = dose_response(llama, prompts, tiny.dictionary(), 5, [0.5, 8.0, 2.0], positions="1:")
    assert not response.relative_dose[:, 3].any()
    assert response.strongest(budget=1e9) == 8.0


def test_a_dose_of_the_last_token_alone_has_no_price(llama: steer.Model) -> None:
    """The loss of a text is read off the tokens before its last: none of it could rise."""
    given = {"edit": steer.Add, "continuation": 2}
    dictionary, doses = tiny.dictionary(), [1.0, 50.0]
    last = dose_response(llama, tiny.PROMPTS, dictionary, 5, doses, positions="last", **given)
    assert last.kl[1].mean() > 0
    assert last.neutral_ce.isnan().all()
    assert last.strongest(1e9) is None
    assert "no dose has a price" in repr(last)
    assert last.plot()
    frame = last.to_frame()
    assert frame["neutral_ce"].isna().all()
    assert not frame["kl"].isna().any()
    texts = [*tiny.PROMPTS, "w3"]
    priced = dose_response(llama, texts, dictionary, 5, doses, positions="all", **given)
    alone = dose_response(llama, tiny.PROMPTS, dictionary, 5, doses, positions="all", **given)
    assert priced.neutral_ce[:, -1].isnan().all()
    assert priced.to_frame()["neutral_ce"].tolist() == pytest.approx(
        alone.to_frame()["neutral_ce"].tolist()
    )
