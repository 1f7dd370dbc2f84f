"""The seed paper's pickled lists: what they compute, and that nothing of them is run.

Files of its own code are in `test_originals`. Here they are pickled from stand-ins of its classes
under its module's name, and compared with its own formulae, written out below.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.formats import hoagyc, load_folder

D, M = 8, 24
Make = Callable[..., Any]


@pytest.fixture
def original() -> Iterator[Make]:
    """Makes an object of a class of `autoencoders.learned_dict`, as far as pickle can tell."""
    names = ("autoencoders", "autoencoders.learned_dict")
    for name in names:
        sys.modules[name] = ModuleType(name)

    module = sys.modules[names[1]]
    for cls in ("TiedSAE", "UntiedSAE"):
        setattr(module, cls, type(cls, (), {"__module__": names[1]}))

    def make(cls: str, **attributes: Any) -> Any:
        instance = getattr(module, cls)()
        vars(instance).update(attributes, n_feats=M, activation_size=D)
        return instance

    yield make
    for name in names:
        del sys.modules[name]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


TIED = {"encoder": normal(M, D), "encoder_bias": normal(M), "norm_encoder": True}
ROTATION = torch.linalg.qr(normal(D, D)).Q
CENTRING = {
    "center_trans": normal(D),
    "center_rot": ROTATION,
    "center_scale": normal(D).abs() + 0.5,
}


@pytest.mark.parametrize("norm_encoder", [True, False])
@pytest.mark.parametrize("centring", [{}, CENTRING], ids=["old", "centred"])
def test_tied(
    norm_encoder: bool, centring: dict[str, Tensor], original: Make, tmp_path: Path, x: Tensor
) -> None:
    """Its own ablation forgot to centre, unlike `predict`; here it is folded, so it can't be."""
    stored = original("TiedSAE", **{**TIED, **centring, "norm_encoder": norm_encoder})
    torch.save([(stored, {"l1_alpha": 1e-3, "dict_size": M})], tmp_path / "learned_dicts.pt")
    dictionary = load_folder(tmp_path)
    full = {
        "center_trans": torch.zeros(D),
        "center_rot": torch.eye(D),
        "center_scale": torch.ones(D),
    }
    c = {**full, **centring}
    centred = torch.einsum("cu,bu->bc", c["center_rot"], x - c["center_trans"]) * c["center_scale"]
    rows = unit(TIED["encoder"])
    features = (
        centred @ (rows if norm_encoder else TIED["encoder"]).T + TIED["encoder_bias"]
    ).relu()
    written = features @ rows / c["center_scale"]
    written = torch.einsum("cu,bc->bu", c["center_rot"], written) + c["center_trans"]
    torch.testing.assert_close(dictionary.encode(x)[0], features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dictionary.reconstruct(x), written, atol=1e-5, rtol=1e-5)
    assert dict(dictionary.config.metadata) == {"l1_alpha": 1e-3, "dict_size": M}
    assert torch.equal(load_folder(tmp_path, features=[3]).W_dec, dictionary.W_dec[[3]])


def test_untied(original: Make, tmp_path: Path, x: Tensor) -> None:
    encoder, decoder, bias = normal(M, D), normal(M, D) * 2 + 1, normal(M)
    stored = original("UntiedSAE", encoder=encoder, decoder=decoder, encoder_bias=bias)
    torch.save([(stored, {})], tmp_path / "learned_dicts.pt")
    features = (x @ encoder.T + bias).relu()
    dictionary = load_folder(tmp_path)
    torch.testing.assert_close(dictionary.encode(x)[0], features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        dictionary.reconstruct(x), features @ unit(decoder), atol=1e-5, rtol=1e-5
    )


def test_a_sweep_asks_which(original: Make, tmp_path: Path) -> None:
    sweep = [(original("TiedSAE", **TIED), {"l1_alpha": a}) for a in (1e-4, 1e-3)]
    torch.save(sweep, tmp_path / "learned_dicts.pt")
    with pytest.raises(FormatError, match=r"2 dictionaries, choose by index=.*0\.001"):
        load_folder(tmp_path)
    assert dict(hoagyc.read(tmp_path, index=1).config.metadata)["l1_alpha"] == 1e-3
    with pytest.raises(FormatError, match="allowed: 0 to 1"):
        hoagyc.read(tmp_path, index=2)


class Exploit:
    """Runs a command when a plain unpickler meets it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_is_run(inside: bool, original: Make, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    bad = Exploit(f"touch {trace}")
    stored = original("TiedSAE", **TIED, extra=bad) if inside else bad
    torch.save([(stored, {})], tmp_path / "learned_dicts.pt")
    with pytest.raises(FormatError, match="without running its code"):
        load_folder(tmp_path)
    assert not trace.exists()


BAD: dict[str, dict[str, Any]] = {
    "shape": {"encoder": torch.zeros(M)},
    "bias": {"encoder_bias": torch.zeros(D)},
    "nan": {"encoder": torch.full((M, D), float("nan"))},
    "rotation": {"center_rot": torch.eye(M)},
    "scale": {"center_scale": torch.zeros(D)},
    "missing": {"encoder": None},
}


@pytest.mark.parametrize("attributes", BAD.values(), ids=BAD.keys())
def test_bad_attributes(attributes: dict[str, Any], original: Make, tmp_path: Path) -> None:
    torch.save([(original("TiedSAE", **{**TIED, **attributes}), {})], tmp_path / "learned_dicts.pt")
    with pytest.raises(FormatError):
        load_folder(tmp_path)


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: [], lambda d: [d], lambda d: [(d, 3)]])
def test_other_lists(wrap: Callable[[Any], Any], original: Make, tmp_path: Path) -> None:
    torch.save(wrap(original("TiedSAE", **TIED)), tmp_path / "learned_dicts.pt")
    with pytest.raises(FormatError):
        load_folder(tmp_path)
