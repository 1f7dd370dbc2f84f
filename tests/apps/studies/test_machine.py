"""The machine that figures are of is named so precisely that another can be told from it."""

from __future__ import annotations

import pytest
import torch

from apps.studies.machine import machine, named, processor, said

AMD = """processor : 0
vendor_id : AuthenticAMD
cpu family : 26
model : 2
model name : AMD EPYC
stepping : 1
flags : fpu sse2 avx2 avx512f avx512_bf16 avx512dq

processor : 1
vendor_id : another
"""
ARM = """processor : 0
Features : fp asimd sve bf16
CPU implementer : 0x41
CPU architecture: 8
CPU part : 0xd4f
CPU revision : 0
"""


def test_a_processor_is_told_by_more_than_its_name() -> None:
    told = processor(AMD)
    assert told["instructions"] == ["avx2", "avx512f", "avx512_bf16"]
    assert (told["maker"], told["stepping"]) == ("AuthenticAMD", "1")
    assert named(told) == "AMD EPYC, family 26, model 2"
    older = processor(AMD.replace("family : 26", "family : 25"))
    assert older["processor"] == told["processor"]
    assert named(older) != named(told)


def test_a_processor_of_arm_has_other_words() -> None:
    told = processor(ARM)
    assert (told["maker"], told["family"], told["model"]) == ("0x41", "8", "0xd4f")
    assert told["instructions"] == ["asimd", "bf16", "sve"]


def test_a_system_that_lists_nothing_still_names_one() -> None:
    told = processor("")
    assert told["processor"]
    assert told["maker"] is None
    assert told["instructions"] == []
    assert named(told) == told["processor"]


def test_this_machine_is_named() -> None:
    told = machine()
    assert told["processor"]
    assert told["threads"] == torch.get_num_threads()
    assert told["kernels"] in said(told)


def test_a_processor_held_to_less_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert "the same processor" not in said({**machine(), "limits": {}})
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    told = machine()
    assert told["limits"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert "the same processor with " in said(told)
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in said(told)


def test_a_row_kept_before_more_was_asked_is_said_too() -> None:
    assert said({"processor": "AMD EPYC", "threads": 2}) == "AMD EPYC, 2 threads"
