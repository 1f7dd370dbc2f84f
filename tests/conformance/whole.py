"""The jobs that concern a whole model: generation with and without a cache, batched, and edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

import steer
from steer.edits.directions import Vector
from steer.lm.unembedding import direct_logits
from tests.conformance.oracle import Oracle, adding
from tests.conformance.outcome import NONE, RIGHT, WRONG, Outcome, same, worst
from tests.conformance.sites import Truth
from tests.support.tiny import EOS, PAD, tokenizer

PROMPTS = ("w7 w31 w12 w55 w40 w9 w66", "w20 w3", "w71 w80 w14 w15 w16 w60 w61 w62 w5")
NEW = 6
_TIE = 2e-3
"""Logits nearer than this share of their spread may come out in either order."""


def cached(model: steer.Model, oracle: Oracle) -> Outcome:
    """A no-op edit's text and the baseline's are what transformers' own generate writes."""
    return _as_alone(model, oracle, {})


def uncached(model: steer.Model, oracle: Oracle) -> Outcome:
    """The same without a cache."""
    return _as_alone(model, oracle, {"use_cache": False})


def _as_alone(model: steer.Model, oracle: Oracle, options: dict[str, Any]) -> Outcome:
    outcomes = []
    for prompt in PROMPTS[:2]:
        wanted = _alone(oracle.model, prompt, **options)
        if isinstance(wanted, Outcome):
            return wanted
        run = model.generate(prompt, _nothing(oracle), **_greedy(), **options)
        for ids, which in ((run.ids, "edited by nothing"), (run.baseline.ids, "baseline")):
            outcomes.append(_texts(oracle, prompt, ids, wanted, which))
    return worst(*outcomes)


def batched(model: steer.Model, oracle: Oracle) -> Outcome:
    """Rows of different lengths come out as each does alone."""
    wanted = [_alone(oracle.model, prompt) for prompt in PROMPTS]
    if faults := [each for each in wanted if isinstance(each, Outcome)]:
        return faults[0]
    runs = model.generate_batch(PROMPTS, _nothing(oracle), **_greedy())
    outcomes = [
        _texts(oracle, prompt, ids, alone, which)
        for prompt, run, alone in zip(PROMPTS, runs, wanted, strict=True)
        if not isinstance(alone, Outcome)
        for ids, which in ((run.ids, "edited by nothing"), (run.baseline.ids, "baseline"))
    ]
    outcome = worst(*outcomes)
    if outcome.status == WRONG and _own_batch(oracle.model) == [
        list(run.baseline.ids) for run in runs
    ]:
        return Outcome(
            NONE, "transformers' own batch differs from alone, and steer's is that batch"
        )
    return outcome


def edited(model: steer.Model, oracle: Oracle) -> Outcome:
    """A vector added to the stream at every token writes what an uncached plain hook does."""
    layer = _middle(oracle)
    truth = oracle.truths(layer)["resid_post"] if oracle.blocks else None
    if truth is None or truth.value is None:
        return Outcome(NONE, "no stream")
    d = truth.value.shape[1]
    vector = torch.randn(d, generator=torch.Generator().manual_seed(4))
    vector /= vector.norm()
    size = 0.7 * truth.value.norm(dim=-1).mean().item()
    edit = steer.AddDirection(Vector(vector.tolist()), size)
    with adding(oracle.model, truth, size * vector):
        wanted = _alone(oracle.model, PROMPTS[0])
    if isinstance(wanted, Outcome):
        return wanted
    run = model.generate(PROMPTS[0], steer.Intervention(f"resid_post.{layer}", [edit]), **_greedy())
    return _texts(oracle, PROMPTS[0], run.ids, wanted, "edited", (truth, size * vector))


