"""Write the SAELens golden files: tiny seeded dictionaries saved by sae-lens itself.

Run it with an environment of its own (sae-lens is no dependency of the library)::

    python3 -m venv venv-saelens
    venv-saelens/bin/pip install torch==2.13.0 sae-lens==6.54.12
    venv-saelens/bin/python tests/golden/make_saelens.py [OUT]

OUT defaults to ``tests/golden/saelens``. Every case is a folder ``OUT/<case>/``:

``cfg.json``, ``sae_weights.safetensors``
    The published inference layout, written by sae-lens's ``save_model`` (inference classes) or
    ``save_inference_model`` (training classes). The ``old_*`` cases are hand-written in the flat
    layout that sae-lens wrote before 6.0; sae-lens only reads them.
``expected.safetensors``
    ``x`` [16, 8], ``features`` = ``sae.encode(x)``, ``reconstruction`` = ``sae.decode(features)``,
    computed by sae-lens on the dictionary read back with ``SAE.load_from_disk``. Where
    ``sae.forward(x)`` is something else (skip transcoders add ``x @ W_skip.T``, temporal adds the
    predicted codes) it is there too, as ``forward``. ``standard_expected_average`` also has
    ``features_folded`` and ``reconstruction_folded``. The safetensors metadata key ``about`` is
    JSON with ``note``, ``loaded_as`` (sae-lens's architecture) and, in the tie cases, ``ties``: the
    [row, feature] pairs whose pre-activation equals the threshold exactly (in float32, in any order
    of summation), so that the feature is inactive.

Rows of ``x``: 0-3 are multiples of 1/16, 4 is constant 0.5 (zero variance), 15 is 50 times row 14.
All other rows are standard normal. ``OUT/VERSIONS.json`` has the versions and one line per case.

Two runs on one machine write the same bytes. sae-lens's ``save_inference_model`` writes the keys of
cfg.json in the order of a Python set, so the script restarts itself with PYTHONHASHSEED=0.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shutil
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

D_IN, D_OUT, D_SAE, K = 8, 6, 24, 5
N_ROWS, N_DYADIC, CONSTANT_ROW = 16, 4, 4
SEED = 20240607
DISTRIBUTIONS = ("sae-lens", "torch", "transformer-lens", "transformers", "safetensors", "numpy")


def make_inputs() -> Tensor:
    """The rows that every case is evaluated on (see the module docstring)."""
    x = torch.randn(N_ROWS, D_IN, generator=torch.Generator().manual_seed(SEED))
    x[:N_DYADIC] = (x[:N_DYADIC] * 16).round() / 16
    x[CONSTANT_ROW] = 0.5
    x[-1] = 50 * x[-2]
    return x


def make_weights(case: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Seeded values for the named parameters; the decoder rows have norms from 0.3 to 3."""
    generator = torch.Generator().manual_seed(SEED + zlib.crc32(case.encode()))
    scales = {"W_enc": 0.4, "b_dec": 0.5}
    weights: dict[str, Tensor] = {}
    for name in sorted(shapes):
        if name == "topk_threshold":
            weights[name] = torch.tensor(1.25, dtype=torch.double)
        elif name == "threshold":
            weights[name] = torch.empty(shapes[name]).uniform_(0.05, 1.5, generator=generator)
        elif name == "W_dec":
            rows = torch.randn(shapes[name], generator=generator)
            norms = torch.empty(shapes[name][0], 1).uniform_(0.3, 3.0, generator=generator)
            weights[name] = rows / rows.norm(dim=-1, keepdim=True) * norms
        else:
            weights[name] = torch.randn(shapes[name], generator=generator) * scales.get(name, 0.3)
    return weights


