"""Pairs of prompts of which one is patched with the other, in fp64, for tests."""

from __future__ import annotations

from functools import cache

import torch

import steer
from steer.effects.metric import LogitDifference
from steer.effects.patching.patching import Patchable, prompt_pairs
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")
BASES = ("w7 w31 w12 w55 w40 w9", "w20 w3 w8")
TARGETS = ("w7 w33 w12 w55 w40 w9", "w20 w4 w8")


@cache
def double(family: str) -> steer.Model:
    return steer.load(tiny.build(family, torch.float64), tokenizer=tiny.tokenizer())


@cache
def linear(family: str) -> steer.Model:
    """Its final norm is no norm, so that what comes after the last block is linear."""
    module = tiny.build(family, torch.float64)
    module.model.norm = torch.nn.Identity()
    return steer.load(module, tokenizer=tiny.tokenizer())


@cache
def pairs(family: str = "llama", error: str = "keep") -> tuple[Patchable, ...]:
    return prompt_pairs(double(family), BASES, TARGETS, tiny.dictionary(), error=error)
