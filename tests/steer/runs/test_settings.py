"""Settings of the model's own generation_config: those that act are told, the others set aside."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import steer
from tests.support import plain, tiny
from tests.support.tiny import PROMPT

EDIT = steer.Intervention("tiny", [steer.Clamp(5, 20.0)])
OPTIONS: dict[str, Any] = {
    "dictionaries": [tiny.dictionary()], "max_new_tokens": 6, "temperature": 0,
}  # fmt: skip


def model_with(**settings: Any) -> steer.Model:
    module = tiny.build("llama")
    for name, value in settings.items():
        setattr(module.generation_config, name, value)
    return steer.load(module, tokenizer=tiny.tokenizer())


SET_ASIDE: dict[str, Any] = {
    "num_beams": 3,
    "stop_strings": ["w3"],
    "prompt_lookup_num_tokens": 3,
    "max_time": 1e-9,
    "guidance_scale": 2.0,
    "prefill_chunk_size": 2,
    "temperature": 0.3,
    "top_k": 3,
    "do_sample": True,
    "repetition_penalty": 5.0,
    "remove_invalid_values": True,
    "penalty_alpha": 0.6,
}


@pytest.mark.parametrize("name", SET_ASIDE)
def test_what_no_row_could_do_alone_is_set_aside_and_said(name: str, llama: steer.Model) -> None:
    """The texts are those of the model without the setting."""
    run = model_with(**{name: SET_ASIDE[name]}).generate(PROMPT, EDIT, **OPTIONS)
    wanted = llama.generate(PROMPT, EDIT, **OPTIONS)
    assert (run.ids, run.baseline.ids) == (wanted.ids, wanted.baseline.ids)
    settings = run.to_dict()["settings"]
    assert settings["left_out"] == {name: SET_ASIDE[name]}
    assert settings["inherited"] == {}


ACTING: dict[str, Any] = {
    "no_repeat_ngram_size": 1,
    "bad_words_ids": [[20], [31]],
    "suppress_tokens": [20, 31],
    "min_new_tokens": 4,
    "sequence_bias": [[[20], -30.0]],
    "renormalize_logits": True,
}


@pytest.mark.parametrize("name", ACTING)
def test_what_acts_on_every_row_alone_acts_and_stands_in_the_result(name: str) -> None:
    """The baseline is what transformers writes for the prompt with the setting."""
    model = model_with(**{name: ACTING[name]})
    run = model.generate(PROMPT, EDIT, **OPTIONS)
    settings = run.to_dict()["settings"]
    assert settings["inherited"] == {name: ACTING[name]}
    assert settings["left_out"] == {}
    assert json.loads(json.dumps(settings)) == settings
    ids, mask = model.tokenize([PROMPT])
    with torch.no_grad():
        alone = model_with(**{name: ACTING[name]}).module.generate(
            ids, attention_mask=mask, max_new_tokens=6, do_sample=False
        )
    assert list(run.baseline.ids) == alone[0, ids.shape[1] :].tolist()


def test_several_texts_for_one_prompt_are_set_aside_too(llama: steer.Model) -> None:
    run = model_with(num_beams=3, num_return_sequences=2).generate(PROMPT, EDIT, **OPTIONS)
    assert run.ids == llama.generate(PROMPT, EDIT, **OPTIONS).ids
    assert run.inherited.left_out == {"num_beams": 3, "num_return_sequences": 2}


def test_what_transformers_refuses_is_refused_in_a_line() -> None:
    with pytest.raises(steer.SteerError, match=r"own generation_config can't be used: .*got 2"):
        model_with(num_return_sequences=2).generate(PROMPT, EDIT, **OPTIONS)


def test_the_callers_own_setting_is_not_inherited() -> None:
    run = model_with(no_repeat_ngram_size=1).generate(
        PROMPT, EDIT, no_repeat_ngram_size=2, **OPTIONS
    )
    settings = run.to_dict()["settings"]
    assert (settings["inherited"], settings["options"]) == ({}, {"no_repeat_ngram_size": 2})


def test_a_model_without_settings_brings_none(llama: steer.Model) -> None:
    settings = llama.generate(PROMPT, EDIT, top_p=0.5, **OPTIONS).to_dict()["settings"]
    assert settings["top_p"] == 0.5
    assert (settings["inherited"], settings["left_out"]) == ({}, {})


def test_batches_and_streams_do_the_same() -> None:
    model = model_with(no_repeat_ngram_size=1, num_beams=3)
    alone = model.generate(PROMPT, EDIT, **OPTIONS)
    (batched, _) = model.generate_batch([PROMPT, "w5"], EDIT, **OPTIONS)
    assert batched.ids == alone.ids == model.stream(PROMPT, EDIT, **OPTIONS).result().ids
    assert batched.inherited == alone.inherited
    assert alone.inherited.acting == {"no_repeat_ngram_size": 1}


def test_the_models_config_is_left_as_it_was() -> None:
    model = model_with(num_beams=3, top_k=7)
    before = model.module.generation_config.to_dict()
    model.generate(PROMPT, EDIT, **OPTIONS)
    assert model.module.generation_config.to_dict() == before
    ids = model.tokenize([PROMPT])[0]
    assert plain.logits(model.module, ids).isfinite().all()