def add_ties(weights: dict[str, Tensor], x: Tensor, subtract_b_dec: bool) -> list[list[int]]:
    """Make some pre-activations equal to their threshold exactly; return the [row, feature] pairs.

    The encoder and the biases become multiples of a power of two, so that on the dyadic rows of
    ``x`` every product and every partial sum is a float32: the pre-activation has no rounding,
    whatever the order of summation and whether or not b_dec is folded into b_enc.
    """
    for name, grid in (("W_enc", 16), ("b_dec", 16), ("b_enc", 256)):
        weights[name] = (weights[name] * grid).round() / grid
    rows = x - weights["b_dec"] if subtract_b_dec else x
    pre = rows @ weights["W_enc"] + weights["b_enc"]
    exact = rows[:N_DYADIC].double() @ weights["W_enc"].double() + weights["b_enc"].double()
    assert torch.equal(pre[:N_DYADIC].double(), exact), "the dyadic rows are rounded"
    ties: list[list[int]] = []
    used: set[int] = set()
    for row in range(N_DYADIC):
        free = [i for i in range(D_SAE - 2) if pre[row, i] > 0.25 and i not in used][:2]
        for feature in free:
            weights["threshold"][feature] = pre[row, feature]
            ties.append([row, feature])
        used.update(free)
    # Threshold 0 is a plain ReLU, and so is a negative one in sae-lens's inference classes (its
    # training class would let the negative pre-activations through).
    weights["threshold"][D_SAE - 2] = 0.0
    weights["threshold"][D_SAE - 1] = -0.5
    assert ((pre[:, -1] < 0) & (pre[:, -1] > -0.5)).any(), "no row tests the negative threshold"
    assert len(ties) >= 4, "too few ties"
    return ties


def shapes_of(sae: Any) -> dict[str, tuple[int, ...]]:
    """The parameters and buffers that sae-lens has for this class."""
    return {name: tuple(value.shape) for name, value in sae.state_dict().items()}


def metadata(**extra: Any) -> Any:
    """Metadata as sae-lens's own training runner records it."""
    from sae_lens.saes.sae import SAEMetadata

    values: dict[str, Any] = {
        "model_name": "gpt2-small",
        "model_class_name": "HookedTransformer",
        "hook_name": "blocks.3.hook_resid_pre",
        "hook_head_index": None,
        "context_size": 128,
        "prepend_bos": True,
        "model_from_pretrained_kwargs": {},
        "dataset_path": "Skylion007/openwebtext",
    }
    return SAEMetadata(**{**values, **extra})


