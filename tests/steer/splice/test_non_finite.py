"""Overflow is an error of its own, with the token and the dose, before any text or number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import steer
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.evals.lm_eval.model import SteerLM
from steer.runs.stream import Piece
from tests.support import tiny
from tests.support.tiny import PROMPT

GIVEN = tiny.dictionary()
CASES = {"float32": 1e20, "float16": 1e6, "bfloat16": 1e30}
Edited = Callable[[steer.Model, steer.Intervention, float], Any]


def lm_eval(kind: str) -> Edited:
    asked: dict[str, Any] = {
        "loglikelihood": ("w5 w6", " w7"),
        "generate_until": ("w5 w6", {"max_gen_toks": 3, "until": []}),
    }

    def ask(model: steer.Model, edit: steer.Intervention, _: float) -> Any:
        from lm_eval.api.instance import Instance

        lm = SteerLM(model, edit, [GIVEN], if_silent="raise", progress=False)
        request = Instance(request_type=kind, doc={}, arguments=asked[kind], idx=0)  # type: ignore[arg-type]
        return getattr(lm, kind)([request])

    return ask


def swept(value: float) -> Callable[..., steer.Edit]:
    return lambda feature, positions: steer.Clamp(feature, value, positions=positions)


WAYS: dict[str, Edited] = {
    "generate": lambda m, e, _: m.generate(PROMPT, e, dictionaries=[GIVEN], if_silent="raise"),
    "uncached": lambda m, e, _: m.generate(PROMPT, e, dictionaries=[GIVEN], use_cache=False),
    "remote": lambda m, e, _: m.generate(PROMPT, e, dictionaries=[GIVEN], remote="local"),
    "batch": lambda m, e, _: m.generate_batch([PROMPT, "w5"], e, dictionaries=[GIVEN]),
    "stream": lambda m, e, _: m.stream(PROMPT, e, dictionaries=[GIVEN]).result(),
    "pieces": lambda m, e, _: list(m.stream(PROMPT, e, dictionaries=[GIVEN])),
    "logit_effect": lambda m, e, _: steer.logit_effect(m, [PROMPT], e, dictionaries=[GIVEN]),
    "explain": lambda m, e, _: m.explain(e, dictionaries=[GIVEN], prompt=PROMPT),
    "sweep": lambda m, e, v: ablation_sweep(
        m, [PROMPT], GIVEN, metric="kl", features=[5], edit=swept(v)
    ),
    "dose": lambda m, e, v: steer.dose_response(m, PROMPT, GIVEN, 5, [1.0, v]),
    "paths": lambda m, e, _: steer.path_effects(m, [PROMPT], e, dictionaries=[GIVEN]),
    "downstream": lambda m, e, _: steer.downstream(
        m, PROMPT, e, tiny.dictionary("resid_pre.2"), dictionaries=[GIVEN]
    ),
    "lm-eval": lm_eval("loglikelihood"),
    "lm-eval's generation": lm_eval("generate_until"),
}


@pytest.mark.parametrize("dtype", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_dose_too_large_for_the_dtype_is_said(way: str, dtype: str) -> None:
    model, value = tiny.tiny_model("llama", getattr(torch, dtype)), CASES[dtype]
    edit = steer.Intervention("tiny", [steer.Clamp(5, value)])
    with pytest.raises(steer.NonFiniteError) as raised:
        WAYS[way](model, edit, value)
    told = str(raised.value)
    assert f"clamp feature 5 (0 -> {value:.0e})" in told
    assert f"moves the stream by {value:.0e} at token " in told
    assert f"{dtype} can't hold that; give a smaller value" in told
    assert ("or load the model in float32 or bfloat16" in told) == (dtype == "float16")
    assert isinstance(raised.value, steer.SteerError)


@pytest.mark.parametrize("way", ["generate", "logit_effect", "stream"])
def test_the_token_is_the_first_that_overflows(way: str) -> None:
    model = tiny.tiny_model("llama", torch.float16)
    edit = steer.Intervention("tiny", [steer.Clamp(7, 2.0), steer.Clamp(5, 1e6, positions=3)])
    with pytest.raises(steer.NonFiniteError, match=r"clamp feature 5 .* at token 3 \('w55'\)"):
        WAYS[way](model, edit, 1e6)


def test_a_stream_overflows_in_its_middle() -> None:
    """The pieces before are those of a sound run; none is given of the token that can't be told."""
    model = tiny.tiny_model("llama")
    wild = steer.Clamp(5, 1e20, schedule=steer.After(3), positions="generated")
    stream = model.stream(
        PROMPT, steer.Intervention("tiny", [wild]), dictionaries=[GIVEN], max_new_tokens=20
    )
    seen: list[Piece] = []
    with pytest.raises(steer.NonFiniteError, match=r"clamp feature 5 .* at token 8"):
        seen.extend(stream)
    assert max(piece.step for piece in seen) == 3
    assert all(piece.edited.startswith(piece.baseline) for piece in seen[1:])
    with pytest.raises(steer.NonFiniteError):
        stream.result()


def test_what_overflows_behind_the_edit_is_said_differently() -> None:
    """The stream holds the edit; the MLP behind it squares what it reads there, and does not."""
    module = tiny.build("llama")
    with torch.no_grad():
        for name in ("up_proj", "gate_proj"):
            getattr(module.model.layers[2].mlp, name).weight[0] = 60 * GIVEN.W_dec[5]
    model = steer.load(module.half(), tokenizer=tiny.tokenizer())
    assert model.logits(*model.tokenize([PROMPT])).isfinite().all()
    edit = steer.Intervention("tiny", [steer.Clamp(5, 5000.0)])
    told = r"clamp feature 5 .* moves the stream by 5e\+03 at token .* behind it overflow float16"
    for way in ("generate", "logit_effect", "stream"):
        with pytest.raises(steer.NonFiniteError, match=told):
            WAYS[way](model, edit, 5000.0)
    with pytest.raises(steer.NonFiniteError, match="behind it overflow float16"):
        WAYS["dose"](model, edit, 5000.0)


@pytest.fixture(scope="module")
def broken() -> steer.Model:
    """A model that overflows by itself."""
    module = tiny.build("llama")
    with torch.no_grad():
        module.model.layers[0].mlp.down_proj.weight.mul_(torch.inf)
    return steer.load(module, tokenizer=tiny.tokenizer())


OWN: dict[str, Edited] = {
    **{way: run for way, run in WAYS.items() if way not in ("remote", "downstream")},
    "features": lambda m, e, _: m.features(PROMPT, GIVEN),
    "logits": lambda m, e, _: m.logits(*m.tokenize([PROMPT])),
}


@pytest.mark.parametrize("way", OWN)
def test_a_model_that_overflows_by_itself_is_said_differently(
    way: str, broken: steer.Model
) -> None:
    edit = steer.Intervention("tiny", [steer.Clamp(5, 1.0)])
    with pytest.raises(steer.NonFiniteError, match="by itself, without any edit") as raised:
        OWN[way](broken, edit, 1.0)
    assert "its weights or its code are at fault" in str(raised.value)


def test_a_large_dose_that_the_dtype_holds_is_none(llama: steer.Model) -> None:
    run = llama.generate(
        PROMPT,
        steer.Intervention("tiny", [steer.Clamp(5, 1e9)]),
        dictionaries=[GIVEN],
        max_new_tokens=3,
    )
    assert run.receipt[0].acted_tokens == tuple(range(8))
