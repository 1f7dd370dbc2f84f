"""The anatomy as a value, kept and shown; what models are refused, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPTNeoConfig,
    GraniteConfig,
    LlamaConfig,
    LlamaModel,
    Olmo2Config,
)

import steer
from steer.lm.anatomy import Anatomy, anatomy_of
from steer.lm.anatomy.found import measure
from tests.support import tiny


def built(config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_json_and_back(family: str) -> None:
    anatomy = measure(tiny.plain_model(family))
    assert Anatomy.from_dict(json.loads(json.dumps(anatomy.to_dict()))) == anatomy


def test_it_is_measured_once_for_an_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    first = anatomy_of(tiny.build("llama"))
    (file,) = (tmp_path / "anatomy").iterdir()
    file.write_text(file.read_text().replace('"LlamaForCausalLM"', '"Remembered"'))
    assert anatomy_of(tiny.build("llama")).model == "Remembered"
    file.write_text("damaged")
    assert anatomy_of(tiny.build("llama")) == first
    assert anatomy_of(tiny.build("gpt2")).model == "GPT2LMHeadModel"


def test_a_norm_behind_the_mlp_is_what_is_added() -> None:
    model = steer.load(built(Olmo2Config(**tiny._MODERN)), tokenizer=tiny.tokenizer())
    ids, mask = model.tokenize([tiny.PROMPT])
    names = [
        f"{kind}.1" for kind in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    ]
    x, attention, middle, mlp, y = (model.collect(ids, mask, [name])[name] for name in names)
    torch.testing.assert_close(x + attention, middle)
    torch.testing.assert_close(middle + mlp, y)


def test_the_mlps_input_is_written_alone() -> None:
    """In OLMo 2 the MLP reads the stream itself: an edit there must leave the stream be."""
    model = steer.load(built(Olmo2Config(**tiny._MODERN)), tokenizer=tiny.tokenizer())
    edit = steer.Intervention("mlp_in.2", [steer.AddDirection(steer.Random(0), 5.0)])
    other = steer.Intervention("resid_mid.2", [steer.AddDirection(steer.Random(0), 5.0)])
    alone, both = (steer.logit_effect(model, [tiny.PROMPT], e, draws=0) for e in (edit, other))
    assert alone.kl > 0
    assert not torch.allclose(alone.delta_logit, both.delta_logit, atol=1e-3)


def test_what_is_multiplied_on_its_way_is_refused_with_the_gap() -> None:
    config = GraniteConfig(**tiny._MODERN, residual_multiplier=0.5)
    model = steer.load(built(config), tokenizer=tiny.tokenizer())
    with pytest.raises(steer.HookpointError, match=r"no attn_out; it has: .*% off"):
        model.site("attn_out.1")


def test_blocks_that_give_tuples_are_swept() -> None:
    config = GPTNeoConfig(
        **tiny._COMMON,
        hidden_size=tiny.D,
        num_layers=tiny.LAYERS,
        num_heads=tiny.HEADS,
        attention_types=[[["global", "local"], 1], [["global"], 1]],
        max_position_embeddings=tiny.CONTEXT,
        intermediate_size=40,
    )
    model = steer.load(built(config), tokenizer=tiny.tokenizer())
    dictionary = tiny.dictionary("resid_post.1")
    swept = steer.ablation_sweep(model, [tiny.PROMPT], dictionary)
    row = swept.to_dict(1)["features"][0]
    edit = steer.Intervention("tiny", [steer.Ablate(row["feature"], positions="1:")])
    effect = steer.logit_effect(model, [tiny.PROMPT], edit, dictionaries=[dictionary], draws=0)
    assert row["effect"] == pytest.approx(effect.kl.item(), abs=1e-5)


def test_a_tokenizer_larger_than_the_model() -> None:
    model = steer.load(
        built(LlamaConfig(**{**tiny._MODERN, "vocab_size": 50})), tokenizer=tiny.tokenizer()
    )
    with pytest.raises(steer.PromptError, match="token 71, 'w71', is none of the 50"):
        model.tokenize(["w3 w71"])
    with pytest.raises(steer.PromptError, match="is none of the 50"):
        model.generate(
            "w3 w71", steer.Intervention("resid_post.1", [steer.ProjectOut(steer.Random())])
        )


def test_a_model_without_a_head() -> None:
    with pytest.raises(steer.ModelError, match="LlamaModel does not write text"):
        steer.load(LlamaModel(LlamaConfig(**tiny._MODERN)), tokenizer=tiny.tokenizer())


def test_a_direction_of_another_length() -> None:
    edit = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Vector([1.0, 2.0]), 3.0)])
    with pytest.raises(steer.InterventionError, match=r"length 2 .* width is 32"):
        tiny.tiny_model("llama").generate(tiny.PROMPT, edit)
