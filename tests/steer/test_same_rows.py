"""Rows that are the same are computed once, and come out as if each had been."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn

import steer
from steer import runs
from steer.hookpoints import Hookpoint, locate
from steer.same_rows import _LINEAR, same_rows
from tests import tiny


@contextmanager
def rows_seen(module: nn.Module) -> Iterator[dict[str, list[int]]]:
    """Path of each linear layer of the blocks -> its rows, call by call."""
    seen: dict[str, list[int]] = {}
    handles = []
    for path, part in module.named_modules():
        if isinstance(part, _LINEAR) and re.search(r"\.\d+\.", path):

            def see(_: nn.Module, args: Any, path: str = path) -> None:
                seen.setdefault(path, []).append(len(args[0]))

            handles.append(part.register_forward_pre_hook(see))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def hooks(module: nn.Module) -> int:
    return sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in module.modules())


def edit(site: str, seed: int = 0) -> steer.Intervention:
    return steer.Intervention(site, [steer.AddDirection(steer.Random(seed=seed), 4.0)])


def block(path: str) -> int:
    return int(re.search(r"\.(\d+)\.", path)[1])  # type: ignore[index]


def test_one_row_below_the_edit_and_all_above(family: str) -> None:
    """In the prefill; every row has its own token at a decoding step."""
    model = tiny.tiny_model(family)
    with rows_seen(model.module) as seen:
        model.generate_batch([tiny.PROMPT], [edit("resid_post.0", n) for n in range(3)])
    mlp = {path: rows for path, rows in seen.items() if ".mlp." in path}
    assert mlp
    for path, rows in mlp.items():
        assert rows[0] == (1 if block(path) == 0 else 4), path
        assert set(rows[1:]) == {4}, path


def test_different_prompts_are_not_the_same(family: str) -> None:
    model = tiny.tiny_model(family)
    with rows_seen(model.module) as seen:
        model.generate_batch([tiny.PROMPT, "w9 w8"], edit("resid_post.0"), max_new_tokens=2)
    assert {row for rows in seen.values() for row in rows} == {4}


@pytest.mark.parametrize("kind", ["resid_post", "resid_pre", "mlp_out", "mlp_hidden", "attn_z"])
def test_texts_and_receipts_do_not_depend_on_it(
    family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the site is inside what is shared."""
    model = tiny.tiny_model(family)
    site = f"{kind}.1"

    def run() -> Any:
        return model.generate(tiny.PROMPT, edit(site), temperature=0, max_new_tokens=10)

    shared = run()
    monkeypatch.setattr(runs, "same_rows", lambda *_: nullcontext())
    apart = run()
    assert (shared.ids, shared.baseline.ids) == (apart.ids, apart.baseline.ids)
    assert len(shared.receipt.entries[0].acted_tokens) == len(apart.receipt.entries[0].acted_tokens)
    for one, other in zip(
        shared.receipt.entries[0].tokens, apart.receipt.entries[0].tokens, strict=True
    ):
        assert one.relative_dose == pytest.approx(other.relative_dose, rel=1e-4)


def test_a_site_inside_sees_all_rows() -> None:
    module = tiny.tiny_model("llama").module
    x = torch.randn(1, 3, 32).expand(2, -1, -1)
    mlp = module.model.layers[0].mlp
    for sites, rows in (((), 1), ((locate(module, Hookpoint(0, "mlp_hidden")),), 2)):
        with same_rows(module, sites), rows_seen(module) as seen, torch.inference_mode():
            assert mlp(x).shape == x.shape
        assert {row for found in seen.values() for row in found} == {rows}


def test_nothing_stays_installed() -> None:
    model = tiny.tiny_model("llama")
    before = hooks(model.module)
    model.generate(tiny.PROMPT, edit("resid_post.0"), max_new_tokens=2)
    with pytest.raises(ZeroDivisionError):
        model.generate(tiny.PROMPT, edit("resid_post.0"), on_step=lambda ids: 1 / 0)  # type: ignore[arg-type, return-value]
    assert hooks(model.module) == before
