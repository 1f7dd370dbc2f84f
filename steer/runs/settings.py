"""Settings that a model brings in its own generation_config: which of them act, and which do not.

A run decodes a baseline and edited rows in one batch, a token at a time, with noise of its own.
What the model's config asks for beyond that acts if it acts on every row alone, and is left out if
it can't; either way it stands in the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steer.errors import SteerError

DRAWING: Mapping[str, Any] = dict.fromkeys(
    (
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p"),
        *("epsilon_cutoff", "eta_cutoff"),
    )
)
"""How a token is drawn where tokens are drawn, and what says none of it: a run has its own."""

IMPOSSIBLE: Mapping[str, Any] = {
    # several rows for one, which an edit's rows are not
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("early_stopping", "length_penalty", "diversity_penalty", "constraints")),
    **dict.fromkeys(("force_words_ids", "low_memory")),
    # several tokens or passes a step, or another model's, which edits can't follow
    **dict.fromkeys(("prompt_lookup_num_tokens", "max_matching_ngram_size", "use_mtp")),
    **dict.fromkeys(("assistant_early_exit", "speculation_type", "is_assistant")),
    **dict.fromkeys(("assistant_ensemble_weight", "prefill_chunk_size", "guidance_scale")),
    **dict.fromkeys(("penalty_alpha", "dola_layers", "token_healing")),
    # ends that depend on the clock, or on text that is not read while it is written
    **dict.fromkeys(("max_time", "stop_strings")),
    # NaN taken for 0 would hide an overflow
    "remove_invalid_values": None,
}
"""What edits can't follow in a batch whose rows are each as they would be alone."""

REPLACED: Mapping[str, Any] = {**IMPOSSIBLE, **DRAWING, "repetition_penalty": None}
"""What a model's config may ask for and `Model.generate` sets aside: the impossible, and what its
own arguments say."""

_SILENT = {
    *("transformers_version", "bos_token_id", "eos_token_id", "pad_token_id"),
    *("decoder_start_token_id", "max_length", "max_new_tokens", "return_dict_in_generate"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
    *("assistant_lookbehind", "target_lookbehind", "continuous_batching_config"),
    *("encoder_repetition_penalty", "encoder_no_repeat_ngram_size"),
}
"""What changes no token here: names, ids, sizes, and details of what is left out."""


@dataclass(frozen=True)
class Inherited:
    """What a model's generation_config asks for beyond transformers' defaults.

    acting: what acts in a run, by name; left_out: what does not.
    """

    acting: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of transformers' generate that set aside what is left out."""
        return {name: REPLACED[name] for name in self.left_out}


def inherited(
    module: Any, given: Mapping[str, Any], left_out: Mapping[str, Any] = REPLACED
) -> Inherited:
    """What the model brings that is not `given` by the caller.

    left_out: names of what does not act.
    Raises `SteerError` for a config that transformers refuses.
    """
    config = getattr(module, "generation_config", None)
    if config is None:
        return Inherited()
    try:
        config.validate()
    except ValueError as error:
        raise SteerError(f"the model's own generation_config can't be used: {error}") from error
    defaults = type(config)().to_dict() | config._get_default_generation_params()
    asked = {
        name: value
        for name, value in config.to_dict().items()
        if value is not None
        and value != defaults.get(name)
        and name not in (*_SILENT, *given)
        and not name.startswith("_")
    }
    plain: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    return Inherited(
        acting={name: value for name, value in plain.items() if name not in left_out},
        left_out={name: value for name, value in plain.items() if name in left_out},
    )
