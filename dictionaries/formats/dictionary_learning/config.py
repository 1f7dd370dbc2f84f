"""dictionary_learning's config.json, and the site that it or the folder's name gives.

The site is `trainer.submodule_name` on the side that `buffer.io` says; only where neither is
there, it is the residual stream of `trainer.layer`. Old releases have no config and name a folder
after the site, `resid_out_layer3`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import read_json, whole_number
from dictionaries.sites import Side, from_module, is_sandwiched

_NAMED = re.compile(r"(resid_pre|resid_mid|resid_post|resid_out|attn_out|mlp_out|attn_z|mlp_in|"
                    r"mlp_hidden|resid|attn|mlp)_layer_?(\d+)")  # fmt: skip
_KINDS = {"resid_out": "resid_post", "resid": "resid_post", "attn": "attn_out", "mlp": "mlp_out"}
_INPUTS = {"resid_post": "resid_pre", "mlp_out": "mlp_in"}


_TRAINER = Keys(
    used=("dict_class", "k", "activation_dim", "dict_size", "lm_name", "submodule_name", "layer"),
    harmless=("trainer_class", "wandb_name", "device", "seed", "steps", "lr", "l1_penalty",
              "warmup_steps", "resample_steps", "sparsity_warmup_steps", "decay_start",
              "auxk_alpha", "threshold_beta", "threshold_start_step", "top_k_aux",
              "group_fractions", "group_weights", "group_sizes", "sparsity_function",
              "sparsity_penalty", "sparsity_coeff", "sparsity_coefficient", "p_start", "p_end",
              "anneal_start", "sparsity_queue_length", "n_sparsity_updates", "bandwidth",
              "target_l0", "lambda_warm_steps", "l0_penalty", "steps_before_annealing",
              "adaptive_sparsity_penalty", "sparsity_loss_queue_length", "weights_temperature",
              "gp_reg_coeff"),
)  # fmt: skip
"""What the trainers have written since 2024; that they train with is no matter."""
_BUFFER = Keys(
    used=("io",),
    harmless=("d_submodule", "layer", "n_ctxs", "ctx_len", "refresh_batch_size", "out_batch_size",
              "device"),
)  # fmt: skip
_KEYS = Keys(used=(), inside={"trainer": _TRAINER, "buffer": _BUFFER})


@dataclass(frozen=True)
class LearningConfig:
    """What config.json says; None where it says nothing."""

    dict_class: str | None = None
    k: int | None = None
    model: str | None = None
    hookpoint: str | None = None
    d_in: int | None = None
    width: int | None = None

    def canonical(self) -> dict[str, Any]:
        return {"model": self.model, "hookpoint": self.hookpoint}


def read_config(path: Path) -> LearningConfig:
    """Parse config.json, or take the site from the folder's name where there is none.

    Raises `FormatError` for a file that is damaged, or of a dictionary between two sites.
    """
    if not path.is_file():
        named = (_named(part, "out") for part in reversed(path.absolute().parent.parts))
        return LearningConfig(hookpoint=next((site for site in named if site), None))
    config = read_json(path)
    _KEYS.check(config, path)
    trainer, buffer = config.get("trainer"), config.get("buffer", {})
    if not isinstance(trainer, dict) or not isinstance(buffer, dict):
        raise FormatError(f"{path} lacks the object 'trainer' (and 'buffer')")
    io = buffer.get("io", "out")
    if io not in ("in", "out"):
        raise FormatError(f"{path} says io = {io!r}; allowed: in, out")
    k = trainer.get("k")
    model = _text(trainer, "lm_name", path)
    submodule = _text(trainer, "submodule_name", path)
    return LearningConfig(
        dict_class=_text(trainer, "dict_class", path),
        k=k if isinstance(k, int) and not isinstance(k, bool) else None,
        model=model,
        hookpoint=_site(submodule, trainer.get("layer"), io, model),
        d_in=_size(trainer, "activation_dim", path),
        width=_size(trainer, "dict_size", path),
    )


def _site(submodule: str | None, layer: object, io: str, model: str | None) -> str | None:
    if submodule is None:
        if not isinstance(layer, int):
            return None
        return f"resid_pre.{layer}" if io == "in" else f"resid_post.{layer}"
    side: Side = "input" if io == "in" else "output"
    return _named(submodule, io, model) or from_module(submodule, side, model)


def _named(text: str, io: str, model: str | None = None) -> str | None:
    """`mlp_out_layer_3`, `resid_out_layer3` -> `mlp_out.3`, `resid_post.3`.

    They stand for the outputs of modules, which are not what every model adds to its residual.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    kind = _KINDS.get(match[1], match[1])
    if io == "in":
        return f"{_INPUTS[kind]}.{match[2]}" if kind in _INPUTS else f"{text}:input"
    if kind in ("attn_out", "mlp_out") and is_sandwiched(model):
        return f"{text}:output"
    return f"{kind}.{match[2]}"


def _size(values: dict[str, Any], name: str, path: Path) -> int | None:
    return None if values.get(name) is None else whole_number(values, name, path)


def _text(values: dict[str, Any], name: str, path: Path) -> str | None:
    if not isinstance(values.get(name), str | None):
        raise FormatError(f"{path} says {name} = {values[name]!r}, expected a name")
    return values.get(name)
