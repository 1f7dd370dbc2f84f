"""SAELens's cfg.json, of both generations, as one frozen value.

Since 6.0 what describes the model is under `metadata`; before, everything is flat and some keys
have other names and defaults. Source: sae_lens 6.54.12, `loading/pretrained_sae_loaders.py`,
`handle_pre_6_0_config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.config import NORMALISATIONS, DictionaryConfig
from dictionaries.errors import FormatError
from dictionaries.files.tensors import read_json, whole_number
from dictionaries.formats.saelens.keys import TANH_RELU, check_keys
from dictionaries.sites import from_transformer_lens, in_residual_space

_PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
TENSORS: dict[str, tuple[str, ...]] = {
    "standard": _PLAIN,
    "topk": _PLAIN,
    "abstopk": _PLAIN,
    "jumprelu": (*_PLAIN, "threshold"),
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"),
    "transcoder": _PLAIN,
    "skip_transcoder": (*_PLAIN, "W_skip"),
    "jumprelu_transcoder": (*_PLAIN, "threshold"),
    "jumprelu_skip_transcoder": (*_PLAIN, "threshold", "W_skip"),
    "matching_pursuit": ("W_dec", "b_dec"),
    "temporal": ("W_dec", "b_dec"),
    "batchtopk": (*_PLAIN, "topk_threshold"),
    "matryoshka_batchtopk": (*_PLAIN, "topk_threshold"),
}
"""Architecture -> its tensors; temporal has attention besides. The last two are of training alone:
a finished one is saved as jumprelu."""

_RENAMED = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index"}
_OF_THE_FILE = {
    "architecture", "activation_fn_str", "activation_fn_kwargs", "apply_b_dec_to_input", "d_in",
    "d_sae", "device", "dtype", "finetuning_scaling_factor", "normalize_activations",
    "reshape_activations",
}  # fmt: skip
"""Keys of the flat generation that are not about the model or the training."""
_MOVES_ATTN_Z = ("fold_value_biases", "refactor_factored_attn_matrices")
_BY_A_CONSTANT = "constant_scalar_rescale"
_SCALED = (True, "expected_average_only_in", _BY_A_CONSTANT)


@dataclass(frozen=True)
class SaelensConfig:
    """What cfg.json says.

    tanh: whether activations go through tanh. k: of the TopK family.
    centred: trained on the residual minus its mean.
    scaled: trained on inputs times one number (`expected_average_only_in`, and temporal's
    `constant_scalar_rescale`); scale: which, if cfg.json says so.
    training: metadata's `training_architecture`.
    """

    path: Path
    architecture: str
    d_in: int
    d_sae: int
    d_out: int | None
    tanh: bool
    k: int | None
    subtracts_b_dec: bool
    rescales: bool
    normalisation: str
    scaled: bool
    scale: float | None
    centred: bool
    hookpoint: str | None
    hookpoint_out: str | None
    model: str | None
    metadata: dict[str, Any]

    @property
    def tensors(self) -> tuple[str, ...]:
        return TENSORS[self.architecture]

    def canonical(self, width: int) -> DictionaryConfig:
        """The same for `width` features of it."""
        return DictionaryConfig(
            d_in=self.d_in,
            width=width,
            hookpoint=self.hookpoint,
            model=self.model,
            normalisation=self.normalisation,
            d_out=self.d_out,
            hookpoint_out=self.hookpoint_out,
            metadata=tuple(self.metadata.items()),
        )


def read_config(path: Path) -> SaelensConfig:
    """Parse cfg.json. Raises `FormatError` for what it leaves open or gets wrong."""
    cfg = read_json(path)
    metadata = _metadata(cfg, path)
    architecture = _architecture(cfg, path)
    check_keys(cfg, architecture, path)
    transcodes = architecture.endswith("transcoder")
    hookpoint = from_transformer_lens(metadata.pop("hook_name", None))
    config = SaelensConfig(
        path=path,
        architecture=architecture,
        d_in=whole_number(cfg, "d_in", path),
        d_sae=whole_number(cfg, "d_sae", path),
        d_out=whole_number(cfg, "d_out", path) if transcodes else None,
        tanh=TANH_RELU in (cfg.get("activation_fn_str"), cfg.get("activation_fn")),
        k=_k(cfg, metadata, architecture, path),
        subtracts_b_dec=bool(cfg.get("apply_b_dec_to_input", True)) and not transcodes,
        rescales="topk" in architecture and bool(cfg.get("rescale_acts_by_decoder_norm")),
        normalisation=_normalisation(cfg, architecture, path),
        scaled=cfg.get("normalize_activations") in _SCALED,
        scale=cfg.get(
            "activation_normalization_factor"
            if cfg.get("normalize_activations") == _BY_A_CONSTANT
            else "norm_scaling_factor"
        ),
        centred=_pop_centring(metadata, hookpoint, path) and in_residual_space(hookpoint),
        hookpoint=hookpoint,
        hookpoint_out=from_transformer_lens(metadata.pop("hook_name_out", None)),
        model=metadata.pop("model_name", None),
        metadata=metadata,
    )
    if config.centred and config.normalisation == "constant_norm_rescale":
        raise FormatError(f"{path}: constant_norm_rescale of a centred residual can't be read")
    if config.scaled and transcodes:
        raise FormatError(f"{path}: a transcoder of scaled inputs can't be read")
    return config


def _metadata(cfg: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the file says of the model and the training, under the names since 6.0."""
    metadata = cfg.get("metadata")
    if metadata is None:
        flat = {_RENAMED.get(name, name): value for name, value in cfg.items()}
        metadata = {name: value for name, value in flat.items() if name not in _OF_THE_FILE}
    if not isinstance(metadata, dict):
        raise FormatError(f"{path} has metadata that is no JSON object")
    for name in ("hook_name", "hook_name_out", "model_name"):
        if not isinstance(metadata.get(name), str | None):
            raise FormatError(f"{path} says {name} = {metadata[name]!r}, expected a name")
    if metadata.get("hook_head_index") is not None:
        raise FormatError(f"{path}: a dictionary of one attention head alone can't be placed")
    return dict(metadata)


