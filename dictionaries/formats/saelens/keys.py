"""The keys of SAELens's cfg.json, of all its generations.

Since 6.0 it has the fields of one class, of inference or, in a checkpoint, of training, and
`metadata`, in which anyone may put anything: sae-lens computes with none of it but the sites and
the model's kwargs, which are read by name. Before, everything is flat, and training runs wrote
their whole config into the file; those are listed here as the releases from 0.0 on had them.
Source: sae_lens 6.54.12, `saes/*.py`; its tags' `config.py`, `sae.py`, `training_sae.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dictionaries.files.keys import Keys

_USED = (
    "architecture", "d_in", "d_sae", "apply_b_dec_to_input", "normalize_activations", "metadata",
    "model_name", "hook_name", "hook_point", "hook_name_out", "hook_head_index",
    "hook_point_head_index", "norm_scaling_factor", "finetuning_scaling_factor",
)  # fmt: skip
"""finetuning_scaling_factor announces a tensor, which is read."""
_USED_BY: dict[str, tuple[str, ...]] = {
    "topk": ("k", "rescale_acts_by_decoder_norm"),
    "transcoder": ("d_out",),
    "matching_pursuit": ("residual_threshold", "max_iterations", "stop_on_duplicate_support"),
    "temporal": (
        "n_heads", "n_attn_layers", "bottleneck_factor", "sae_diff_type", "kval_topk",
        "tied_weights", "activation_normalization_factor",
    ),
}  # fmt: skip
"""By a part of the architecture's name."""

_STORAGE = ("device", "dtype")
_ABOUT = (
    "hook_layer", "hook_point_layer", "hook_layer_out", "hook_eval", "hook_point_eval",
    "hf_hook_name", "hf_hook_name_out", "model_class_name", "tokenizer_name", "prepend_bos",
    "context_size", "exclude_special_tokens", "seqpos_slice", "dataset_path", "dataset_name",
    "dataset_trust_remote_code", "neuronpedia_id", "sae_lens_version", "sae_lens_training_version",
    "training_architecture", "training_architecture_details",
)  # fmt: skip
_DATA = (
    "streaming", "is_dataset_tokenized", "use_chat_formatting", "use_cached_activations",
    "cached_activations_path", "new_cached_activations_path", "n_batches_in_buffer",
    "tokens_per_buffer", "buffer_size_gb", "store_batch_size", "store_batch_size_prompts",
    "disable_concat_sequences", "sequence_separator_token", "begin_batch_token",
    "begin_sequence_token", "activations_mixing_fraction", "training_tokens", "finetuning_tokens",
    "total_training_tokens", "total_training_steps", "train_batch_size", "train_batch_size_tokens",
    "n_batches_for_norm_estimate", "shuffle",
)  # fmt: skip
_TRAINED_WITH = (
    "expansion_factor", "seed", "b_dec_init_method", "init_encoder_as_decoder_transpose",
    "decoder_orthogonal_init", "decoder_heuristic_init", "decoder_heuristic_init_norm",
    "decoder_init_norm", "normalize_sae_decoder", "noise_scale", "l1_coefficient", "lp_norm",
    "l1_warm_up_steps", "l0_coefficient", "l0_warm_up_steps", "target_l0",
    "pre_act_loss_coefficient", "scale_sparsity_penalty_by_decoder_norm", "mse_loss_normalization",
    "jumprelu_init_threshold", "jumprelu_bandwidth", "jumprelu_sparsity_loss_mode",
    "jumprelu_tanh_scale", "jumprelu_ste_to_input", "use_sparse_activations",
    "aux_loss_coefficient", "topk_threshold_lr", "matryoshka_widths", "use_matryoshka_aux_loss",
    "use_ghost_grads", "feature_sampling_method", "feature_sampling_window",
    "feature_reinit_scale", "resample_batches", "dead_feature_window", "dead_feature_threshold",
    "dead_feature_estimation_method", "finetuning_method", "adam_beta1", "adam_beta2", "lr",
    "lr_scheduler_name", "lr_warm_up_steps", "warm_up_steps", "lr_end", "lr_decay_steps",
    "n_restart_cycles", "from_pretrained_path", "resume", "resume_from_checkpoint",
)  # fmt: skip
_MACHINE = (
    "act_store_device", "llm_device", "prefetch_llm_batches", "autocast", "autocast_lm",
    "compile_llm", "llm_compilation_mode", "compile_sae", "sae_compilation_mode", "n_eval_batches",
    "n_eval_seqs", "eval_batch_size_prompts", "n_checkpoints", "checkpoint_path", "output_path",
    "save_final_checkpoint", "verbose", "model_kwargs", "run_name", "logger", "log_to_wandb",
    "log_activations_store_to_wandb", "log_optimizer_state_to_wandb", "log_weights_to_wandb",
    "wandb_project", "wandb_id", "wandb_entity", "wandb_log_frequency", "eval_every_n_wandb_logs",
)  # fmt: skip
_HARMLESS = (*_STORAGE, *_ABOUT, *_DATA, *_TRAINED_WITH, *_MACHINE)

_MODEL_KWARGS = Keys(
    used=("center_writing_weights", "fold_value_biases", "refactor_factored_attn_matrices"),
    harmless=(  # which move no site; or which checkpoint, and where it is kept
        "fold_ln", "center_unembed", "checkpoint_index", "checkpoint_value", "revision", "dtype",
        "torch_dtype", "device", "device_map", "n_devices", "n_ctx", "first_n_layers", "hf_model",
        "move_to_device", "tokenizer", "trust_remote_code", "token", "cache_dir", "load_in_4bit",
        "local_files_only", "low_cpu_mem_usage", "attn_implementation", "use_safetensors",
        "default_padding_side", "default_prepend_bos",
    ),
)  # fmt: skip
"""Of `model_from_pretrained_kwargs`, which TransformerLens is given."""
TANH_RELU = "tanh-relu"
_ONLY = {
    "reshape_activations": ("none", "hook_z", None),
    "hook_head_index_out": (None,),
}
_INSIDE = {
    "activation_fn_kwargs": Keys(("k",)),
    "model_from_pretrained_kwargs": _MODEL_KWARGS,
}
_ACTIVATIONS = {"topk": ("topk", None), "standard": ("relu", TANH_RELU, None)}
_METADATA = Keys((), only=_ONLY, inside=_INSIDE)


def check_keys(cfg: dict[str, Any], architecture: str, path: Path) -> None:
    """Raise `FormatError` for what cfg.json of this architecture says and nobody knows."""
    own = [key for part, keys in _USED_BY.items() if part in architecture for key in keys]
    # gone since 6.0: relu is what all had but topk, and a standard one could have tanh-relu
    activation = _ACTIVATIONS.get(architecture, ("relu", None))
    only = {**_ONLY, "activation_fn": activation, "activation_fn_str": activation}
    Keys((*_USED, *own), _HARMLESS, only, _INSIDE).check(cfg, path)
    if isinstance(metadata := cfg.get("metadata"), dict):
        read = {key: metadata[key] for key in (*_ONLY, *_INSIDE) if key in metadata}
        _METADATA.check(read, path, "metadata.")
