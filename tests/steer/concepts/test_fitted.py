"""One fitting step goes where autograd says, and fitting makes the texts likelier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from steer import Model
from steer.concepts.fitted import Told, fit, told
from tests.support.tiny import PROMPT, D, plain_model, tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model("llama")


def texts(model: Model) -> Told:
    ids = torch.randint(3, len(model.tokenizer), (6, 7), generator=torch.Generator().manual_seed(0))
    weights = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    return Told(ids, weights)


def loss(block: int, given: Told, vector: Tensor) -> Tensor:
    """Weighted mean loss with the vector added after the block at every token but the first."""
    plain = plain_model("llama")

    def write(_: object, __: object, output: Tensor | tuple[Tensor, ...]) -> object:
        stream = output if isinstance(output, Tensor) else output[0]
        moved = torch.cat([stream[:, :1], stream[:, 1:] + vector], dim=1)
        return moved if isinstance(output, Tensor) else (moved, *output[1:])

    handle = plain.model.layers[block].register_forward_hook(write)
    try:
        log_p = plain(given.ids).logits[:, :-1].log_softmax(-1)
    finally:
        handle.remove()
    losses = -log_p.gather(-1, given.ids[:, 1:, None]).squeeze(-1)
    return (losses * given.weights).sum() / given.weights.sum()


@pytest.mark.parametrize("hookpoint", ["resid_post.1", "resid_pre.2"])
def test_one_step_goes_where_autograd_says(model: Model, hookpoint: str) -> None:
    from steer.concepts.fitted import _slope

    given = texts(model)
    site = model.site(hookpoint)
    x = model.collect(given.ids, torch.ones_like(given.ids), [hookpoint])[str(site.hookpoint)]
    vector = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(2))
    live = vector.clone().requires_grad_()
    loss(1, given, live).backward()
    assert live.grad is not None
    torch.testing.assert_close(
        _slope(model, site, given, x, vector), live.grad, rtol=1e-4, atol=1e-6
    )


def test_fitting_makes_the_texts_likelier_and_stays_a_unit_vector(model: Model) -> None:
    given = texts(model)
    begin = torch.randn(D, generator=torch.Generator().manual_seed(3))
    unit = fit(model, "resid_post.1", given, begin, 4.0, seed=0)
    assert unit.norm().item() == pytest.approx(1, abs=1e-5)
    before = torch.nn.functional.normalize(begin, dim=0)
    with torch.no_grad():
        assert loss(1, given, 4 * unit) < loss(1, given, 4 * before)


def test_a_request_that_tells_nothing_leaves_the_vector(model: Model) -> None:
    given = texts(model)
    empty = Told(given.ids, torch.zeros_like(given.weights))
    begin = torch.arange(1.0, D + 1)
    unit = fit(model, "resid_post.1", empty, begin, 4.0, seed=0)
    torch.testing.assert_close(unit, begin / begin.norm())


def test_only_the_texts_own_tokens_weigh(model: Model) -> None:
    given = told(model, "bridge", [PROMPT, PROMPT + " " + PROMPT])
    opening = len(model.tokenizer(".\n").input_ids)
    assert given.weights.shape == (2, given.ids.shape[1] - 1)
    assert given.weights.min() >= 0
    assert not given.weights[:, : opening - 1].any()
    shorter = len(model.tokenizer(PROMPT, add_special_tokens=False).input_ids)
    assert not given.weights[0, opening - 1 + shorter :].any()
