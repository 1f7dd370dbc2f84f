"""`Model.generate`: bad input, endings, and stopping; its laws are in `test_splice_*`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from tests.support import plain, tiny
from tests.support.tiny import PROMPT

EDIT = steer.Intervention("tiny", [steer.Clamp(5, 9)])


def run(model: steer.Model, prompt: Any = PROMPT, edit: Any = EDIT, **options: Any) -> steer.Run:
    given: dict[str, Any] = {"dictionaries": [tiny.dictionary()], "max_new_tokens": 5, **options}
    return model.generate(prompt, edit, **given)


@pytest.fixture
def own() -> steer.Model:
    """A model whose settings may be changed."""
    return steer.load(tiny.build("llama"), tokenizer=tiny.tokenizer())


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", " ", "\n\t ", None, 3, b"w5"])
def test_prompts_without_text(prompt: Any, llama: steer.Model) -> None:
    with pytest.raises(steer.PromptError):
        run(llama, prompt)


def test_a_prompt_longer_than_the_context(llama: steer.Model) -> None:
    with pytest.raises(steer.PromptError, match=r"65 .*64"):
        run(llama, "w5 " * 65)
    with pytest.raises(steer.PromptError, match=r"62 prompt tokens and 5 new .* more than the 64"):
        run(llama, "w5 " * 62)
    assert len(run(llama, "w5 " * 59, temperature=0).ids) <= 5


@pytest.mark.parametrize("feature", [tiny.WIDTH, 10**9])
def test_a_feature_out_of_range(feature: int, llama: steer.Model) -> None:
    edit = steer.Intervention("tiny", [steer.Ablate(feature)])
    with pytest.raises(steer.DictionaryError, match=f"feature {feature} .*tiny.* 0 to 47"):
        run(llama, edit=edit)


def test_an_unknown_dictionary(llama: steer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "names", lambda *_: ["smollm2-135m/resid_post.20"])
    edit = steer.Intervention("smollm2/resid_post.20", [steer.Ablate(1)])
    with pytest.raises(steer.DictionaryError, match=r"Did you mean smollm2-135m/resid_post\.20"):
        run(llama, edit=edit)


def test_a_dictionary_of_another_width(llama: steer.Model) -> None:
    with pytest.raises(steer.DictionaryError, match=r"width 24.*resid_post\.1 .* has width 32"):
        run(llama, dictionaries=[tiny.dictionary(d=24)])


def test_a_dictionary_of_no_site(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    lost = replace(sae, config=replace(sae.config, hookpoint=None))
    with pytest.raises(steer.DictionaryError, match="does not say which site"):
        run(llama, dictionaries=[lost])


@pytest.mark.parametrize("hookpoint", ["resid_post.3", "resid_pots.1", "blocks.7.hook_resid_post"])
def test_a_dictionary_of_a_site_that_is_not_there(hookpoint: str, llama: steer.Model) -> None:
    with pytest.raises(steer.HookpointError):
        run(llama, dictionaries=[tiny.dictionary(hookpoint)])


BAD_OPTIONS: list[dict[str, Any]] = [
    {"temperature": -0.1},
    {"temperature": math.nan},
    {"top_p": 0.0},
    {"top_p": 1.5},
    {"top_k": 0},
    {"repetition_penalty": 0.0},
    {"max_new_tokens": 0},
    {"max_new_tokens": -3},
]


@pytest.mark.parametrize("option", BAD_OPTIONS, ids=str)
def test_bad_options(option: dict[str, Any], llama: steer.Model) -> None:
    (name,) = option
    with pytest.raises(steer.SteerError, match=f"{name}=.* not allowed"):
        run(llama, **option)


@pytest.mark.parametrize("edit", ["tiny", None, steer.Clamp(5, 9), [steer.Clamp(5, 9)], 3])
def test_what_is_no_intervention(edit: Any, llama: steer.Model) -> None:
    with pytest.raises(steer.InterventionError, match="xpected an Intervention"):
        run(llama, edit=edit)


# -- endings -----------------------------------------------------------------------------------


def with_end(model: steer.Model, ends: int | list[int]) -> steer.Model:
    model.module.generation_config.eos_token_id = ends
    return model


@pytest.mark.parametrize("several", [False, True])
def test_each_text_ends_at_its_own_end_token(own: steer.Model, several: bool) -> None:
    whole = run(own, temperature=0, max_new_tokens=8)
    assert len(whole.ids) == len(whole.baseline.ids) == 8
    end = next(token for token in whole.baseline.ids[:5] if token not in whole.ids)
    model = with_end(own, [end, 2] if several else end)
    answer = run(model, temperature=0, max_new_tokens=8)
    stop = whole.baseline.ids.index(end)
    assert answer.baseline.ids == whole.baseline.ids[: stop + 1]
    assert answer.ids == whole.ids
    assert answer.receipt[0].acted_tokens == whole.receipt[0].acted_tokens


def test_nothing_acts_after_the_end(own: steer.Model) -> None:
    whole = run(own, temperature=0, max_new_tokens=8)
    end = next(token for token in whole.ids[:5] if token not in whole.baseline.ids)
    stop = whole.ids.index(end)
    answer = run(with_end(own, end), temperature=0, max_new_tokens=8)
    assert answer.ids == whole.ids[: stop + 1]
    assert answer.baseline.ids == whole.baseline.ids
    assert answer.receipt[0].acted_tokens == tuple(range(6 + stop))


def test_text_is_without_special_tokens(own: steer.Model) -> None:
    answer = run(own, temperature=0)
    assert answer.text == " ".join(f"w{i}" for i in answer.ids if i > tiny.UNKNOWN)


# -- stopping and repeating --------------------------------------------------------------------


def test_on_step_sees_every_token_and_can_stop(llama: steer.Model) -> None:
    lengths: list[Sequence[int]] = []

    def stop_at_three(ids: Tensor) -> bool:
        lengths.append(tuple(ids.shape))
        return ids.shape[1] == 6 + 3

    whole = run(llama, temperature=0)
    answer = run(llama, temperature=0, on_step=stop_at_three)
    assert lengths == [(2, 7), (2, 8), (2, 9)]
    assert answer.ids == whole.ids[:3]
    assert answer.baseline.ids == whole.baseline.ids[:3]
    assert answer.receipt[0].acted_tokens == tuple(range(8))
    assert run(llama, temperature=0) == whole


def test_an_exception_in_on_step_leaves_the_model_as_it_was(
    model: steer.Model, untouched: Any
) -> None:
    def fail(ids: Tensor) -> None:
        raise ArithmeticError("stopped on purpose")

    before = run(model, temperature=0)
    with pytest.raises(ArithmeticError, match="stopped on purpose"):
        run(model, on_step=fail)
    assert run(model, temperature=0) == before
    ids = model.tokenize([PROMPT])[0]
    assert torch.equal(plain.logits(model.module, ids), plain.logits(untouched, ids))


def test_a_run_repeats(llama: steer.Model) -> None:
    one, same, other = (run(llama, seed=seed, temperature=1.5) for seed in (3, 3, 4))
    assert one == same
    assert one.baseline.ids != other.baseline.ids


def test_the_callers_random_state_is_left_alone(llama: steer.Model) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(llama)
    assert torch.equal(torch.rand(3), expected)


def test_everything_needed_to_repeat_it_is_in_the_run(llama: steer.Model) -> None:
    answer = run(llama, seed=3, temperature=0.5)
    data = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert {"prompt", "baseline", "steered", "intervention", "receipt"} <= set(data)
    assert steer.Intervention.from_dict(data["intervention"]) == EDIT
    assert (data["seed"], data["temperature"], data["dtype"]) == (3, 0.5, "float32")
    assert (data["prompt"], data["model"]) == (PROMPT, "LlamaForCausalLM")


def test_a_given_dictionary_is_not_changed(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    before: Dictionary = replace(sae, W_dec=sae.W_dec.clone(), W_enc=sae.W_enc.clone())
    run(llama, dictionaries=[sae])
    assert torch.equal(sae.W_dec, before.W_dec)
    assert torch.equal(sae.W_enc, before.W_enc)


def test_one_intervention_serves_every_row(llama: steer.Model) -> None:
    sae, prompts = tiny.dictionary(), ["w3 w4 w5", "w7 w8"]
    edit = steer.Intervention(sae.name, [steer.Clamp(5, 9.0)])
    options: dict[str, Any] = {"dictionaries": [sae], "max_new_tokens": 3, "temperature": 0}
    runs = llama.generate_batch(prompts, edit, **options)
    listed = llama.generate_batch(prompts, [edit, edit], **options)
    assert [run.ids for run in runs] == [run.ids for run in listed]
    assert all(run.interventions == (edit,) for run in runs)
