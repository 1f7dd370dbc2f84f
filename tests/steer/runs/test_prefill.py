"""The edited rows read their prompt first, and nothing but the order of things shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

import steer
from steer.edits import Add, Clamp, Intervention
from tests.support import plain, tiny
from tests.support.passes import hooks
from tests.support.tiny import PROMPT, PROMPTS, dictionary

EDIT = Intervention("tiny", [Clamp(5, 9.0)])
LENGTH = 6


def run(model: steer.Model, **options: Any) -> steer.Run:
    given: dict[str, Any] = {"max_new_tokens": 5, "seed": 3, "temperature": 1.5, **options}
    return model.generate(PROMPT, EDIT, dictionaries=[dictionary()], if_silent="ignore", **given)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_token_comes_before_the_baseline_is_read(seed: int, model: steer.Model) -> None:
    told: list[tuple[str, list[list[int]]]] = []
    block = plain.block(model.module, 0)
    with plain.recorded(block) as passes:

        def first(ids: Tensor) -> None:
            assert len(passes) == 1
            told.append(("first", ids.tolist()))

        answer = run(model, seed=seed, on_first=first, on_step=lambda ids: told.append(("", [])))
    (what, ids), *steps = told
    prompt = model.tokenize([PROMPT])[0][0].tolist()
    assert (what, ids) == ("first", [[*prompt, answer.ids[0]]])
    assert [what for what, _ in steps] == [""] * max(len(answer.ids), len(answer.baseline.ids))


def test_each_prompt_is_read_as_it_would_be_alone(model: steer.Model, untouched: Any) -> None:
    """To the bit, by the untouched model in a batch of one."""
    ids, mask = model.tokenize([PROMPT])
    with plain.recorded(model.module.get_output_embeddings(), "input") as heads:
        run(model, max_new_tokens=1)
    edited, baseline = (head[:, -1] for head in heads)
    with plain.recorded(untouched.get_output_embeddings(), "input") as alone:
        plain.logits(untouched, ids, mask)
    assert torch.equal(baseline, alone[0][:, -1])
    assert not torch.equal(edited, alone[0][:, -1])


@pytest.mark.parametrize(
    ("hookpoint", "below"), [("resid_pre.0", 0), ("resid_post.1", 1), ("attn_out.2", 2)]
)
def test_the_baseline_skips_the_blocks_below_the_edit(
    hookpoint: str, below: int, model: steer.Model
) -> None:
    """Which are the same for both; a baseline of other prompts skips none."""
    norms = [next(iter(plain.block(model.module, layer).children())) for layer in range(3)]
    with ExitStack() as stack:
        seen = [stack.enter_context(plain.recorded(norm)) for norm in norms]
        options: dict[str, Any] = {"dictionaries": [dictionary(hookpoint)], "if_silent": "ignore"}
        model.generate(PROMPT, EDIT, max_new_tokens=1, **options)
        assert [len(calls) for calls in seen] == [1 if n < below else 2 for n in range(3)]
        model.generate_batch(PROMPTS[:1], [EDIT, EDIT], max_new_tokens=1, **options)
        assert [len(calls) for calls in seen] == [3 if n < below else 4 for n in range(3)]


_SMALL: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY, "hidden_size": tiny.D, "intermediate_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64,
    "pad_token_id": tiny.PAD, "eos_token_id": None, "bos_token_id": None,
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "falcon": _SMALL,  # whose blocks give a tuple
    "gpt_neo": {**_SMALL, "num_layers": 3, "num_heads": 4, "attention_types": [[["global"], 3]]},
    "minimax": {**_SMALL, "num_key_value_heads": 2},  # which caches more than keys and values
    "recurrent_gemma": {**_SMALL, "num_key_value_heads": 2},
    "mistral": {**_SMALL, "num_key_value_heads": 2, "sliding_window": 4},
}


def other_family(name: str) -> steer.Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, **OTHERS[name])
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return steer.load(module, tokenizer=tiny.tokenizer())


@pytest.mark.parametrize("name", OTHERS)
def test_families_that_differ_in_block_or_cache(name: str) -> None:
    """The baseline is what transformers generates."""
    model = other_family(name)
    answer = run(model, temperature=0)
    ids, mask = model.tokenize([PROMPT])
    expected = model.module.generate(
        ids, attention_mask=mask, max_new_tokens=5, do_sample=False, pad_token_id=tiny.PAD
    )
    assert list(answer.baseline.ids) == expected[0, LENGTH:].tolist()
    assert answer.receipt[0].acted


def test_stopped_at_the_first_token(model: steer.Model, untouched: Any) -> None:
    before, whole = hooks(model.module), run(model, watch=["w9"])
    answer = run(model, watch=["w9"], on_first=lambda ids: True)
    assert answer.ids == whole.ids[:1]
    assert (answer.baseline.text, answer.baseline.ids) == ("", ())
    assert answer.receipt[0].acted_tokens == tuple(range(LENGTH))
    assert answer.logprobs[0].edited == whole.logprobs[0].edited[:1]
    assert answer.logprobs[0].baseline == ()
    assert hooks(model.module) == before
    ids = model.tokenize([PROMPT])[0]
    assert torch.equal(plain.logits(model.module, ids), plain.logits(untouched, ids))


def test_a_listener_that_raises_leaves_no_hook(model: steer.Model) -> None:
    def broken(ids: Tensor) -> None:
        raise ArithmeticError("broken on purpose")

    before, whole = hooks(model.module), run(model)
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        run(model, on_first=broken)
    assert hooks(model.module) == before
    assert run(model) == whole


def test_a_failure_while_the_baseline_is_read_leaves_no_hook(llama: steer.Model) -> None:
    before, whole = hooks(llama.module), run(llama)
    with pytest.raises(ArithmeticError, match="second pass"), failing(llama.module, 2):
        run(llama)
    assert hooks(llama.module) == before
    assert run(llama) == whole


@contextmanager
def failing(module: Any, call: int) -> Iterator[None]:
    calls: list[None] = []

    def fail(*_: object) -> None:
        calls.append(None)
        if len(calls) == call:
            raise ArithmeticError("second pass")

    handle = plain.block(module, 1).register_forward_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("options", [{"use_cache": False}, {"static": True}, {}])
def test_a_cache_that_can_not_be_joined_gives_the_same_texts(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, llama: steer.Model
) -> None:
    whole = run(llama)
    options, apart = dict(options), bool(options)
    if options.pop("static", False):
        monkeypatch.setattr(llama.module.generation_config, "cache_implementation", "static")
    with plain.recorded(plain.block(llama.module, 0)) as passes:
        answer = run(llama, **options)
    assert (answer.ids, answer.baseline) == (whole.ids, whole.baseline)
    both_prompts = any(pass_.shape[:2] == (2, LENGTH) for pass_ in passes)
    assert both_prompts == apart


@pytest.mark.parametrize("name", ["minimax", "recurrent_gemma"])
def test_its_listener_is_heard_too(name: str, llama: steer.Model) -> None:
    """Also without a cache."""
    for model, options in ((other_family(name), {}), (llama, {"use_cache": False})):
        heard: list[Tensor] = []
        whole = run(model, on_first=heard.append, **options)
        assert [ids[0, -1].item() for ids in heard] == [whole.ids[0]]
        assert whole == run(model, **options)
        stopped = run(model, on_first=lambda ids: True, **options)
        assert (stopped.ids, stopped.baseline.ids) == (whole.ids[:1], ())


def test_what_an_edit_remembers_of_the_prompt_is_kept(model: steer.Model) -> None:
    """A condition that held at a token of the prompt still holds at the generated ones."""
    sae = dictionary()
    active = model.features(PROMPT, sae).activations
    seen = int((active[1:] > 0).any(0).nonzero()[0])
    edit = Intervention("tiny", [Add(5, 3.0, positions="generated", when=steer.Seen(seen))])
    generated = model.generate(PROMPT, edit, dictionaries=[sae], max_new_tokens=4, temperature=0)
    assert generated.receipt[0].acted_tokens == tuple(
        range(LENGTH - 1, LENGTH + len(generated.ids) - 1)
    )


def test_a_batch_of_prompts_and_edits(model: steer.Model) -> None:
    edits = [Intervention("tiny", [Clamp(1 + i, 5.0)]) for i in range(len(PROMPTS))]
    options: dict[str, Any] = {
        "max_new_tokens": 4, "temperature": 0, "dictionaries": [dictionary()], "watch": ["w9"],
        "if_silent": "ignore",
    }  # fmt: skip
    batch = model.generate_batch(PROMPTS, edits, **options)
    for prompt, edit, found in zip(PROMPTS, edits, batch, strict=True):
        alone = model.generate(prompt, edit, **options)
        assert (found.ids, found.baseline.ids) == (alone.ids, alone.baseline.ids)
        assert found.logprobs[0].edited == pytest.approx(alone.logprobs[0].edited, abs=1e-4)
        assert found.logprobs[0].baseline == pytest.approx(alone.logprobs[0].baseline, abs=1e-4)
