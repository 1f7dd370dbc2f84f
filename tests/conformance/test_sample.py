"""Seventeen families with each kind of block between them; all: `python -m tests.conformance`."""

from __future__ import annotations

import pytest
import transformers

from tests.conformance.build import build
from tests.conformance.jobs import PROMPT, run_family
from tests.conformance.oracle import Oracle
from tests.conformance.outcome import RAW, WRONG
from tests.support.tiny import tokenizer

SAMPLE = {
    "llama": "attention, then an MLP, each after its norm",
    "gpt_neox": "attention and MLP parallel, each with a norm",
    "cohere": "parallel behind one norm; a LayerNorm without bias; scaled logits",
    "olmo2": "norms after attention and after the MLP",
    "afmoe": "norms before and after, by other names; MoE",
    "gemma4_text": "1 + w no more; a stream that is scaled and added to after the MLP",
    "granite": "what is added is multiplied",
    "bert": "the norm is of the sum; positions are learned",
    "bloom": "no length; the MLP adds the stream itself; blocks give tuples",
    "zaya": "routers that read the router below; a scaled stream",
    "roberta-prelayernorm": "modules called output",
    "qwen2_5_vl": "position ids of three axes",
    "bart": "positions that don't know of padding",
    "falcon_h1": "attention and a state space side by side",
    "mamba": "nothing but a state space; no length",
    "qwen3_next": "linear attention; 1 + w; a shared expert",
    "deepseek_v4": "several streams at once",
}


@pytest.mark.parametrize("family", SAMPLE)
def test_no_cell_is_wrong_or_raw(family: str) -> None:
    transformers.logging.set_verbosity_error()
    report = run_family(family)
    bad = [
        f"{place} {kind} {job}: {outcome['status']}: {outcome['detail']}"
        for place, kinds in {"": {"": report.whole}, **report.sites}.items()
        for kind, jobs in kinds.items()
        for job, outcome in jobs.items()
        if outcome["status"] in (WRONG, RAW)
    ]
    assert bad == []


def test_the_oracle_sees_every_part_of_a_plain_block() -> None:
    """Llama has all eight sites, and what is added to its stream adds up."""
    ids = tokenizer()(PROMPT, return_tensors="pt")["input_ids"]
    truths = Oracle(build("llama"), ids).truths(1)
    values = {kind: truth.value for kind, truth in truths.items() if truth.value is not None}
    assert len(values) == len(truths) == 8
    middle = values["resid_pre"] + values["attn_out"]
    assert middle.allclose(values["resid_mid"], atol=1e-5)
    assert (middle + values["mlp_out"]).allclose(values["resid_post"], atol=1e-5)
