"""ΔCE against the plain model's own losses, and bisection against what it was asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import steer
from steer.errors import SteerError
from steer.evals.steering.matched_doses import delta_ce, match_doses, read_texts
from tests.support import tiny
from tests.support.plain import path_of

TEXTS = (tiny.PROMPT, "w20 w3 w9 w14", "w71 w80 w14 w15 w16 w60 w61 w62 w5")


def own_words(prompt: str) -> str:
    """What the plain model says itself: words that any edit makes it find less likely."""
    ids = torch.tensor([[int(word[1:]) for word in prompt.split()]])
    for _ in range(8):
        with torch.no_grad():
            ranked = tiny.plain_model("llama")(ids).logits[0, -1].argsort(descending=True)
        ids = torch.cat([ids, ranked[ranked > 2][:1].unsqueeze(0)], dim=1)
    return " ".join(f"w{token}" for token in ids[0].tolist())


def loss(model: Any, text: str, sae: steer.Dictionary | None = None, value: float = 0.0) -> float:
    """The plain model's loss, with feature 5 clamped at every token but the first."""
    ids = torch.tensor([[int(word[1:]) for word in text.split()]])
    path, _ = path_of("llama", "resid_post.1")

    def clamp(_: Any, __: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        if sae is not None:
            f = sae.encode(x)[0][..., 5]
            x[..., 1:, :] += ((value - f).unsqueeze(-1) * sae.W_dec[5])[..., 1:, :]

    handle = model.get_submodule(path).register_forward_hook(clamp)
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    handle.remove()
    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).item()


def clamp(value: float) -> steer.Intervention:
    return steer.Intervention("tiny", [steer.Clamp(5, value, positions="1:")])


def push(seed: int) -> Any:
    return lambda dose: steer.Intervention(
        "resid_post.1", [steer.AddDirection(steer.Random(seed), dose, positions="1:")]
    )


def test_delta_ce_is_the_plain_models(llama: steer.Model) -> None:
    sae, plain = tiny.dictionary(), tiny.plain_model("llama")
    read = read_texts(llama, TEXTS, "resid_post.1")
    got = delta_ce(read, [clamp(2.0), clamp(9.0)], [sae])
    for row, value in zip(got, (2.0, 9.0), strict=True):
        for cost, text in zip(row.tolist(), TEXTS, strict=True):
            assert cost == pytest.approx(
                loss(plain, text, sae, value) - loss(plain, text), abs=1e-4
            )


def test_matched_doses_cost_what_was_asked(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    read = read_texts(llama, [own_words(text) for text in TEXTS], "resid_post.1")
    edits = [clamp, push(1), push(2)]
    for target in (0.05, 0.4):
        doses = match_doses(read, edits, target, start=0.5, tolerance=0.02, dictionaries=[sae])
        again = delta_ce(read, [e(m.dose) for e, m in zip(edits, doses, strict=True)], [sae])
        for matched, cost in zip(doses, again.mean(1).tolist(), strict=True):
            assert matched.delta_ce == pytest.approx(cost, abs=1e-6)
            assert abs(cost - target) <= 0.02 * target
            assert matched.dose > 0


def test_what_cannot_be_matched(llama: steer.Model) -> None:
    read = read_texts(llama, TEXTS, "resid_post.1")
    nothing = lambda dose: push(1)(0.0 * dose)  # noqa: E731
    with pytest.raises(SteerError, match="no dose"):
        match_doses(read, [nothing], 0.5, start=1.0)
    with pytest.raises(SteerError, match="above 0"):
        match_doses(read, [push(1)], 0.0, start=1.0)
    elsewhere = steer.Intervention("resid_post.0", [steer.AddDirection(steer.Random(0), 1.0)])
    with pytest.raises(SteerError, match="were read at"):
        delta_ce(read, [elsewhere])
