"""Cases that come from elsewhere: exports of training classes, scaled inputs, old layouts."""

from __future__ import annotations

import math
from typing import Any

import torch
from saelens_inputs import D_IN, D_SAE, K
from saelens_writer import Writer
from safetensors.torch import load_file


def write_exports(writer: Writer) -> None:
    """Training classes through ``save_inference_model``."""
    sae = writer.exported(
        "topk_exported",
        "topk",
        "TopKTrainingSAE exported: norms folded into W_enc and b_enc, the rescale flag stays true",
        k=K,
    )
    expected = load_file(writer.out / "topk_exported" / "expected.safetensors")
    torch.testing.assert_close(sae.encode(writer.x), expected["features"])
    torch.testing.assert_close(sae(writer.x), expected["reconstruction"])
    writer.exported(
        "batchtopk_exported",
        "batchtopk",
        "BatchTopKTrainingSAE exported as jumprelu: norms folded, one threshold for all (1.25)",
        k=K,
    )
    writer.exported(
        "batchtopk_exported_no_rescale",
        "batchtopk",
        "BatchTopKTrainingSAE without rescale exported as jumprelu: norms stay in W_dec",
        k=K,
        rescale_acts_by_decoder_norm=False,
    )
    writer.exported(
        "matryoshka_exported",
        "matryoshka_batchtopk",
        "MatryoshkaBatchTopKTrainingSAE exported as jumprelu; widths only in the metadata",
        k=K,
        matryoshka_widths=[6, 12, D_SAE],
    )


def write_expected_average(writer: Writer) -> None:
    """normalize_activations = expected_average_only_in: the scale is not in cfg.json.

    s = sqrt(d_in) / E|x| is estimated on the activations. sae-lens trains on ``s * x`` and at the
    end folds s: W_enc *= s, W_dec /= s, b_dec /= s, b_enc unchanged. A file saved before that (a
    checkpoint, an old release) still says ``expected_average_only_in``. ``load_from_disk`` then
    gives an SAE that applies no scale at all, without a warning; only ``from_pretrained`` folds,
    with the ``norm_scaling_factor`` of pretrained_saes.yaml.
    """
    from sae_lens import SAE
    from sae_lens.training.activation_scaler import ActivationScaler

    x = writer.x
    scaler = ActivationScaler()
    scaler.estimate_scaling_factor(D_IN, iter([x]), n_batches_for_norm_estimate=1)
    scale = scaler.scaling_factor
    assert scale is not None
    assert math.isclose(scale, D_IN**0.5 / x.norm(dim=-1).mean().item())

    case = "standard_expected_average"
    unfolded, _ = writer.build(case, "standard", normalize_activations="expected_average_only_in")
    unfolded.save_model(writer.out / case)
    scaler.save(str(writer.out / case / "activation_scaler.json"))

    folded = SAE.load_from_disk(writer.out / case).eval()
    folded.fold_activation_norm_scaling_factor(scale)  # the fold that is meant
    features = folded.encode(x)
    torch.testing.assert_close(features, unfolded.encode(scale * x))
    reconstruction = folded.decode(features)
    torch.testing.assert_close(reconstruction, unfolded.decode(features) / scale)
    writer.record(
        case,
        "unfolded; features and reconstruction are load_from_disk's (no scale applied), *_folded "
        "are the intended ones, with scaling_factor from activation_scaler.json",
        extra={"features_folded": features, "reconstruction_folded": reconstruction},
    )
    folded.save_model(writer.out / f"{case}_folded")
    writer.record(f"{case}_folded", f"the weights of {case} after the fold; cfg says none")

    def fold(sae: Any) -> None:
        sae.fold_activation_norm_scaling_factor(scale)
        assert math.isclose(sae.topk_threshold.item(), 1.25 / scale)

    writer.exported(
        "batchtopk_exported_folded",
        "batchtopk",
        "expected_average_only_in folded before the export: with rescale the threshold is /= s",
        prepare=fold,
        k=K,
        normalize_activations="expected_average_only_in",
    )


def write_old(writer: Writer) -> None:
    """The flat cfg.json generations before 6.0."""
    first = {
        "model_name": "gpt2-small",
        "hook_point": "blocks.3.hook_resid_pre",
        "hook_point_layer": 3,
        "hook_point_head_index": None,
        "dataset_path": "Skylion007/openwebtext",
        "is_dataset_tokenized": False,
        "context_size": 128,
        "use_cached_activations": False,
        "d_in": D_IN,
        "store_batch_size": 32,
        "device": "mps",
        "seed": 42,
        "dtype": "torch.float32",
        "expansion_factor": D_SAE // D_IN,
        "l1_coefficient": 8e-05,
        "d_sae": D_SAE,
    }
    writer.old(
        "old_standard",
        "standard",
        "first generation: hook_point, no architecture, no apply_b_dec_to_input (true), "
        "dtype torch.float32, device mps, weights with scaling_factor of ones",
        first,
        extra={"scaling_factor": torch.ones(D_SAE)},
    )
    second = {
        "architecture": "standard",
        "d_in": D_IN,
        "d_sae": D_SAE,
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "context_size": 128,
        "model_name": "gpt2-small",
        "hook_point": "blocks.3.hook_resid_pre",
        "hook_point_layer": 3,
        "hook_point_head_index": None,
        "prepend_bos": True,
        "dataset_path": "Skylion007/openwebtext",
        "dataset_trust_remote_code": True,
        "normalize_activations": False,
        "dtype": "float32",
        "device": "cpu",
        "sae_lens_training_version": "3.18.2",
        "neuronpedia_id": None,
        "model_from_pretrained_kwargs": {},
    }
    writer.old(
        "old_topk",
        "topk",
        "architecture standard, but activation_fn_str topk with activation_fn_kwargs.k; "
        "normalize_activations is a bool",
        second,
        k=K,
    )
    writer.old(
        "old_jumprelu",
        "jumprelu",
        "5.x: architecture jumprelu, hook_name, seqpos_slice, b_dec not subtracted; ties",
        {
            "architecture": "jumprelu",
            "d_in": D_IN,
            "d_sae": D_SAE,
            "activation_fn_str": "relu",
            "activation_fn_kwargs": {},
            "apply_b_dec_to_input": False,
            "finetuning_scaling_factor": False,
            "context_size": 128,
            "model_name": "gpt2-small",
            "model_class_name": "HookedTransformer",
            "hook_name": "blocks.3.hook_resid_pre",
            "hook_layer": 3,
            "hook_head_index": None,
            "prepend_bos": True,
            "dataset_path": "Skylion007/openwebtext",
            "dataset_trust_remote_code": True,
            "normalize_activations": "none",
            "dtype": "float32",
            "device": "cuda",
            "sae_lens_training_version": "5.4.1",
            "sae_lens_version": "5.4.1",
            "seqpos_slice": [None],
            "neuronpedia_id": None,
            "model_from_pretrained_kwargs": {},
        },
        ties=True,
        apply_b_dec_to_input=False,
    )
