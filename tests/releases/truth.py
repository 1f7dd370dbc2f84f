"""Tiny models with a BOS, and dictionaries that are trained on them: what releases are made of."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

import steer
from dictionaries.architectures import Gated, JumpReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.config import TrainConfig
from dictionaries.training.train import train
from tests.support import tiny

BOS = tiny.EOS
"""As in GPT-2: the end of a text is what another begins with, and the tokenizer adds none."""
WIDTH, SQUARE, K = 96, tiny.D, 6
_TRAINED_ON, _LENGTH, _SAMPLES = 200, 50, 120_000
_TRAINER = {"jumprelu": "batchtopk", "gated": "batchtopk"}


@dataclass(frozen=True)
class Truth:
    """What a dictionary really is.

    out: what it writes, if that is another site. norm: per-token normalisation of what it reads.
    """

    site: str
    kind: str = "batchtopk"
    family: str = "llama"
    width: int = WIDTH
    norm: str = "none"
    bos: bool = False
    out: str | None = None


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """That of the tiny models, with a BOS."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer().backend_tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<eos>",
        unk_token="<unk>",
    )


@cache
def model(family: str) -> steer.Model:
    return steer.load(tiny.build(family), tokenizer=tokenizer())


def save_model(family: str, folder: Path) -> None:
    logging.disable_progress_bar()
    tiny.build(family).save_pretrained(folder / family)
    tokenizer().save_pretrained(folder / family)


def words(count: int, seed: int) -> list[int]:
    """Token ids of random words; half of them are of a few, as in a language."""
    draw = random.Random(seed)
    common = range(3, 20)
    return [draw.choice(common if draw.random() < 0.5 else range(20, 96)) for _ in range(count)]


def text_of(ids: list[int]) -> str:
    return " ".join(f"w{token}" for token in ids)


def activations(
    truth: Truth, rows: list[list[int]], dtype: str = "float32", site: str | None = None
) -> Tensor:
    """[n, s, d] at the truth's site, of rows of equal length; a BOS's own are left out."""
    used = model(truth.family)
    if dtype != "float32":
        cast = tiny.build(truth.family, getattr(torch, dtype))
        used = steer.load(cast, tokenizer=tokenizer())
    ids = torch.tensor([[BOS, *row] if truth.bos else row for row in rows])
    site = site or truth.site
    x = used.collect(ids, torch.ones_like(ids), [site])[site].float()
    return x[:, 1:] if truth.bos else x


def normalised(x: Tensor, norm: str) -> Tensor:
    """What a dictionary of this normalisation is trained on."""
    match norm:
        case "layer_norm":
            centred = x - x.mean(-1, keepdim=True)
            return centred / centred.std(-1, keepdim=True)
        case "constant_norm_rescale":
            return x * x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True)
        case _:
            return x


@cache
def dictionary(truth: Truth) -> Dictionary:
    """Trained on some ten thousand tokens, the same every time."""
    rows = [words(_LENGTH, seed) for seed in range(_TRAINED_ON)]
    x = normalised(activations(truth, rows)[:, 1:].flatten(0, 1), truth.norm)
    config = TrainConfig(
        architecture=_TRAINER.get(truth.kind, truth.kind),
        width=truth.width,
        k=K,
        l1=2.0,
        samples=_SAMPLES,
        batch=256,
        learning_rate=3e-3,
        candidates_dtype="float32",
    )
    about = DictionaryConfig(tiny.D, truth.width, truth.site, normalisation=truth.norm)
    trained = _as_kind(train(x, config, about), truth.kind)
    if truth.out is None:
        return trained
    y = activations(truth, rows, site=truth.out)[:, 1:].flatten(0, 1)
    return _transcoder(trained, x, y, truth.out)


def _transcoder(given: Dictionary, x: Tensor, y: Tensor, out: str) -> Dictionary:
    """The same encoder, with the least-squares map of its features to another site."""
    mean = y.mean(0)
    features = given.encode(x)[0].double()
    W_dec = torch.linalg.lstsq(features, (y - mean).double(), driver="gelsd").solution.float()
    config = replace(given.config, d_out=tiny.D, hookpoint_out=out)
    return replace(given, W_dec=W_dec, b_dec=mean, config=config)


def _as_kind(trained: Any, kind: str) -> Dictionary:
    """A threshold says the same as a JumpReLU, and as the gate of a gated one."""
    if kind not in _TRAINER:
        return trained
    about = {name: getattr(trained, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    about |= {"config": trained.config}
    if kind == "jumprelu":
        return JumpReLU(**about, threshold=trained.threshold)
    shift = trained.b_enc
    stretched = torch.full_like(shift, 0.5)
    about |= {"b_enc": torch.zeros_like(shift), "W_dec": trained.W_dec / stretched[:, None]}
    return Gated(
        **about,
        b_gate=shift - trained.threshold,
        r_mag=stretched.log(),
        b_mag=shift * stretched,
    )


def moved(given: Dictionary, site: str | None) -> Dictionary:
    """The same, said to be of another site."""
    return replace(given, config=replace(given.config, hookpoint=site))
