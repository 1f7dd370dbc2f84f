"""`steer.load` puts weights where it is told, and the model is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from steer.edits import AddDirection
from tests.support import plain, tiny

Saved = Callable[[], Path]
EDIT = steer.Intervention("resid_post.1", [AddDirection(steer.Random(3), 2.0)])
BOTH = {
    **dict.fromkeys(("model.embed_tokens", "model.rotary_emb", "model.norm", "lm_head"), "cpu"),
    **{f"model.layers.{n}": "disk" if n % 2 else "cpu" for n in range(tiny.LAYERS)},
}


@pytest.mark.parametrize("places", ["disk", "auto", "cpu", BOTH], ids=str)
def test_a_model_is_the_same_wherever_it_lies(
    places: Any,
    model_folder: Saved,
    llama: steer.Model,
    tmp_path: Path,
    monkeypatch: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    model = steer.load(model_folder(), device_map=places)
    assert not caplog.records  # of accelerate, that weights are where they were asked to be
    on_disk = any(weight.device.type == "meta" for weight in model.module.parameters())
    assert on_disk == (places in ("disk", BOTH))
    ids, mask = model.tokenize([tiny.PROMPT])
    assert torch.equal(model.logits(ids, mask), llama.logits(ids, mask))
    placed, whole = (
        steer.ablation_sweep(each, tiny.PROMPT, tiny.dictionary()) for each in (model, llama)
    )
    assert placed.features == whole.features
    torch.testing.assert_close(placed.matrix(), whole.matrix(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
@pytest.mark.filterwarnings("ignore")
def test_packed_weights_are_edited_in_fp32(kind: str, tmp_path: Path) -> None:
    """What is added to the stream is the edit to a float's last bits, however weights are held."""
    pytest.importorskip("bitsandbytes")
    tiny.save_packable(tmp_path)
    model = steer.load(tmp_path, quantization=kind)
    module = model.module
    assert module.is_quantized
    ids, _ = model.tokenize([tiny.PROMPT])
    vector = torch.ones(64) / 8
    edit = AddDirection(steer.Vector(vector.tolist()), 3.0)
    intervention = steer.Intervention("resid_post.1", [edit])
    effect = steer.logit_effect(model, tiny.PROMPT, intervention, draws=0)
    handle = module.model.layers[1].register_forward_hook(lambda *given: given[2] + 3 * vector)
    edited = plain.logits(module, ids)[0, -1]
    handle.remove()
    clean = plain.logits(module, ids)[0, -1]
    torch.testing.assert_close(effect.delta_logit[0], edited - clean, atol=2e-3, rtol=1e-3)


def test_wrong_places(model_folder: Saved, llama: steer.Model) -> None:
    folder = model_folder()
    with pytest.raises(steer.ModelError, match="'everywhere' is unknown; allowed: auto"):
        steer.load(folder, device_map="everywhere")
    with pytest.raises(steer.ModelError, match="'3bit' is unknown; allowed: 4bit, 8bit"):
        steer.load(folder, quantization="3bit")
    with pytest.raises(steer.ModelError, match="not both"):
        steer.load(folder, device="cpu", device_map="auto")
    with pytest.raises(steer.ModelError, match="lies where it was loaded"):
        steer.load(llama.module, tokenizer=tiny.tokenizer(), device_map="auto")
