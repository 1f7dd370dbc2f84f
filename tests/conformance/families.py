"""Every family of transformers' causal language models as a tiny config, made mechanically.

The config class's own defaults are taken and every field that is a size is shrunk by its name, so
that a new family needs no entry here. What the mechanical way can't know stands in `OVERRIDES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.conformance.overrides import (
    CONTEXT,
    DROPPED,
    HEAD_DIM,
    HEADS,
    LAYERS,
    MROPE,
    OVERRIDES,
    VARIANTS,
    VOCABULARY,
    WRAPPERS,
    D,
)

FAMILIES: tuple[str, ...] = (*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS, *WRAPPERS)

PAD, EOS, OTHER = 0, 1, 2

SIZES: tuple[tuple[str, int], ...] = (
    (r"(num_hidden_layers|n_layers?|num_layers|num_decoder_layers|decoder_layers)", LAYERS),
    (r"(num_blocks|n_recurrent_layers|num_layers_per_stack)", LAYERS),
    (r"(num_encoder_layers|encoder_layers)", LAYERS),
    (r"(depth|num_global_layers|n_(in|out)put_layers)", 2),
    (r"(hidden_size|d_model|n_embd|emb_dim|embedding_dim|embedding_size|lru_width)", D),
    (r"((in|out)put_embedding_size|word_embed_proj_dim|attention_hidden_size|out_hidden_size)", D),
    (r"(backbone_hidden_size|hidden_size_global|hc_lowrank|ple_embed_dim|vision_output_dim)", D),
    (r"projector_(in|out)put_dim|(pronunciation|shape)_embed_dim", D),
    (r"hidden_size_per_layer_input|dim_model_base|router_hidden_size|prompt_mid_dim", 8),
    (r"(dense_)?intermediate_size(_mlp)?|(\w+_)?ffn_dim|dff|dim_ff|d_inner|n_inner|mlp_dim", 40),
    (r"feed_forward_size|ffn_hidden_size|prefix_dense_intermediate_size", 40),
    (r"moe_intermediate_size|expert_ffn_hidden_size|moe_shared_expert_intermediate_size", 24),
    (r"shared_(experts?_)?intermediate_size", 24),
    (r"(\w+_)?(num_)?(attention_heads|n_heads?|num_heads|heads)|n_head", HEADS),
    (r"(\w+_)?(num_key_value_heads|num_kv_heads|kv_n_heads|num_query_groups)", 2),
    (r"qk_head_dim", 12),
    (r"qk_rope_head_dim|rotary_dim", 4),
    (
        r"(\w+_)?(head_dim|d_head|dim_head|attention_head_size|kv_channels)|qk_nope_head_dim",
        HEAD_DIM,
    ),
    (r"(\w+_)?(mamba_d_head|mamba_head_dim|mamba_headdim)|attention_head_dim", HEAD_DIM),
    (r"(q|kv|o)_lora_rank|\w+_rank", 16),
    (r"time_step_rank|mamba_dt_rank|d_rel|laurel_rank|gated_norm_rank|loop_gate_rank", 4),
    (r"(index|indexer)_n_heads|linear_num_key_heads|(mamba_)?n_?groups|o_groups", 2),
    (r"linear_num_(value_)?heads", HEADS),
    (r"index_topk(_blocks)?|index_block_size|indexer_budget", 4),
    (r"(mamba_d_state|state_size|ssm_state_size)", 8),
    (r"mamba_n(um)?_heads", 8),
    (r"mamba_d_ssm", 2 * D),
    (r"(mamba_)?chunk_size|(lsh|local)_attn_chunk_length|block_size", 8),
    (r"(moe_)?num_(local_)?experts|n_routed_experts|num_centroids", 4),
    (r"num_experts_per_tok(en)?|moe_k|moe_topk|moe_top_k|top_k_experts", 2),
    (r"n_group|num_expert_group|topk_group|zero_expert_num|num_nextn_predict_layers", 1),
    (r"first_k_dense_replace|num_dense_layers|num_mem_blocks|decoder_sparse_step", 1),
    (r"(\w+_)?vocab_size(_per_layer_input)?|\w+_vocab|ngram_vocab_size_base", VOCABULARY),
    (r"max_position_embeddings|n_positions|max_seq_len|n_ctx|context_length", CONTEXT),
    (r"max_(target|source)_positions|model_max_length|original_max_position_embeddings", CONTEXT),
    (r"(\w+_)?(sliding_window|attention_window_size|window_size|local_attention)(_size)?", 6),
    (r"attention_chunk_size|keep_window_size|local_attention_window_len", 6),
    (r"num_kv_shared_layers", 0),
    (r"log_scaling_n_floor", 4),
    (r"(split_ngram_parts|prompt_length|prompt_types|segment_types|heads_per_ngram)", 2),
    (r"num_position_embeddings", 16),
)
"""A field's whole name, and its tiny value; a default that is smaller already is kept."""

KEPT = re.compile(r"type_vocab_size|encoder_hash_byte_group_size|hidden_size_scale|\w*_token_id")

