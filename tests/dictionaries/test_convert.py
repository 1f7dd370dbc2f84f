"""Conversion: what each format can express, and that a copy edits as the original does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import catalogue
from dictionaries.beside.labels import Label, Labels
from dictionaries.convert import WRITERS, convert
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from tests.support import plain, tiny

EXPRESSED = {
    "saelens": {"standard", "jumprelu", "batchtopk", "topk", "abstopk", "gated"},
    "sparsify": {"topk"},
    "dictionary_learning": {"standard", "jumprelu", "batchtopk", "topk", "gated"},
}
PAIRS = [(to, each) for to in WRITERS for each in tiny.ARCHITECTURES]


def edited_logits(model: steer.Model, folder: Path, features: list[int]) -> tuple[Tensor, Tensor]:
    """Logits of a clean row and of one with these features clamped."""
    edit = steer.Intervention(str(folder), [steer.Clamp(f, "1.5x max") for f in features])
    norm = plain.final_norm(model.module)
    with plain.recorded(norm) as hidden:
        model.generate(tiny.PROMPT, edit, max_new_tokens=1, if_silent="ignore")
    with torch.no_grad():
        head = model.module.get_output_embeddings()
        (edited,), (clean,) = (head(each) for each in hidden)
    return clean, edited


@pytest.mark.parametrize(("to", "architecture"), PAIRS)
def test_a_copy_gives_the_same_edited_logits_or_is_refused(
    to: str, architecture: str, llama: steer.Model, tmp_path: Path
) -> None:
    original = tiny.dictionary("resid_post.1", architecture)
    catalogue.save(original, tmp_path / "one")
    assert original.statistics is not None
    original.statistics.save(tmp_path / "one")
    if architecture not in EXPRESSED[to]:
        with pytest.raises(FormatError, match=r"can't be written|has no"):
            convert(tmp_path / "one", tmp_path / "two", to)
        assert not (tmp_path / "two").exists()
        return
    folder = convert(tmp_path / "one", tmp_path / "two", to)
    features = [f for f in tiny.active_features(llama, original) if f][:3]  # 0 has no max
    (clean, edited), (_, again) = (
        edited_logits(llama, each, features) for each in (tmp_path / "one", folder)
    )
    assert (edited - clean).abs().max() > 1e-2
    torch.testing.assert_close(again, edited, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("normalisation", ["constant_norm_rescale", "layer_norm"])
def test_a_normalised_input(to: str, normalisation: str, tmp_path: Path, x: Tensor) -> None:
    x = torch.cat([x, x, x, x], dim=1)
    architecture = "topk" if to == "sparsify" else "standard"
    original = tiny.dictionary(architecture=architecture, normalisation=normalisation)
    catalogue.save(original, tmp_path / "one")
    if to != "saelens":
        with pytest.raises(FormatError, match="of the raw site"):
            convert(tmp_path / "one", tmp_path / "two", to)
        return
    copy = catalogue.load(convert(tmp_path / "one", tmp_path / "two", to))
    torch.testing.assert_close(copy.reconstruct(x), original.reconstruct(x))


@pytest.mark.parametrize(
    ("to", "architecture", "d_out", "expressed"),
    [
        ("saelens", "standard", 8, True),
        ("saelens", "jumprelu", 5, True),
        ("saelens", "topk", 8, False),
        ("sparsify", "topk", 8, True),
        ("sparsify", "topk", 5, False),
        ("dictionary_learning", "standard", 8, False),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_transcoders(
    to: str, architecture: str, d_out: int, skip: bool, expressed: bool,
    make: Callable[..., Dictionary], x: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = make(
        architecture, d_out=d_out, skip=skip, hookpoint="mlp_in.1", hookpoint_out="mlp_out.1"
    )
    monkeypatch.setattr(catalogue, "load", lambda _: original)
    if not expressed:
        with pytest.raises(FormatError):
            convert("one", tmp_path / "two", to)
        return
    folder = convert("one", tmp_path / "two", to)
    monkeypatch.undo()
    copy = catalogue.load(folder)
    assert (copy.config.hookpoint, copy.config.hookpoint_out) == ("mlp_in.1", "mlp_out.1")
    torch.testing.assert_close(copy.encode(x)[0], original.encode(x)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(copy.reconstruct(x), original.reconstruct(x), atol=1e-5, rtol=1e-5)


def test_card_statistics_and_labels_go_along(tmp_path: Path) -> None:
    original = tiny.dictionary()
    catalogue.save(original, tmp_path / "one")
    assert original.statistics is not None
    original.statistics.save(tmp_path / "one")
    labels = Labels([Label(3, "a", "s")])
    labels.save(tmp_path / "one")
    (tmp_path / "one" / "card.json").write_text('{"l0": 5.0, "sha256": {}}')
    copy = catalogue.load(convert(tmp_path / "one", tmp_path / "two", "dictionary_learning"))
    assert copy.statistics is not None
    assert copy.statistics.value(3, "max") == original.statistics.value(3, "max")
    assert copy.labels == labels
    assert copy.card is not None
    assert copy.card["l0"] == 5
    assert set(copy.card["sha256"]) == {"ae.pt", "config.json", "features.safetensors"}


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    catalogue.save(tiny.dictionary(), tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "mine.txt").write_text("keep")
    with pytest.raises(DictionaryError, match="not empty"):
        convert(tmp_path / "one", tmp_path / "two", "saelens")
    assert [p.name for p in (tmp_path / "two").iterdir()] == ["mine.txt"]
    with pytest.raises(DictionaryError, match="is a file"):
        convert(tmp_path / "one", tmp_path / "two" / "mine.txt", "saelens")
    with pytest.raises(DictionaryError, match="formats: saelens, sparsify, dictionary_learning"):
        convert(tmp_path / "one", tmp_path / "three", "onnx")
    catalogue.save(tiny.dictionary("resid_post.2"), tmp_path / "one")
    convert(tmp_path / "one", tmp_path / "two", "saelens", overwrite=True)
    assert catalogue.load(tmp_path / "two").config.hookpoint == "resid_post.2"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    catalogue.save(tiny.dictionary(), tmp_path / "one")
    before = convert(tmp_path / "one", tmp_path / "two", "saelens")
    catalogue.save(tiny.dictionary(architecture="abstopk"), tmp_path / "one")
    with pytest.raises(FormatError):
        convert(tmp_path / "one", before, "sparsify", overwrite=True)
    assert catalogue.load(before).architecture == "jumprelu"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_converting_a_folder_onto_itself(tmp_path: Path, x: Tensor) -> None:
    x = torch.cat([x, x, x, x], dim=1)
    original = tiny.dictionary(architecture="topk")
    catalogue.save(original, tmp_path / "one")
    copy = catalogue.load(convert(tmp_path / "one", tmp_path / "one", "sparsify", overwrite=True))
    torch.testing.assert_close(copy.reconstruct(x), original.reconstruct(x), atol=1e-5, rtol=1e-5)
    assert replace(copy.config, metadata=()) == original.config
