"""Temporal dictionaries: by sae-lens's own files, and in their authors' layout, which it reads."""

from __future__ import annotations

import json
from typing import Any

import torch
from saelens_inputs import D_IN, D_SAE, K, make_weights
from saelens_writer import Writer, shapes_of
from safetensors.torch import save_file

_RELEASE = "temporal_release"
_CONF = """\
llm:
  dimin: {d_in}
sae:
  exp_factor: {times}
  n_heads: 2
  n_attn_layers: 1
  bottleneck_factor: 4
  sae_diff_type: topk
  kval_topk: {k}
  tied_weights: {tied}
  scaling_factor: 0.25
data:
  dtype: float32
"""


def write_temporal(writer: Writer) -> None:
    """Every option of the class; then the authors' layout, tied and not."""
    attention = {"n_heads": 2, "bottleneck_factor": 4}
    ranked: dict[str, Any] = {**attention, "kval_topk": K, "sae_diff_type": "topk"}
    said = "x is [2, 8, 8]; reconstruction decodes the novel codes only, forward adds the predicted"
    writer.inference("temporal", "temporal", said, tied_weights=True, **ranked)
    writer.inference(
        "temporal_untied_relu",
        "temporal",
        "two attention layers, an encoder of its own, no top-k; b_dec added, not subtracted",
        tied_weights=False,
        n_attn_layers=2,
        sae_diff_type="relu",
        apply_b_dec_to_input=False,
        **attention,
    )
    writer.inference(
        "temporal_no_b_dec",
        "temporal",
        "tied and not subtracted: then b_dec is not added either",
        apply_b_dec_to_input=False,
        **ranked,
    )
    writer.inference(
        "temporal_constant_scalar_rescale",
        "temporal",
        "inputs times 0.25, reconstructions over it",
        normalize_activations="constant_scalar_rescale",
        activation_normalization_factor=0.25,
        **ranked,
    )
    writer.inference(
        "temporal_constant_norm_rescale",
        "temporal",
        "inputs normalised per token",
        normalize_activations="constant_norm_rescale",
        **ranked,
    )
    for tied in (True, False):
        _write_release(writer, tied)


def _write_release(writer: Writer, tied: bool) -> None:
    """conf.yaml and latest_ckpt.safetensors, read by sae-lens's loader from this folder."""
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.registry import get_sae_class

    case = _RELEASE if tied else f"{_RELEASE}_untied"
    inside = f"{case}/layer_3/temporal"
    folder = writer.out / inside
    folder.mkdir(parents=True)
    conf = _CONF.format(d_in=D_IN, times=D_SAE // D_IN, k=K, tied=str(tied).lower())
    (folder / "conf.yaml").write_text(conf)
    loaders.hf_hub_download = lambda repo_id, filename, **_: str(writer.out / filename)
    cfg = loaders.get_temporal_sae_config_from_hf("none", inside, "cpu")
    cls, config_cls = get_sae_class("temporal")
    options = {k: v for k, v in cfg.items() if k not in ("architecture", "hook_name")}
    sae = cls(config_cls(**options))
    weights = make_weights(case, shapes_of(sae))
    ours = {"W_dec": "D", "b_dec": "b", "W_enc": "E"}
    stored = {ours.get(name, name): value for name, value in weights.items()}
    save_file(stored, folder / "latest_ckpt.safetensors")
    sae.load_state_dict(loaders.temporal_sae_huggingface_loader("none", inside)[1])
    x = writer.input_for(sae.eval())
    features = sae.encode(x)
    assert (features != 0).float().sum(-1).mean() > 1
    tensors = {"x": x, "features": features, "forward": sae(x)}
    note = "the authors' layout, read by sae-lens's temporal_sae_huggingface_loader"
    about = {"about": json.dumps({"note": note, "loaded_as": "temporal"})}
    save_file(
        {k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors", about
    )
    writer.notes[case] = note
    print(f"{case:40} temporal")
    assert torch.isfinite(tensors["forward"]).all()
