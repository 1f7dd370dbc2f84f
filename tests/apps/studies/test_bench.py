"""What is timed side by side does the same: by hand, and by this package."""

from __future__ import annotations

from itertools import count

import pytest
import torch

import steer
from apps.studies import bench
from apps.studies.by_hand import batched, one_hook
from steer.splice.resolve import plans
from tests.support import tiny

SAE = tiny.dictionary()
PROMPT = tiny.PROMPT


def test_a_batched_tail_by_hand_is_the_sweep(llama: steer.Model) -> None:
    ids, _ = llama.tokenize([PROMPT])
    features, kl = batched(llama.module, ids, SAE, layer=1)
    sweep = steer.ablation_sweep(llama, PROMPT, SAE, positions="1:")
    ours = {row["feature"]: row["effect"] for row in sweep.rows}
    assert sorted(ours) == features.tolist()
    expected = torch.tensor([ours[feature] for feature in features.tolist()])
    assert torch.allclose(kl, expected, atol=1e-5)


def test_a_hook_by_hand_is_an_edit(llama: steer.Model) -> None:
    ids, _ = llama.tokenize([PROMPT])
    row = SAE.W_dec[5]
    edit = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Vector(row), 2.0)])
    after = one_hook(
        llama.module.get_submodule(llama.anatomy.stack)[1],
        llama.module,
        ids,
        (2.0 * row / row.norm()).expand(ids.shape[1], -1),
    )
    effect = steer.logit_effect(llama, PROMPT, edit, draws=0)
    with torch.inference_mode():
        before = llama.module(ids).logits[0, -1]
    assert torch.allclose(after - before, effect.delta_logit[0], atol=1e-4)


def test_each_goes_first_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    bench._interleaved(lambda: order.append("a"), lambda: order.append("b"), 4)
    assert "".join(order[2:]) == "abbaabba"


def test_the_ratio_is_of_the_one_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever goes first: a clock that only the two advance."""
    now = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])

    def takes(seconds: float):  # type: ignore[no-untyped-def]
        def run() -> None:
            now[0] += seconds

        return run

    assert bench._interleaved(takes(3.0), takes(2.0), 5) == (1.5,) * 5


def test_the_clamp_is_timed_with_its_plan(
    llama: steer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = count()

    def counted(*arguments: object, **more: object) -> object:
        next(planned)
        return plans(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("steer.model.plans", counted)
    monkeypatch.setattr(bench, "PROMPT", PROMPT)
    bench._edited(llama, SAE, 1, False, pairs=2, new_tokens=3)
    assert next(planned) == 3  # one unmeasured run, and one of each pair


def test_the_processor_is_named() -> None:
    assert bench.machine()["processor"]
    assert bench.machine()["threads"] >= 1
