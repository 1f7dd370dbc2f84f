"""What a training run leaves on its way: `save_model` of training classes.

A BatchTopK of training ranks the batch that it is given; what it comes to alone is its inference
class, so that is what is recorded: the checkpoint read with `TrainingSAE.load_from_disk`, then
`save_inference_model`, then read as everyone does.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saelens_inputs import D_SAE, K
from saelens_writer import Writer
from safetensors.torch import load_file, save_file

_SCALE = 0.5


def write_checkpoints(writer: Writer) -> None:
    """BatchTopK and Matryoshka, rescaled and not, scaled and not; an older JumpReLU."""
    as_it_is = "as TrainingSAE.load_from_disk reads it, then save_inference_model"
    _write(writer, "batchtopk_checkpoint", "batchtopk", f"rescaled; {as_it_is}", k=K)
    _write(
        writer,
        "matryoshka_checkpoint",
        "matryoshka_batchtopk",
        f"not rescaled, a k that is no integer; {as_it_is}",
        k=K + 0.5,
        rescale_acts_by_decoder_norm=False,
        matryoshka_widths=[6, 12, D_SAE],
    )
    _write(
        writer,
        "batchtopk_checkpoint_scaled",
        "batchtopk",
        f"of inputs times {_SCALE}, which activation_scaler.json says; folded, then {as_it_is}",
        scale=_SCALE,
        k=K,
        normalize_activations="expected_average_only_in",
    )
    _write(writer, "topk_checkpoint", "topk", f"rescaled; {as_it_is}", k=K)
    _write(writer, "jumprelu_checkpoint", "jumprelu", f"with log_threshold; {as_it_is}", logs=True)


def _write(
    writer: Writer,
    case: str,
    architecture: str,
    note: str,
    scale: float | None = None,
    logs: bool = False,
    **options: Any,
) -> None:
    from sae_lens.saes.sae import TrainingSAE

    folder = writer.out / case
    writer.build_training(case, architecture, **options).save_model(folder)
    if logs:
        tensors = load_file(folder / "sae_weights.safetensors")
        tensors["log_threshold"] = tensors.pop("threshold").log()
        save_file(tensors, folder / "sae_weights.safetensors")
    if scale is not None:
        (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": scale}))
    read = TrainingSAE.load_from_disk(folder)
    if scale is not None:
        read.fold_activation_norm_scaling_factor(scale)
    with TemporaryDirectory() as exported:
        read.save_inference_model(exported)
        writer.record(case, note, read_from=Path(exported))
