"""A few rows multiplied the other way round are the same rows."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

import steer
from steer.runs import prefill
from steer.runs.few_rows import FewRows
from tests.support import tiny


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 64])
@pytest.mark.parametrize("shape", [(40, 32), (32, 40)], ids=["widening", "narrowing"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_product_is_the_same(rows: int, shape: tuple[int, int], with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(*shape, generator=generator)
    x = torch.randn(rows, 1, shape[1], generator=generator)
    bias = torch.randn(shape[0], generator=generator) if with_bias else None
    expected = functional.linear(x, weight, bias)
    with FewRows():
        product = functional.linear(x, weight, bias)
    assert product.shape == expected.shape
    torch.testing.assert_close(product, expected, rtol=1e-5, atol=1e-5)


def test_equal_rows_stay_equal() -> None:
    weight = torch.randn(96, 32, generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(1)).expand(2, -1, -1)
    with FewRows():
        one, other = functional.linear(x, weight)
    assert torch.equal(one, other)


def test_texts_do_not_depend_on_it(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, dictionary = tiny.tiny_model(family), tiny.dictionary()
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])

    def text() -> tuple[tuple[int, ...], tuple[int, ...]]:
        run = model.generate(
            tiny.PROMPT, edit, dictionaries=[dictionary], temperature=0, max_new_tokens=10
        )
        return run.ids, run.baseline.ids

    monkeypatch.setattr(prefill, "quick_rows", lambda rows: FewRows())
    fast = text()
    monkeypatch.setattr(prefill, "quick_rows", nullcontext)
    assert text() == fast
