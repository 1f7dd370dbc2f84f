"""SAELens's matching pursuit: `W_dec` [m, d], `b_dec` [d], and how long to go on.

The decoder bias is added back only if it was subtracted (`apply_b_dec_to_input`), so a bias that is
not used is 0 here. Source: sae_lens 6.54.12, `saes/matching_pursuit_sae.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dictionaries.architectures import MatchingPursuit
from dictionaries.errors import FormatError
from dictionaries.files.tensors import SafeTensors, read_json, whole_number
from dictionaries.formats.saelens.config import SaelensConfig

NAME = "matching_pursuit"
TENSORS = ("W_dec", "b_dec")


def read(folder: Path, cfg: SaelensConfig, file: SafeTensors) -> MatchingPursuit:
    """Load it. Raises `FormatError` for a damaged file, or inputs that were scaled or centred."""
    if cfg.scaled or cfg.centred:
        raise FormatError(
            f"{cfg.path}: matching pursuit of scaled or centred inputs can't be read; fold them in"
        )
    file.expect(TENSORS)
    file.check("W_dec", (cfg.d_sae, cfg.d_in))
    file.check("b_dec", (cfg.d_in,))
    W_dec, b_dec = file.whole("W_dec"), file.whole("b_dec")
    said = read_json(cfg.path)
    if said.get("max_iterations") is None:
        said["max_iterations"] = cfg.d_in
    threshold = said.get("residual_threshold", 1e-2)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or threshold < 0:
        raise FormatError(f"{cfg.path} says residual_threshold = {threshold!r}, expected 0 or more")
    return MatchingPursuit(
        W_dec.T,
        torch.zeros(cfg.d_sae),
        W_dec,
        b_dec if cfg.subtracts_b_dec else torch.zeros_like(b_dec),
        cfg.canonical(cfg.d_sae),
        folder.name,
        steps=whole_number(said, "max_iterations", cfg.path),
        residual_threshold=float(threshold),
        stops_on_repeat=bool(said.get("stop_on_duplicate_support", True)),
    )


def written(dictionary: MatchingPursuit) -> dict[str, Any]:
    """What cfg.json says of it alone."""
    return {
        "apply_b_dec_to_input": True,
        "residual_threshold": dictionary.residual_threshold,
        "max_iterations": dictionary.steps,
        "stop_on_duplicate_support": dictionary.stops_on_repeat,
    }