VISIBLE: dict[str, float] = {
    "residual_multiplier": 0.5,
    "embedding_multiplier": 2.0,
    "logits_scaling": 2.0,
    "attention_out_multiplier": 0.5,
    "ssm_out_multiplier": 0.6,
    "key_multiplier": 0.7,
    "lm_head_multiplier": 0.8,
    "full_attn_alpha_factor": 1.5,
    "linear_attn_alpha_factor": 1.5,
    "mlp_alpha_factor": 1.5,
}
"""Multipliers that are 1 by default and not in published models: a fault would not be seen."""

BY_LAYER = re.compile(
    r"layer_types|mlp_layer_types|layers_block_type|no_rope_layers|indexer_types|attention_layers"
    r"|attn_layers|layer_rope_theta|activation_sparsity_pattern|num_attention_heads_per_layer"
    r"|block_types_by_layer|mtp_layer_types"
)


def tiny_config(family: str) -> Any:
    """The family's config, every size shrunk. Raises whatever the config class raises."""
    family, variant = VARIANTS.get(family, (family, {}))
    cls: Any = CONFIG_MAPPING[family]
    overrides = OVERRIDES.get(family, {}) | variant
    start = {key: overrides[key] for key in overrides if key in STARTS}
    try:
        defaults = cls(**start).to_dict()
    except StrictDataclassError:  # its own defaults are none that it allows
        defaults = cls(**overrides).to_dict()
    return cls(**merged(shrunk(defaults), overrides))


def shrunk(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What to give the config class; fields that are no sizes are left out."""
    chosen: dict[str, Any] = {}
    layers = _layers_kept(defaults)
    for name, value in defaults.items():
        if isinstance(value, Mapping) and "mrope_section" in value:
            chosen[name] = {**value, "mrope_section": MROPE}
        elif isinstance(value, Mapping) and (name.endswith("config") or name in SUB_CONFIGS):
            chosen[name] = shrunk(value) | {
                key: value[key] for key in ("model_type",) if key in value
            }
        elif isinstance(value, list | tuple) and BY_LAYER.fullmatch(name):
            chosen[name] = [value[number] for number in layers if number < len(value)]
        elif (small := _small(name, value)) is not None:
            chosen[name] = small
    if "num_hidden_layers" in chosen and layers:
        chosen["num_hidden_layers"] = len(layers)
    if "is_decoder" in defaults and not defaults.get("is_encoder_decoder"):
        chosen["is_decoder"] = True
    return chosen | _still_equal(defaults, chosen)


SUB_CONFIGS = ("text_encoder", "audio_encoder", "decoder")
STARTS = ("is_decoder",)


def _small(name: str, value: Any) -> Any:
    if name == "eos_token_id":
        return EOS
    if name == "pad_token_id":
        return PAD
    if name == "bos_token_id" or name in ("forced_bos_token_id", "forced_eos_token_id"):
        return None if value is None else OTHER
    if re.fullmatch(r"\w+_token_(id|index)", name):
        return OTHER if isinstance(value, int) else None
    if name in VISIBLE and value in (1, 1.0):
        return VISIBLE[name]
    if isinstance(value, bool) or not isinstance(value, int) or KEPT.fullmatch(name):
        return None
    for pattern, size in SIZES:
        if re.fullmatch(pattern, name):
            return size if size == LAYERS and "layers" in pattern else min(size, value)
    return None


def _layers_kept(defaults: Mapping[str, Any]) -> list[int]:
    """Numbers of layers such that every kind of layer is among them, in their order."""
    lists = [
        value
        for name, value in defaults.items()
        if isinstance(value, list | tuple) and BY_LAYER.fullmatch(name) and value
    ]
    depth = defaults.get("num_hidden_layers") or max(map(len, lists), default=0)
    lists = [each for each in lists if len(each) == depth]
    if not lists:
        return []
    kinds = [str(kind) for kind in zip(*lists, strict=True)]
    first = {kind: kinds.index(kind) for kind in reversed(kinds)}
    chosen = sorted(first.values())[: 2 * LAYERS]
    for number in range(depth):
        if len(chosen) >= LAYERS:
            break
        if number not in chosen:
            chosen.append(number)
    return sorted(chosen)


EQUALS = (
    ("num_key_value_heads", "num_attention_heads"),
    ("swa_num_key_value_heads", "swa_num_attention_heads"),
    ("head_dim", "qk_rope_head_dim"),
)


def _still_equal(defaults: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, int]:
    """Pairs of fields that are equal by default stay so."""
    return {
        ours: chosen[theirs]
        for ours, theirs in EQUALS
        if theirs in chosen and defaults.get(ours) == defaults.get(theirs)
    }


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, `above` winning; dictionaries are merged and None removes a field."""
    both = dict(below)
    for name, value in above.items():
        if value is DROPPED:
            both.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(both.get(name), Mapping):
            both[name] = merged(both[name], value)
        else:
            both[name] = value
    return both
