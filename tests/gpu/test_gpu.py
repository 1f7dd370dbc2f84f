"""A model on a CUDA device gives what it gives on the CPU, to the rounding of fp32.

Skipped where there is none. `python -m tests.gpu` runs them on one; with STEER_TESTS_DEVICE=cpu
they run on the CPU, which shows that they can, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import steer
from dictionaries.config import DictionaryConfig
from dictionaries.training.activations import ActivationStore, Contexts
from dictionaries.training.config import TrainConfig
from dictionaries.training.train import train
from steer.jobs.harvest import harvest
from tests.support import tiny

DEVICE = os.environ.get("STEER_TESTS_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(),
        reason="no CUDA device here; python -m tests.gpu runs this where there is one",
    ),
]
SITE = "resid_post.1"
NEAR = 1e-3


@cache
def there(family: str) -> steer.Model:
    return steer.load(tiny.build(family).to(DEVICE), tokenizer=tiny.tokenizer())


def both(call: Callable[[steer.Model], Any], family: str = "llama") -> tuple[Any, Any]:
    """Here and there."""
    return call(tiny.tiny_model(family)), call(there(family))


def edit(*edits: steer.Edit) -> steer.Intervention:
    return steer.Intervention("tiny", edits)


EDITS = {
    "clamp": edit(steer.Clamp(5, 4.0)),
    "condition": edit(steer.Clamp(5, 4.0, when=steer.Active(7) | steer.Seen(3))),
    "schedule": edit(steer.Add(3, 2.0, schedule=steer.Ramp(3))),
    "value": edit(steer.Clamp(5, "1x max"), steer.Scale(7, 2.0)),
    "norm": edit(steer.Clamp(5, "0.5x norm")),
    "direction": edit(steer.AddDirection(steer.Random(1), 1.0)),
    "difference": edit(steer.AddDirection(steer.Difference([tiny.PROMPT], ["w20 w3"]), 1.0)),
    "subspace": edit(steer.AblateSubspace(steer.Subspace([steer.Random(1), steer.Random(2)]))),
    "patch": edit(steer.Patch(5, "w20 w3 w9 w14 w15 w16")),
    "resample": edit(steer.Resample(5, ["w20 w3 w9"])),
    "positions": edit(steer.Clamp(5, 4.0, positions=[0, -1])),
}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_writes_the_same_text(family: str) -> None:
    here, away = both(
        lambda model: model.generate(
            tiny.PROMPT, EDITS["clamp"], max_new_tokens=6, temperature=0,
            dictionaries=[tiny.dictionary()],
        ),
        family,
    )  # fmt: skip
    assert (away.ids, away.baseline.ids) == (here.ids, here.baseline.ids)
    for one, other in zip(here.receipt, away.receipt, strict=True):
        assert other.acted_tokens == one.acted_tokens
        assert other.reached == pytest.approx(one.reached, abs=NEAR)


@pytest.mark.parametrize("name", EDITS)
def test_every_kind_of_edit_has_the_same_effect(name: str) -> None:
    here, away = both(
        lambda model: steer.logit_effect(
            model, tiny.PROMPTS, EDITS[name], dictionaries=[tiny.dictionary()], draws=2,
            if_silent="ignore",
        )
    )  # fmt: skip
    assert torch.allclose(away.kl, here.kl, atol=NEAR)


CALLS: dict[str, Callable[[steer.Model], Any]] = {
    "features": lambda m: m.features(tiny.PROMPT, tiny.dictionary()).activations,
    "sweep": lambda m: steer.ablation_sweep(m, tiny.PROMPT, tiny.dictionary()).frame["effect"],
    "loss": lambda m: steer.ablation_sweep(m, tiny.PROMPT, tiny.dictionary(), metric="loss").frame[
        "effect"
    ],
    "pairs": lambda m: [
        row["joint"] for row in steer.pair_sweep(m, tiny.PROMPT, tiny.dictionary(), [1, 2, 3]).rows
    ],
    "attribution": lambda m: steer.attribution(
        m, tiny.PROMPT, tiny.dictionary(), steer.LogitDifference("w9", "w14")
    ).frame["effect"],
    "dose": lambda m: steer.dose_response(
        m, tiny.PROMPTS, tiny.dictionary(), 5, [1.0, 2.0]
    ).frame.select_dtypes("number"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_measurement_is_the_same(name: str) -> None:
    here, away = both(CALLS[name])
    one, other = (torch.as_tensor(numpy.asarray(each)).double() for each in (here, away))
    assert torch.allclose(other, one, atol=NEAR, equal_nan=True)


def test_concepts_and_checks_run() -> None:
    model = there("llama")
    ids = torch.tensor([[7, 31, 12]])
    values = model.collect(ids, torch.ones_like(ids), [SITE])[SITE]  # ids of the CPU
    assert values.device.type == model.device.type
    assert model.check(tiny.dictionary())
    assert model.explain(EDITS["clamp"], dictionaries=[tiny.dictionary()])


def test_what_is_harvested_there_is_what_is_harvested_here(tmp_path: Path) -> None:
    tokens = torch.randint(3, 90, (6, 8), dtype=torch.int32)
    none = torch.zeros(6, dtype=torch.int32)
    stores = []
    for number, model in enumerate((tiny.tiny_model("llama"), there("llama"))):
        store = ActivationStore(tmp_path / str(number), {SITE: model.d})
        harvest(model, Contexts(tokens, none, none.bool(), ("random",)), store)
        stores.append(store.mapped(SITE).float())
    assert torch.allclose(*stores, atol=0.02)


@pytest.mark.parametrize("architecture", ["standard", "topk", "batchtopk"])
def test_a_dictionary_is_trained_where_its_activations_are(architecture: str) -> None:
    x = torch.randn(512, 16, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    config = TrainConfig(architecture, 32, 4, samples=1024, batch=64, l1=0.01, dead_after=128)
    trained = train(x, config, DictionaryConfig(16, 32))
    features, norm = trained.encode(x)
    assert trained.decode(features, norm).device.type == torch.device(DEVICE).type
