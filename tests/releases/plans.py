"""The sixty releases: what each really is, how it is written, and in what it deviates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dictionaries.dictionary import Dictionary
from tests.releases.truth import SQUARE, Truth, activations, moved, words
from tests.releases.written import say, store_as, transpose


@dataclass(frozen=True)
class Plan:
    """One release.

    truth: what it really is. format: how it is written.
    spoil: what its writer did wrong to the dictionary; spoil_files: to the files.
    deviates: the kind of deviation; None for a sound one. meant: the site to be named.
    scaled: whether it was trained on inputs scaled to a mean norm of sqrt(d), without a word.
    states: what is published besides the figures, over what is so of the truth.
    texts: whether the published texts are; recorded: how activations are, None for none.
    model_dtype, weights_dtype: in which they were really recorded.
    """

    name: str
    truth: Truth
    format: str
    deviates: str | None = None
    spoil: Callable[[Dictionary], Dictionary] = lambda given: given
    spoil_files: Callable[[Path], None] = lambda path: None
    meant: str | None = None
    scaled: bool = False
    states: tuple[tuple[str, Any], ...] = ()
    texts: bool = False
    recorded: str | None = "token_ids"
    figures: tuple[str, ...] = ("l0", "explained_variance")
    model_dtype: str = "float32"
    weights_dtype: str = "float32"


RELU, TOPK, BATCH, JUMP, GATED = "standard", "topk", "batchtopk", "jumprelu", "gated"
_POST = "resid_post.1"


def _said(site: str) -> Callable[[Dictionary], Dictionary]:
    return lambda given: moved(given, site)


def _bias(sign: int) -> Callable[[Dictionary], Dictionary]:
    """1: the encoder of the file subtracts what its format does not; -1: the other way round."""
    return lambda g: replace(g, b_enc=g.b_enc + sign * g.b_dec @ g.W_enc)


def _norm(name: str) -> Callable[[Dictionary], Dictionary]:
    return lambda given: replace(given, config=replace(given.config, normalisation=name))


def _flip(name: str) -> Callable[[Dictionary], Dictionary]:
    return lambda given: replace(given, **{name: getattr(given, name).T.contiguous()})


def unfolded(given: Dictionary, truth: Truth) -> tuple[Dictionary, Dictionary]:
    """(as it is meant, as its file has it) of a dictionary of inputs times sqrt(d) / mean norm."""
    x = activations(truth, [words(50, seed) for seed in range(40)])
    s = (given.config.d_in**0.5 / x.norm(dim=-1).mean()).item()
    units: dict[str, Any] = {n: getattr(given, n) * s for n in given.feature_vectors()}
    file = replace(given, b_dec=given.b_dec * s, **units)
    return replace(given, W_enc=given.W_enc * s, W_dec=given.W_dec / s, **units), file


def _site(
    name: str, kind: str, form: str, real: str, said: str, family: str = "llama", **more: Any
) -> Plan:
    same = real.rpartition(".")[0] == said.rpartition(".")[0]
    truth = Truth(real, kind, family)
    return Plan(name, truth, form, "block" if same else "site", _said(said), meant=real, **more)


_SILENT = (("site", None),)
"""Nothing is published of the site."""

SITES = [
    _site("s1", RELU, "saelens_flat", "resid_pre.1", _POST),
    _site("s2", TOPK, "sparsify", "mlp_out.1", _POST, texts=True),
    _site("s3", BATCH, "saelens", "attn_out.1", "mlp_out.1", states=_SILENT),
    _site("s4", JUMP, "gemma_scope_2", "mlp_out.1", _POST, states=_SILENT),
    _site("s5", GATED, "saelens", "resid_mid.1", _POST, "gpt2", recorded=None, texts=True),
    _site("s6", BATCH, "dictionary_learning", "resid_post.0", "mlp_out.0", "gpt2"),
    _site("s7", JUMP, "saelens", _POST, "attn_out.1", states=_SILENT, recorded="text"),
]
BLOCKS = [
    _site("b1", RELU, "goodfire", "resid_post.2", _POST, states=_SILENT),
    _site("b2", TOPK, "qwen_scope", "resid_post.0", _POST, states=_SILENT, recorded="tokens"),
    _site("b3", BATCH, "dictionary_learning", "mlp_out.2", "mlp_out.1", recorded=None),
    _site("b4", JUMP, "gemma_scope", _POST, "resid_post.2", states=_SILENT),
    _site("b5", GATED, "dictionary_learning", "attn_out.0", "attn_out.1", texts=True),
    _site("b6", TOPK, "saelens", "resid_post.2", _POST, "gpt2"),
]
_LAYER, _RESCALED = "layer_norm", "constant_norm_rescale"
NORMS = [
    Plan("n1", Truth(_POST, TOPK, norm=_LAYER), "saelens", "norm", _norm("none")),
    Plan("n2", Truth(_POST, TOPK), "openai", "norm", states=_SILENT),
    Plan("n3", Truth(_POST, JUMP, norm=_RESCALED), "saelens", "norm", _norm("none"), texts=True),
    Plan("n4", Truth(_POST, BATCH), "saelens", "norm", scaled=True),
    Plan("n5", Truth("mlp_out.1", RELU, "gpt2"), "saelens_flat", "norm", scaled=True,
         recorded="text"),
    Plan("n6", Truth(_POST, GATED, norm=_LAYER), "dictionary_learning", "norm", _norm("none"),
         recorded=None, texts=True),
]  # fmt: skip
TRANSPOSED = [
    Plan("t1", Truth(_POST, BATCH), "saelens", "transposed", spoil_files=transpose("W_dec")),
    Plan("t2", Truth(_POST, RELU), "goodfire", "transposed",
         spoil_files=transpose("decoder_linear.weight")),
    Plan("t3", Truth(_POST, JUMP), "gemma_scope", "transposed", spoil_files=transpose("W_enc")),
    Plan("t4", Truth(_POST, TOPK, width=SQUARE), "sparsify", "transposed", _flip("W_dec")),
    Plan("t5", Truth("mlp_out.1", GATED, width=SQUARE), "saelens", "transposed", _flip("W_enc")),
    Plan("t6", Truth(_POST, TOPK, width=SQUARE), "qwen_scope", "transposed", _flip("W_dec"),
         recorded=None, texts=True),
]  # fmt: skip
DTYPES = [
    Plan("d1", Truth(_POST, BATCH), "saelens", "dtype", spoil_files=store_as(torch.bfloat16)),
    Plan("d2", Truth(_POST, JUMP), "gemma_scope", "dtype", spoil_files=store_as(torch.float16)),
    Plan("d3", Truth("mlp_out.1", TOPK), "sparsify", "dtype", model_dtype="bfloat16"),
    Plan("d4", Truth(_POST, RELU, "gpt2"), "goodfire", "dtype", weights_dtype="bfloat16"),
    Plan("d5", Truth(_POST, GATED), "saelens", "dtype", model_dtype="bfloat16", texts=True),
]
BIASES = [
    Plan("a1", Truth(_POST, BATCH), "saelens", "bias",
         spoil_files=say("cfg.json", apply_b_dec_to_input=True)),
    Plan("a2", Truth(_POST, TOPK), "sparsify", "bias", _bias(-1)),
    Plan("a3", Truth(_POST, JUMP), "gemma_scope", "bias", _bias(1), recorded="tokens"),
    Plan("a4", Truth("attn_out.1", RELU), "dictionary_learning", "bias", _bias(1), texts=True),
    Plan("a5", Truth(_POST, GATED, "gpt2"), "saelens", "bias", _bias(-1)),
]  # fmt: skip


def _bos(name: str, kind: str, form: str, *, really: bool, site: str = _POST, **more: Any) -> Plan:
    states = (("prepend_bos", not really),)
    return Plan(name, Truth(site, kind, bos=really), form, "bos", states=states, **more)


STARTS = [
    _bos("o1", BATCH, "saelens", really=True),
    _bos("o2", RELU, "goodfire", really=False, recorded="tokens"),
    _bos("o3", TOPK, "qwen_scope", really=True, recorded="text"),
    _bos("o4", GATED, "saelens", really=False, site="mlp_out.1"),
    _bos("o5", JUMP, "gemma_scope_2", really=True, texts=True, recorded="text"),
]
DEVIATING = [*SITES, *BLOCKS, *NORMS, *TRANSPOSED, *DTYPES, *BIASES, *STARTS]

_CODER = Truth("mlp_in.1", JUMP, out="mlp_out.1")
_COST = ("l0", "explained_variance", "delta_ce")
SOUND = [
    Plan("k1", Truth(_POST, BATCH), "saelens", figures=_COST),
    Plan("k2", Truth(_POST, TOPK), "sparsify", texts=True, figures=_COST),
    Plan("k3", Truth(_POST, JUMP), "gemma_scope", recorded="tokens"),
    Plan("k4", Truth(_POST, GATED), "saelens", recorded="text"),
    Plan("k5", Truth(_POST, RELU), "goodfire", figures=_COST),
    Plan("k6", Truth("mlp_out.1", BATCH), "dictionary_learning"),
    Plan("k7", Truth(_POST, TOPK, norm=_LAYER), "openai", states=_SILENT),
    Plan("k8", Truth(_POST, TOPK), "qwen_scope", recorded=None, texts=True),
    Plan("k9", _CODER, "circuit_tracer"),
    Plan("k10", _CODER, "gemma_scope_2", texts=True),
    Plan("k11", Truth("mlp_out.1", JUMP, norm=_RESCALED), "saelens"),
    Plan("k12", Truth(_POST, BATCH, bos=True), "saelens", recorded="text"),
    Plan("k13", Truth(_POST, RELU, bos=True), "goodfire", recorded="tokens", texts=True),
    Plan("k14", Truth(_POST, TOPK, width=SQUARE), "sparsify"),
    Plan("k15", Truth("attn_out.1", GATED, "gpt2"), "dictionary_learning"),
    Plan("k16", Truth("resid_mid.1", JUMP, "gpt2"), "saelens", texts=True),
    Plan("k17", Truth(_POST, BATCH), "saelens", spoil_files=store_as(torch.bfloat16),
         states=(("dtype", "bfloat16"),), weights_dtype="bfloat16"),
    Plan("k18", Truth(_POST, JUMP), "gemma_scope_2", states=(("model_dtype", "bfloat16"),),
         model_dtype="bfloat16"),
    Plan("k19", Truth("attn_z.1", RELU), "saelens_flat"),
    Plan("k20", Truth("resid_pre.2", GATED, "gpt2"), "saelens", recorded="tokens",
         states=(("massive_tokens", True),)),
]  # fmt: skip
PLANS = {plan.name: plan for plan in (*DEVIATING, *SOUND)}


def with_figures_alone(plan: Plan) -> Plan:
    """The same without recorded activations, its figures being of texts that nobody knows."""
    return replace(plan, name=f"{plan.name}-less", recorded=None, texts=False)


WITH_LESS = [with_figures_alone(plan) for plan in PLANS.values() if plan.deviates != "dtype"]
"""Rounding shows in activations alone."""
