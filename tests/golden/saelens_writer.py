"""Builds tiny dictionaries with sae-lens, saves them, and records what it computes when it reads
them back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from saelens_inputs import CONSTANT_ROW, D_IN, D_SAE, add_ties, make_weights
from safetensors.torch import save_file
from torch import Tensor


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
        read_from: Path | None = None,
    ) -> Any:
        """Load the folder with sae-lens, check that the case is stable, write the expectation.

        read_from: where what sae-lens reads is, if not in the case's own folder.
        """
        from sae_lens import SAE

        folder = read_from or self.out / case
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
        path = self.out / case / "expected.safetensors"
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
