"""A run that raises, is cancelled or runs out of memory leaves the model as it was.

What fails is real: an allocation larger than any memory, an error of a hook inside the forward
pass, a listener that stops or raises. After each, logits are bit-equal to those of a model that
was never touched, no hook is left behind, the lock is free, and the next run gives what it would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import steer
from steer.effects.attribution.attribution import attribution
from steer.effects.controls.controls import controls
from steer.effects.dose.dose_response import dose_response
from steer.effects.metric import LogitDifference
from steer.effects.paths.path_effects import Freeze, path_effects
from steer.effects.sweep.ablation_sweep import ablation_sweep
from tests.support import plain, tiny
from tests.support.tiny import PROMPT, PROMPTS

METRIC = LogitDifference("w20", "w21")
EDIT = steer.Intervention("tiny", [steer.Clamp(5, 4.0)])
TOO_MUCH = 2**60


def hooks(module: torch.nn.Module) -> list[tuple[int, int]]:
    return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]


def free(lock: Any) -> bool:
    """Whether another thread could take the lock."""
    found: list[bool] = []

    def attempt() -> None:
        found.append(lock.acquire(blocking=False))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return found[0]


def generate(model: steer.Model, **options: Any) -> steer.Run:
    settings: dict[str, Any] = {"max_new_tokens": 5, "seed": 1, "dictionaries": [tiny.dictionary()]}
    return model.generate(PROMPT, EDIT, **{**settings, **options})


RUNS: dict[str, Callable[[steer.Model], Any]] = {
    "generate": generate,
    "generate_batch": lambda model: model.generate_batch(
        PROMPTS, [EDIT], max_new_tokens=3, dictionaries=[tiny.dictionary()]
    ),
    "logit_effect": lambda model: steer.logit_effect(
        model, [PROMPT], EDIT, draws=2, dictionaries=[tiny.dictionary()]
    ),
    "ablation_sweep": lambda model: ablation_sweep(model, [PROMPT], tiny.dictionary()),
    "explain": lambda model: model.explain(EDIT, dictionaries=[tiny.dictionary()], prompt=PROMPT),
    "features": lambda model: model.features(PROMPT, tiny.dictionary()),
}
RESUMED: dict[str, Callable[[steer.Model], Any]] = {
    "ablation_sweep": RUNS["ablation_sweep"],
    "attribution": lambda model: attribution(model, PROMPT, tiny.dictionary(), METRIC),
    "path_effects": lambda model: path_effects(
        model, PROMPT, EDIT, {"values": Freeze(patterns=True)}, dictionaries=[tiny.dictionary()]
    ),
    "dose_response": lambda model: dose_response(model, PROMPT, tiny.dictionary(), 5, [1.0, 2.0]),
    "controls": lambda model: controls(model, [PROMPT], EDIT, dictionaries=[tiny.dictionary()]),
}
"""What runs the blocks above the site again, from a clean pass that went well."""


@contextmanager
def unchanged(model: steer.Model, untouched: Any) -> Iterator[None]:
    """What is inside may fail, and the model is afterwards what it was before."""
    expected, before = generate(model), hooks(model.module)
    ids, mask = model.tokenize(list(PROMPTS))
    yield
    assert hooks(model.module) == before
    assert free(model.lock)
    ours, theirs = (plain.logits(m, ids, mask) for m in (model.module, untouched))
    assert torch.equal(ours[mask.bool()], theirs[mask.bool()])
    assert generate(model) == expected
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


@contextmanager
def failing_block(model: steer.Model, layer: int, fail: Callable[[], Any], after: int) -> Any:
    """The block's forward pass fails when it has been called `after` times."""
    calls: list[None] = []

    def hook(*_: Any) -> None:
        calls.append(None)
        if len(calls) > after:
            fail()

    handle = plain.block(model.module, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def out_of_memory() -> None:
    torch.empty(TOO_MUCH, dtype=torch.float32)


def out_of_device_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def broken() -> None:
    raise ArithmeticError("broken on purpose")


FAILURES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no memory": (out_of_memory, RuntimeError, "can't allocate memory"),
    "no device memory": (out_of_device_memory, torch.OutOfMemoryError, "out of memory"),
    "an error": (broken, ArithmeticError, "broken on purpose"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_a_generation_that_fails_within_the_model(
    failure: tuple[Callable[[], Any], type[Exception], str],
    model: steer.Model,
    untouched: Any,
) -> None:
    """In the prefill before the edited site, and at a decoding step behind it."""
    fail, error, why = failure
    for layer, after in ((0, 0), (2, 2)):
        with (
            unchanged(model, untouched),
            failing_block(model, layer, fail, after),
            pytest.raises(error, match=why),
        ):
            generate(model)


FAILING = {name: (run, 0, 0) for name, run in RUNS.items()}
FAILING |= {f"{name}, resumed": (run, 2, 1) for name, run in RESUMED.items()}


@pytest.mark.parametrize(("run", "layer", "after"), FAILING.values(), ids=FAILING.keys())
def test_every_kind_of_run_that_runs_out_of_memory(
    run: Callable[[steer.Model], Any], layer: int, after: int, llama: steer.Model
) -> None:
    """Before the edited site; or behind it, with blocks skipped or patterns frozen."""
    with (
        unchanged(llama, tiny.plain_model("llama")),
        failing_block(llama, layer, out_of_memory, after),
        pytest.raises(RuntimeError, match="can't allocate memory"),
    ):
        run(llama)
    run(llama)


def test_a_dictionary_that_does_not_fit_in_memory(llama: steer.Model) -> None:
    """Encoding is what allocates: the splice itself fails, in the middle of the pass."""

    class Huge(type(tiny.dictionary("resid_post.1", "standard"))):  # type: ignore[misc]
        def activate(self, pre: torch.Tensor) -> torch.Tensor:
            return super().activate(pre) + torch.empty(TOO_MUCH)

    given = tiny.dictionary("resid_post.1", "standard")
    huge = Huge(given.W_enc, given.b_enc, given.W_dec, given.b_dec, given.config, "tiny")
    with (
        unchanged(llama, tiny.plain_model("llama")),
        pytest.raises(RuntimeError, match="can't allocate memory"),
    ):
        generate(llama, dictionaries=[huge])


@pytest.mark.parametrize("step", [1, 3])
def test_a_listener_that_raises(step: int, model: steer.Model, untouched: Any) -> None:
    def listen(ids: torch.Tensor) -> None:
        if ids.shape[1] == 6 + step:
            broken()

    with unchanged(model, untouched), pytest.raises(ArithmeticError, match="broken on purpose"):
        generate(model, on_step=listen)


def test_an_interrupt(llama: steer.Model) -> None:
    def listen(ids: torch.Tensor) -> None:
        raise KeyboardInterrupt

    with unchanged(llama, tiny.plain_model("llama")), pytest.raises(KeyboardInterrupt):
        generate(llama, on_step=listen)


def test_a_cancelled_stream(model: steer.Model, untouched: Any) -> None:
    with unchanged(model, untouched):
        options: dict[str, Any] = {"max_new_tokens": 40, "dictionaries": [tiny.dictionary()]}
        with model.stream(PROMPT, EDIT, **options) as stream:
            next(iter(stream))
        assert len(stream.result().ids) <= 40


def test_a_stream_that_fails_says_so(llama: steer.Model) -> None:
    with unchanged(llama, tiny.plain_model("llama")), failing_block(llama, 2, out_of_memory, 2):
        stream = llama.stream(PROMPT, EDIT, dictionaries=[tiny.dictionary()])
        seen = list(stream)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            stream.result()
        assert len(seen) == 2


def test_sixteen_threads_of_which_some_fail(llama: steer.Model) -> None:
    """Every fourth one raises in the middle of its run; the others get what they would alone."""
    given = tiny.dictionary()
    edits = [steer.Intervention("tiny", [steer.Clamp(1 + i, 1.0 + i)]) for i in range(16)]

    def run(number: int) -> steer.Run:
        def listen(ids: torch.Tensor) -> None:
            if number % 4 == 3 and ids.shape[1] == 8:
                raise ArithmeticError(f"thread {number}")

        return llama.generate(
            PROMPT, edits[number], max_new_tokens=4, dictionaries=[given], seed=3, on_step=listen
        )

    good = [number for number in range(16) if number % 4 != 3]
    alone = {number: run(number) for number in good}
    with unchanged(llama, tiny.plain_model("llama")), ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(run, number) for number in range(16)]
        for number, future in enumerate(waiting):
            if number in alone:
                assert future.result() == alone[number]
            else:
                with pytest.raises(ArithmeticError, match=f"thread {number}"):
                    future.result()