@dataclass
class Writer:
    """Builds, saves, reads back and records the cases."""

    out: Path
    x: Tensor
    notes: dict[str, str] = field(default_factory=dict)

    def build(self, case: str, architecture: str, **options: Any) -> tuple[Any, list[list[int]]]:
        """An inference-class dictionary with seeded weights, and its ties."""
        from sae_lens.registry import get_sae_class

        ties_wanted = options.pop("ties", False)
        cls, config_cls = get_sae_class(architecture)
        options.setdefault("metadata", metadata())
        sae = cls(config_cls(d_in=D_IN, d_sae=D_SAE, **options))
        weights = make_weights(case, shapes_of(sae))
        ties = add_ties(weights, self.x, sae.cfg.apply_b_dec_to_input) if ties_wanted else []
        if architecture == "matching_pursuit":  # rows longer than sqrt(2) make it diverge
            norms = weights["W_dec"].norm(dim=-1, keepdim=True)
            weights["W_dec"] = weights["W_dec"] / norms * (0.8 + 0.1 * norms)
        sae.load_state_dict(weights)
        return sae.eval(), ties

    def build_training(self, case: str, architecture: str, **options: Any) -> Any:
        """A training-class dictionary with seeded weights."""
        from sae_lens.registry import get_sae_training_class

        cls, config_cls = get_sae_training_class(architecture)
        sae = cls(config_cls(d_in=D_IN, d_sae=D_SAE, metadata=metadata(), **options))
        sae.load_state_dict(make_weights(case, shapes_of(sae)))
        return sae.eval()

    def inference(self, case: str, architecture: str, note: str, **options: Any) -> None:
        """Save an inference class with ``save_model`` and record what sae-lens computes."""
        sae, ties = self.build(case, architecture, **options)
        sae.save_model(self.out / case)
        loaded = self.record(case, note, ties=ties)
        x = self.input_for(loaded)
        assert torch.equal(sae.encode(x), loaded.encode(x)), case

    def exported(
        self,
        case: str,
        architecture: str,
        note: str,
        prepare: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> Any:
        """Save a training class with ``save_inference_model`` and record what sae-lens reads."""
        sae = self.build_training(case, architecture, **options)
        if prepare is not None:
            prepare(sae)
        sae.save_inference_model(self.out / case)
        self.record(case, note)
        return sae

    def old(
        self,
        case: str,
        architecture: str,
        note: str,
        cfg: dict[str, Any],
        extra: dict[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        """Write a folder in the flat layout of sae-lens < 6.0 and record what sae-lens reads."""
        sae, ties = self.build(case, architecture, **options)
        folder = self.out / case
        folder.mkdir(parents=True)
        (folder / "cfg.json").write_text(json.dumps(cfg))
        save_file({**sae.state_dict(), **(extra or {})}, folder / "sae_weights.safetensors")
        loaded = self.record(case, note, ties=ties)
        assert loaded.cfg.architecture() == architecture, case
        assert torch.equal(sae.encode(self.x), loaded.encode(self.x)), case

    def input_for(self, sae: Any) -> Tensor:
        """``x``, as two sequences of 8 tokens for the one class that attends over a context."""
        return self.x.reshape(2, 8, D_IN) if sae.cfg.architecture() == "temporal" else self.x

    def record(
        self,
        case: str,
        note: str,
        ties: list[list[int]] | None = None,
        extra: dict[str, Tensor] | None = None,
    ) -> Any:
        """Load the folder with sae-lens, check that the case is stable, write the expectation."""
        from sae_lens import SAE

        folder = self.out / case
        sae = SAE.load_from_disk(folder).eval()
        x = self.input_for(sae)
        features = sae.encode(x)
        tensors = {"x": x, "features": features, "reconstruction": sae.decode(features)}
        forward = sae(x)
        if not torch.equal(forward, tensors["reconstruction"]):
            tensors["forward"] = forward
        for row, feature in ties or []:
            assert features[row, feature] == 0, f"{case}: a tie is active"
        self.check_stable(case, folder, x, features, ties or [])
        about: dict[str, Any] = {"note": note, "loaded_as": sae.cfg.architecture()}
        if ties:
            about["ties"] = ties
        tensors = {name: value.contiguous() for name, value in {**tensors, **(extra or {})}.items()}
        assert all(value.isfinite().all() for value in tensors.values()), case
        # One metadata key: safetensors writes several in random order.
        path = folder / "expected.safetensors"
        save_file(tensors, path, metadata={"about": json.dumps(about)})
        self.notes[case] = note
        density = (features != 0).float().sum(-1).mean().item()
        print(f"{case:40} {sae.cfg.architecture():26} L0 {density:5.2f}  ties {len(ties or [])}")
        return sae

    def check_stable(
        self, case: str, folder: Path, x: Tensor, features: Tensor, ties: list[list[int]]
    ) -> None:
        """No feature but the ties may hang on rounding: float64 and 1e-5 noise keep the support."""
        from sae_lens import SAE

        exact = SAE.load_from_disk(folder, dtype="float64").eval()
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
        settled = torch.ones_like(features, dtype=torch.bool)
        for row, feature in ties:
            settled[row, feature] = False
        if exact.cfg.normalize_activations == "layer_norm":
            settled[CONSTANT_ROW] = False  # noise has no scale to be small against there
        support = features != 0
        assert torch.equal(exact.encode(x.double()) != 0, support), f"{case}: float64 differs"
        for sign in (1, -1):
            moved = exact.encode(x.double() * (1 + sign * 1e-5 * noise)) != 0
            assert torch.equal(moved & settled, support & settled), f"{case}: rounding decides"


def write_standard_and_topk(writer: Writer) -> None:
    """ReLU, top-k and their input normalisations."""
    writer.inference("standard", "standard", "ReLU; b_dec subtracted from the input")
    writer.inference(
        "standard_no_b_dec",
        "standard",
        "ReLU; b_dec not subtracted",
        apply_b_dec_to_input=False,
    )
    writer.inference("topk", "topk", "top-k of the pre-activations, then ReLU", k=K)
    writer.inference(
        "topk_large_k",
        "topk",
        "k beyond the positive pre-activations: fewer than k active; b_dec not subtracted",
        k=18,
        apply_b_dec_to_input=False,
    )
    writer.inference(
        "topk_rescale",
        "topk",
        "rescale_acts_by_decoder_norm with the norms still in W_dec: features are norm-scaled",
        k=K,
        rescale_acts_by_decoder_norm=True,
    )
    for normalize in ("constant_norm_rescale", "layer_norm"):
        note = f"input normalised per token ({normalize}) and the reconstruction put back"
        for architecture, options in (("standard", {}), ("topk", {"k": K})):
            writer.inference(
                f"{architecture}_{normalize}",
                architecture,
                note,
                normalize_activations=normalize,
                **options,
            )
    writer.inference(
        "abstopk",
        "abstopk",
        "top-k by magnitude, signed features (no ReLU)",
        k=K,
    )


def write_jumprelu_and_gated(writer: Writer) -> None:
    """Thresholds and gates."""
    ties = "ties (pre-activation == threshold is inactive), a zero and a negative threshold"
    writer.inference("jumprelu", "jumprelu", f"b_dec subtracted; {ties}", ties=True)
    writer.inference(
        "jumprelu_no_b_dec",
        "jumprelu",
        f"b_dec not subtracted (as Gemma Scope); {ties}",
        ties=True,
        apply_b_dec_to_input=False,
    )
    writer.inference("gated", "gated", "gate and magnitude paths; no b_enc")


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


def write_transcoders(writer: Writer) -> None:
    """Other output widths, and skip connections that only ``forward`` applies."""
    about = {"hook_name": "blocks.3.ln2.hook_normalized", "hook_name_out": "blocks.3.hook_mlp_out"}
    for architecture in (
        "transcoder",
        "skip_transcoder",
        "jumprelu_transcoder",
        "jumprelu_skip_transcoder",
    ):
        skip = "; x @ W_skip.T is only in forward" if "skip" in architecture else ""
        writer.inference(
            architecture,
            architecture,
            f"d_out 6, never subtracts b_dec{skip}",
            d_out=D_OUT,
            apply_b_dec_to_input=False,
            metadata=metadata(**about),
            ties="jumprelu" in architecture,
        )


def write_others(writer: Writer) -> None:
    """Classes that are no linear map, threshold and linear map."""
    writer.inference(
        "matching_pursuit",
        "matching_pursuit",
        "tied: only W_dec and b_dec; greedy pursuit, at most 4 steps",
        max_iterations=4,
    )
    writer.inference(
        "temporal",
        "temporal",
        "x is [2, 8, 8]; reconstruction decodes the novel codes only, forward adds the predicted",
        n_heads=2,
        bottleneck_factor=4,
        kval_topk=K,
        sae_diff_type="topk",
        tied_weights=True,
    )


def main() -> None:
    """Write every case and VERSIONS.json."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "saelens"
    if out.exists() and any(out.iterdir()):
        if not (out / "VERSIONS.json").is_file():
            sys.exit(f"{out} is not empty and was not written by this script")
        shutil.rmtree(out)
    writer = Writer(out, make_inputs())
    with torch.no_grad():
        write_standard_and_topk(writer)
        write_jumprelu_and_gated(writer)
        write_exports(writer)
        write_expected_average(writer)
        write_old(writer)
        write_transcoders(writer)
        write_others(writer)
    versions = {"python": platform.python_version()}
    versions.update({name: version(name) for name in DISTRIBUTIONS})
    about = {"made_by": "tests/golden/make_saelens.py", "seed": SEED, "versions": versions}
    text = json.dumps({**about, "cases": writer.notes}, indent=1)
    (out / "VERSIONS.json").write_text(text + "\n")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(writer.notes)} cases, {size / 1000:.0f} kB in {out}")
    assert size < 400_000


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, *sys.argv],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    main()