def direct(model: steer.Model, oracle: Oracle) -> Outcome:
    """`direct_logits` is the Jacobian of final norm and unembedding where the norm's scale rests.

    The stream is replaced by an x whose mean is 0, and directions are orthogonal to x: there
    neither LayerNorm's nor RMSNorm's scale moves.
    """
    called = [n for n in range(len(oracle.blocks)) if oracle.reading.call(n)]
    truth = oracle.truths(called[-1])["resid_post"] if called else None
    if truth is None or truth.value is None:
        directions = torch.randn(4, 32)
        direct_logits(model, directions)
        return Outcome(WRONG, "answered, and the stream out of the last block is not one vector")
    d = truth.value.shape[1]
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(d, generator=generator)
    x -= x.mean()
    directions = torch.randn(6, d, generator=generator) + 0.5
    directions -= (directions @ x / (x @ x)).unsqueeze(-1) * x
    logits = direct_logits(model, directions)
    step = 2e-2
    wanted = torch.stack(
        [
            (oracle.head(truth, x + step * row) - oracle.head(truth, x - step * row)) / (2 * step)
            for row in directions
        ]
    )
    if logits.shape != wanted.shape:
        return Outcome(WRONG, f"shape {list(logits.shape)}, not {list(wanted.shape)}")
    scale = (logits * wanted).sum() / (logits * logits).sum().clamp(min=1e-12)
    return same(scale * logits, wanted, 1e-2, what="at its best scale ")


ModelJob = Callable[[steer.Model, Oracle], Outcome]
MODEL_JOBS: dict[str, ModelJob] = {
    "generate": cached,
    "uncached": uncached,
    "batched": batched,
    "edited": edited,
    "direct_logits": direct,
}


def _greedy() -> dict[str, Any]:
    return {"max_new_tokens": NEW, "temperature": 0, "if_silent": "ignore"}


def _middle(oracle: Oracle) -> int:
    return max(0, len(oracle.blocks) // 2 - 1)


def _nothing(oracle: Oracle) -> steer.Intervention:
    layer = _middle(oracle)
    value = oracle.truths(layer)["resid_post"].value if oracle.blocks else None
    d = 32 if value is None else value.shape[1]
    return steer.Intervention(f"resid_post.{layer}", [steer.AddDirection(Vector([1.0] * d), 0.0)])


def _encoded(prompts: Sequence[str]) -> dict[str, Tensor]:
    batch = tokenizer()(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def _generated(model: Any, prompts: Sequence[str], **options: Any) -> list[list[int]]:
    inputs = _encoded(prompts)
    output = model.generate(
        **inputs, max_new_tokens=NEW, do_sample=False, pad_token_id=PAD, **options
    )
    return [_ended(row[inputs["input_ids"].shape[1] :].tolist()) for row in output]


def _ended(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


def _alone(model: Any, prompt: str, **options: Any) -> list[int] | Outcome:
    try:
        return _generated(model, [prompt], **options)[0]
    except Exception as error:  # transformers' own generate fails: nothing to compare with
        return Outcome(NONE, f"transformers' own generate: {type(error).__name__}: {error}"[:160])


def _texts(
    oracle: Oracle,
    prompt: str,
    found: Sequence[int],
    wanted: Sequence[int],
    which: str,
    edit: tuple[Truth, Tensor] | None = None,
) -> Outcome:
    """Right if the texts are one, or part where two tokens are as good."""
    if list(found) == list(wanted):
        return Outcome(RIGHT)
    pairs = enumerate(zip(found, wanted, strict=False))
    parted = next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))
    with nullcontext() if edit is None else adding(oracle.model, *edit):
        scores = _alone_scores(oracle.model, prompt)
    if parted < len(scores) and _tie(scores[parted][0]):
        return Outcome(RIGHT)
    return Outcome(WRONG, f"{which}: {list(found)}, alone {list(wanted)}")


@torch.no_grad()
def _alone_scores(model: Any, prompt: str) -> Sequence[Tensor]:
    """Logits [1, V] at every step of transformers' own text."""
    output = model.generate(
        **_encoded([prompt]),
        max_new_tokens=NEW,
        do_sample=False,
        pad_token_id=PAD,
        output_logits=True,
        return_dict_in_generate=True,
    )
    found: Sequence[Tensor] = output.logits
    return found


def _tie(logits: Tensor) -> bool:
    first, second = logits.topk(2).values.tolist()
    return first - second < _TIE * logits.std().item()


def _own_batch(model: Any) -> list[list[int]] | None:
    """What transformers writes for all prompts in one batch."""
    try:
        return _generated(model, PROMPTS)
    except Exception:  # it can't batch at all
        return None