def _architecture(cfg: dict[str, Any], path: Path) -> str:
    architecture = cfg.get("architecture", "standard")
    if "topk" in (cfg.get("activation_fn_str"), cfg.get("activation_fn")):
        return "topk"
    if not isinstance(architecture, str) or architecture not in TENSORS:
        raise FormatError(
            f"{path} says architecture {architecture!r}; allowed: {', '.join(TENSORS)}"
        )
    return architecture


def _k(cfg: dict[str, Any], metadata: dict[str, Any], architecture: str, path: Path) -> int | None:
    """Of TopK, or of the BatchTopK that a file is a checkpoint of or was trained as.

    BatchTopK's is an average, which need not be whole: then it's left to the metadata.
    """
    if "batchtopk" in architecture:
        return _average(cfg, path)
    if "topk" in architecture:
        most = whole_number(cfg, "d_sae", path)
        kwargs = cfg.get("activation_fn_kwargs")
        holder = kwargs if isinstance(kwargs, dict) and "k" in kwargs else cfg
        return whole_number(holder, "k", path, most=most)
    if architecture != "jumprelu" or "batchtopk" not in str(metadata.get("training_architecture")):
        return None
    details = metadata.get("training_architecture_details")
    return _average(details if isinstance(details, dict) else {}, path)


def _average(values: dict[str, Any], path: Path) -> int | None:
    k = values.get("k")
    if not isinstance(k, float):
        return whole_number(values, "k", path)
    if not 0 < k < float("inf"):
        raise FormatError(f"{path} says k = {k}, expected a positive number")
    return int(k) if k.is_integer() else None


def _pop_centring(metadata: dict[str, Any], hookpoint: str | None, path: Path) -> bool:
    """Whether the residual was centred in training. Once folded it isn't said any more."""
    kwargs = metadata.get("model_from_pretrained_kwargs")
    if not isinstance(kwargs, dict):
        return False
    moved = [key for key in _MOVES_ATTN_Z if kwargs.get(key)]
    if moved and (hookpoint or "").startswith("attn_z"):
        raise FormatError(f"{path} says {moved[0]}, so its attn_z is not the model's own")
    if not kwargs.get("center_writing_weights"):
        return False
    plain = {name: value for name, value in kwargs.items() if name != "center_writing_weights"}
    metadata["model_from_pretrained_kwargs"] = plain
    return True


def _normalisation(cfg: dict[str, Any], architecture: str, path: Path) -> str:
    said = cfg.get("normalize_activations")
    if said == _BY_A_CONSTANT and architecture != "temporal":
        raise FormatError(f"{path} says normalize_activations {said!r}, which temporal alone has")
    if said in (None, False, *_SCALED):
        return "none"
    if said not in NORMALISATIONS:
        allowed = ", ".join((*NORMALISATIONS, "expected_average_only_in"))
        raise FormatError(f"{path} says normalize_activations {said!r}; allowed: {allowed}")
    return str(said)
