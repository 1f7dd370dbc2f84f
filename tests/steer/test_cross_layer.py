"""Cross-layer transcoders: a feature's edit reaches every site that it writes, by Δf · W_dec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import steer
from dictionaries.base import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.formats import cross_layer, load_folder
from steer import engine
from tests import plain, tiny
from tests.plain import PlainEdit, PlainTranscoder, path_of
from tests.tiny import LAYERS, PROMPTS, WIDTH, D

CONFIG = {
    "model_name": "tiny",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
EDITS = [steer.Clamp(5, 3.0), steer.Scale(9, 3.0, positions="1:"), steer.Ablate(20)]
FORMULAE = [
    PlainEdit(5, "clamp", 3.0),
    PlainEdit(9, "scale", 3.0, lambda position, prompt: position >= 1),
    PlainEdit(20, "ablate"),
]


def tensors(layer: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(layer)

    def n(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    encoder = {"W_enc": n(WIDTH, D), "b_enc": n(WIDTH), "b_dec": n(D), "threshold": n(WIDTH).abs()}
    decoder = {f"W_dec_{layer}": n(WIDTH, LAYERS - layer, D) / D**0.5}
    return {f"{name}_{layer}": tensor for name, tensor in encoder.items()}, decoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All blocks of one, in the published layout."""
    place = tmp_path / "clt"
    place.mkdir()
    for layer in range(LAYERS):
        for kind, found in zip(("enc", "dec"), tensors(layer), strict=True):
            save_file(found, place / f"W_{kind}_{layer}.safetensors")
    (place / "config.yaml").write_text(json.dumps(CONFIG))
    return place


def interventions(parts: tuple[Dictionary, ...], **options: Any) -> list[steer.Intervention]:
    return [steer.Intervention(part.name, EDITS, **options) for part in parts]


@pytest.mark.parametrize("layer", range(LAYERS))
def test_it_is_read_as_a_transcoder_for_each_site(folder: Path, layer: int) -> None:
    parts = cross_layer.read(folder, layer)
    encoder, decoder = tensors(layer)
    assert [part.name for part in parts] == [f"clt:{layer}->{m}" for m in range(layer, LAYERS)]
    x = torch.randn(7, D, generator=torch.Generator().manual_seed(9))
    pre = x @ encoder[f"W_enc_{layer}"].T + encoder[f"b_enc_{layer}"]
    expected = pre.relu() * (pre > encoder[f"threshold_{layer}"])
    for step, part in enumerate(parts):
        assert part.config.hookpoint == f"mlp_in.{layer}"
        assert part.config.hookpoint_out == f"mlp_out.{layer + step}"
        torch.testing.assert_close(part.encode(x)[0], expected)
        assert torch.equal(part.W_dec, decoder[f"W_dec_{layer}"][:, step])
    some = cross_layer.read(folder, layer, features=[5, 9])
    assert torch.equal(some[-1].W_dec, parts[-1].W_dec[[5, 9]])


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_every_written_site_moves_by_the_change_times_its_row(
    family: str, layer: int, folder: Path
) -> None:
    model, parts = tiny.tiny_model(family), cross_layer.read(folder, layer)
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans(interventions(parts), parts)
    ours, records = engine.logits(model.nn, ids, model.span(ids, mask), plans)
    sites = [
        PlainTranscoder(
            path_of(family, str(part.config.hookpoint)),
            path_of(family, str(part.config.hookpoint_out)),
            part,
            FORMULAE,
        )
        for part in parts
    ]
    theirs = plain.logits(tiny.plain_model(family), ids, mask, sites)
    real = mask.bool()
    torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=1e-4)
    first = records[0].after - records[0].before
    for part, record in zip(parts, records, strict=True):
        assert torch.equal(record.after - record.before, first)  # one reading, at one clean site
        moved = (first @ part.W_dec[[5, 9, 20]]).norm(dim=-1)
        torch.testing.assert_close(record.delta_norm, moved, atol=1e-4, rtol=1e-4)
    assert first[real].abs().max() > 0.1


def test_generation_says_what_it_did_at_each_site(folder: Path, llama: steer.Model) -> None:
    parts = cross_layer.read(folder, 0)
    runs = [
        llama.generate(
            PROMPTS[0], interventions(parts), dictionaries=parts, temperature=0,
            max_new_tokens=4, use_cache=use, if_silent="ignore",
        )
        for use in (True, False)
    ]  # fmt: skip
    assert runs[0].ids == runs[1].ids
    named = [entry.dictionary for entry in runs[0].receipt]
    assert named == [part.name for part in parts for _ in EDITS]


@pytest.mark.parametrize("error", ["drop", "frozen"])
def test_the_error_of_a_part_is_not_known(error: Any, folder: Path, llama: steer.Model) -> None:
    parts = cross_layer.read(folder, 1)
    with pytest.raises(steer.InterventionError, match=r"mlp_out\.1 gets"):
        llama.plans(interventions(parts[:1], error=error), parts, clean=slice(0, 1))
    with pytest.raises(DictionaryError, match="part of"):
        parts[0].reconstruct(torch.zeros(2, D))
    with pytest.raises(FormatError, match="cross-layer"):
        parts[0].save_pretrained(folder / "copy")


def test_the_folder_itself_is_no_dictionary(folder: Path) -> None:
    with pytest.raises(FormatError, match=r"cross_layer\.read"):
        load_folder(folder)


def spoilt(folder: Path, how: str) -> None:
    encoder, decoder = tensors(1)
    match how:
        case "no block":
            (folder / "W_dec_1.safetensors").unlink()
        case "cut":
            path = folder / "W_enc_1.safetensors"
            path.write_bytes(path.read_bytes()[:200])
        case "flat":
            decoder = {"W_dec_1": decoder["W_dec_1"].flatten(1)}
        case "turned":
            encoder["W_enc_1"] = encoder["W_enc_1"].T.contiguous()
        case "nan":
            decoder["W_dec_1"][0, 0, 0] = torch.nan
        case "negative":
            encoder["threshold_1"] = -encoder["threshold_1"]
        case "extra":
            encoder["evil"] = torch.zeros(1)
        case "config":
            (folder / "config.yaml").write_text("feature_input_hook: [1]")
        case "yaml":
            (folder / "config.yaml").write_text("!!python/object/apply:os.system ['touch trace']")
    if how not in ("no block", "cut", "config", "yaml"):
        save_file(encoder, folder / "W_enc_1.safetensors")
        save_file(decoder, folder / "W_dec_1.safetensors")


@pytest.mark.parametrize(
    "how", ["no block", "cut", "flat", "turned", "nan", "negative", "extra", "config", "yaml"]
)
def test_damaged_files(how: str, folder: Path) -> None:
    spoilt(folder, how)
    with pytest.raises(FormatError):
        cross_layer.read(folder, 1)
