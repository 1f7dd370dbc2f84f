"""Laws of the canonical form: gauge, one row against all, and the decoder bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, Gated, JumpReLU, ReLU, TopK
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, NotSeparableError
from dictionaries.formats.fold import Conventions, fold

SEPARABLE = ("standard", "jumprelu", "batchtopk", "gated")
RANKING = ("topk", "abstopk")


def on_the_threshold() -> tuple[JumpReLU, Tensor]:
    """Pre-activation of feature i of row i equal to its threshold, exactly, in float32."""
    x = torch.arange(1, 17).view(2, 8) / 16
    W_enc = torch.eye(8)[:, :3] * 0.5
    pre = x @ W_enc
    threshold = torch.tensor([pre[0, 0], pre[1, 1], pre[0, 2] - 2**-20])
    zero = torch.zeros(3)
    return (
        JumpReLU(W_enc, zero, W_enc.T, torch.zeros(8), DictionaryConfig(8, 3), threshold=threshold),
        x,
    )


@pytest.mark.parametrize("architecture", [*SEPARABLE, *RANKING])
@pytest.mark.parametrize("gauge", [2.0, 0.37])
def test_contributions_do_not_depend_on_the_gauge(
    architecture: str, gauge: float, make: Callable[..., Dictionary], x: Tensor
) -> None:
    """O22: W_dec·c with W_enc/c, b/c and θ/c is the same dictionary in a_i‖d_i‖."""
    one = make(architecture)
    scales = torch.full((one.width,), gauge)
    if architecture not in RANKING:  # ranking compares features, so they must share a gauge
        scales[::2] = 1.0
    scaled: dict[str, Any] = {"W_dec": one.W_dec * scales[:, None], "W_enc": one.W_enc / scales}
    scaled |= {name: getattr(one, name) / scales for name in one.feature_vectors()}
    if isinstance(one, Gated):
        scaled["r_mag"] = one.r_mag
    other = replace(one, **scaled)

    def contributions(d: Dictionary) -> Tensor:
        return d.encode(x)[0] * d.W_dec.norm(dim=-1)

    torch.testing.assert_close(contributions(other), contributions(one))
    torch.testing.assert_close(other.reconstruct(x), one.reconstruct(x))
    clamped = [d.encode(x)[0].amax(0) * 5 @ d.W_dec for d in (one, other)]  # "5x max"
    torch.testing.assert_close(*clamped)


@pytest.mark.parametrize("architecture", SEPARABLE)
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_a_row_alone_is_the_column_of_the_whole(
    architecture: str, normalisation: str, make: Callable[..., Dictionary], x: Tensor
) -> None:
    """O23."""
    whole = make(architecture, normalisation=normalisation)
    every = whole.encode(x)[0]
    for features in ([3], [23, 0, 3], [7, 7]):
        some = whole.restrict(features)
        assert some.width == len(features)
        torch.testing.assert_close(some.encode(x)[0], every[:, features], atol=1e-6, rtol=1e-6)


def test_a_point_on_the_threshold_is_inactive() -> None:
    """O23: strictly greater, for the whole and for a row alone."""
    dictionary, x = on_the_threshold()
    features = dictionary.encode(x)[0]
    assert features[0, 0] == 0
    assert features[1, 1] == 0
    assert features[0, 2] > 0
    for i in range(3):
        assert torch.equal(dictionary.restrict([i]).encode(x)[0][:, 0], features[:, i])


def test_a_negative_threshold_lets_no_negative_through() -> None:
    dictionary, x = on_the_threshold()
    lenient = replace(dictionary, threshold=torch.full((3,), -9.0))
    assert torch.equal(lenient.encode(-x)[0], torch.zeros(2, 3))


@pytest.mark.parametrize("architecture", RANKING)
def test_ranking_architectures_refuse_a_row_alone(
    architecture: str, make: Callable[..., Dictionary]
) -> None:
    with pytest.raises(NotSeparableError, match="ranks all pre-activations"):
        make(architecture).restrict([0])


@pytest.mark.parametrize("architecture", [*SEPARABLE, *RANKING])
def test_a_subtracted_decoder_bias_is_folded(
    architecture: str, make: Callable[..., Dictionary], x: Tensor
) -> None:
    """O24: encode(x − b_dec) of the file == encode(x) of the folded form."""
    stored = make(architecture)
    tensors: dict[str, Any] = {n: getattr(stored, n) for n in stored.tensor_names()}
    folded = replace(stored, **fold(tensors, Conventions(subtracts_b_dec=True)))
    expected = stored.encode(x - stored.b_dec)[0]
    torch.testing.assert_close(folded.encode(x)[0], expected, atol=1e-5, rtol=1e-5)


def test_all_conventions_at_once(make: Callable[..., Dictionary], x: Tensor) -> None:
    stored, s = make("standard"), 0.25
    tensors: dict[str, Any] = {n: getattr(stored, n) for n in stored.tensor_names()}
    every = Conventions(True, True, s, True)
    folded = replace(stored, **fold(tensors, every))
    norms = stored.W_dec.norm(dim=-1)
    centred = s * (x - x.mean(-1, keepdim=True))
    features = stored.encode(centred - stored.b_dec)[0]
    expected = (features @ stored.W_dec + stored.b_dec) / s
    torch.testing.assert_close(folded.encode(x)[0], features * norms / s, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(folded.reconstruct(x), expected, atol=1e-4, rtol=1e-5)


def test_batchtopk_is_a_jumprelu_of_one_threshold(
    make: Callable[..., Dictionary], x: Tensor
) -> None:
    dictionary = make("batchtopk")
    assert isinstance(dictionary, BatchTopK)
    pre = x @ dictionary.W_enc + dictionary.b_enc
    assert torch.equal(dictionary.encode(x)[0], torch.where(pre > 0.7, pre, 0.0))


def test_topk_keeps_k_and_no_negatives(make: Callable[..., Dictionary], x: Tensor) -> None:
    features = make("topk").encode(x)[0]
    assert features.min() == 0
    assert ((features > 0).sum(-1) <= 5).all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("W_enc", (24, 8)),
        ("W_dec", (8, 24)),
        ("W_dec", (24, 7)),
        ("b_enc", (23,)),
        ("b_dec", (24,)),
        ("threshold", (1,)),
        ("W_skip", (8, 7)),
    ],
)
def test_wrong_shapes(name: str, shape: tuple[int, ...], make: Callable[..., Dictionary]) -> None:
    with pytest.raises(DictionaryError, match=rf"{name} has shape .*, expected"):
        replace(make("jumprelu"), **{name: torch.zeros(shape)})  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, 25])
def test_k_out_of_range(k: int, make: Callable[..., Dictionary]) -> None:
    topk = make("topk")
    assert isinstance(topk, TopK)
    with pytest.raises(DictionaryError, match="allowed 1 to 24"):
        replace(topk, k=k)


def test_skip_is_of_the_raw_x_and_survives_restriction(
    make: Callable[..., Dictionary], x: Tensor
) -> None:
    transcoder = make("standard", skip=True, d_out=6, normalisation="layer_norm")
    without = replace(transcoder, W_skip=None)
    assert transcoder.W_skip is not None
    difference = transcoder.reconstruct(x) - without.reconstruct(x)
    torch.testing.assert_close(difference, x @ transcoder.W_skip, atol=1e-5, rtol=1e-5)
    assert transcoder.restrict([1]).W_skip is transcoder.W_skip
    moved = transcoder.to(dtype=torch.float64)
    assert moved.W_skip is not None
    assert moved.W_skip.dtype == torch.float64


def test_unknown_normalisation() -> None:
    with pytest.raises(DictionaryError, match="allowed: none"):
        DictionaryConfig(8, 24, normalisation="batch_norm")


def test_repr_is_short(make: Callable[..., Any]) -> None:
    assert len(repr(make("topk"))) < 120
    assert isinstance(make("standard"), ReLU)
