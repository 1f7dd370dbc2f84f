"""An autoencoder with a linear part beside its features: sparsify's `skip_connection`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.errors import InterventionError
from tests.support import tiny
from tests.support.passes import SITE, by_hand, close, intervention, steered
from tests.support.plain import PlainEdit, PlainSite, path_of
from tests.support.tiny import PROMPTS, D


def skipping() -> Dictionary:
    generator = torch.Generator().manual_seed(2)
    return replace(
        tiny.dictionary(SITE, "topk"), W_skip=torch.randn(D, D, generator=generator) / D**0.5
    )


def test_an_edit_that_keeps_the_error_is_of_its_features_alone(llama: steer.Model) -> None:
    site = PlainSite(*path_of("llama", SITE), skipping(), [PlainEdit(5, "clamp", 3.0)])
    ours = steered(llama, intervention(steer.Clamp(5, 3.0)), skipping(), PROMPTS)
    theirs = by_hand(tiny.plain_model("llama"), llama, site, prompts=PROMPTS)
    close(ours.logits[ours.real], theirs.logits[ours.real])
    assert ours.receipts[0][0].acted


@pytest.mark.parametrize("error", ["drop", "frozen"])
def test_its_error_can_t_be_dropped(error: Any, llama: steer.Model) -> None:
    """Its linear part carries on what its features don't explain."""
    edit = intervention(steer.Clamp(5, 3.0), error=error)
    with pytest.raises(InterventionError, match=r"carries the error on; use error='keep'"):
        llama.plans([edit], [skipping()], clean=slice(0, 1))
