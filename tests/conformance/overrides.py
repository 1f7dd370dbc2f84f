"""What the mechanical way of making a config tiny can't know, family by family."""

from __future__ import annotations

from typing import Any

D, HEADS, HEAD_DIM, VOCABULARY, CONTEXT, LAYERS = 32, 4, 8, 96, 64, 4

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox (sequential)": ("gpt_neox", {"use_parallel_residual": False}),
    "stablelm (parallel)": ("stablelm", {"use_parallel_residual": True}),
    "falcon (alibi)": ("falcon", {"alibi": True, "parallel_attn": False}),
    "falcon (new decoder)": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "opt (post-norm)": ("opt", {"do_layer_norm_before": False}),
    "gemma4_text (dense)": ("gemma4_text", {"hidden_size_per_layer_input": 0}),
    "bloom (post-norm residual)": ("bloom", {"apply_residual_connection_post_layernorm": True}),
}
"""Blocks of another kind that a family has in published models, beside its default."""

WRAPPERS = (
    *("aria", "aya_vision", "cohere2_vision", "cosmos3_edge", "cosmos3_omni", "deepseek_vl"),
    *("deepseek_vl_hybrid", "exaone4_5", "glm46v", "glm4v", "glm_ocr", "glmga", "granite_docling"),
    *("hyperclovax_vision_v2", "idefics", "idefics2", "idefics3", "instructblip", "internvl"),
    *("kimi_k25", "lfm2_vl", "lfm3_vl", "lighton_ocr", "llava", "llava_next", "llava_next_video"),
    *("llava_onevision", "minicpm_ocr", "minicpmv4_6", "minicpmv4_7", "minimax_m3_vl", "mistral3"),
    *("mistral4", "mistral_large4", "muse_glimmer", "ovis2", "paddleocr_vl", "paligemma"),
    *("pp_chart2table", "qianfan_ocr", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe"),
    *("shieldgemma2", "smolvlm", "unlimited_ocr", "video_llama_3", "video_llava", "vipllava"),
)
"""Multimodal models that the mechanical way makes tiny, read as text."""

DROPPED = object()
"""Leave the field to the config class."""

_MAMBA_2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
_HEAD_DIM = {"head_dim": HEAD_DIM}

_QWEN4 = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}
_DOTS3 = {
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "head_dim": 12,
    "v_head_dim": 8,
    "index_head_dim": 8,
}

MROPE = [2, 1, 1]
"""How the half of a head is shared by time, height and width."""
_THREE_AXES = {
    "text_config": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": MROPE}
    }
}

OVERRIDES: dict[str, dict[str, Any]] = {
    "qwen2_vl": _THREE_AXES | {"vision_config": {"embed_dim": D, "depth": 2}},
    **dict.fromkeys(
        ("qwen2_5_vl", "glm4v", "glm46v", "glm4v_moe", "glm_ocr", "glmga", "paddleocr_vl"),
        _THREE_AXES,
    ),
    "bamba": {**_MAMBA_2, "attn_layer_indices": [1, 3]},
    "falcon_h1": {**_MAMBA_2, "mamba_d_ssm": 64},
    "granitemoehybrid": {**_MAMBA_2, "layer_types": ["mamba", "attention", "mamba", "attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "n_mamba_heads": 8,
        "attention_hidden_size": DROPPED,
        "mamba_headdim": DROPPED,
        "attention_head_dim": DROPPED,
        "kv_channels": DROPPED,
        "num_query_groups": DROPPED,
    },
    "cpmant": {"prompt_length": 2, "prompt_types": 32, "segment_types": 32},
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_group": 1, "n_group": 1},
    "hunyuan_v1_dense": _HEAD_DIM,
    "hunyuan_v1_moe": _HEAD_DIM,
    "ministral": _HEAD_DIM,
    "nemotron": {"head_dim": HEAD_DIM, "num_key_value_heads": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "reformer": {
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [8, 24],
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "num_buckets": 2,
    },
    "xmod": {"default_language": "en_XX"},
    "dots1": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
    },
    "dory": {
        "num_hidden_layers": 4,
        "n_input_layers": 1,
        "n_recurrent_layers": 2,
        "n_output_layers": 1,
        "layer_types": DROPPED,
    },
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8, "kv_n_heads": 2}},
    "longcat_flash": {"num_layers": 2, "head_dim": 4, "num_hidden_layers": DROPPED},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},
    "hrm_text": {"num_hidden_layers": 2, "num_layers_per_stack": DROPPED},
    "mimo_v2_flash": {"rope_parameters": DROPPED, "num_attention_heads": 8, "head_dim": 16},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": None,
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": MROPE,
            },
        }
    },
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "blt": {"num_hidden_layers": 4},
    "gemma4_assistant": {
        "text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
    },
    "qwen4_exp_text": _QWEN4,
    "qwen4_exp": {"text_config": _QWEN4},
    "dots3_note_text": _DOTS3,
    "dots3_note": {
        "text_config": _DOTS3,
        "vision_config": {"adapter_in_dim": D, "adapter_out_dim": D},
        "audio_config": {"adapter_input_size": D, "adapter_out_dim": D},
    },
}
"""By family: what wins over the mechanical config."""
