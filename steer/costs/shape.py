"""The sizes of a model, from its config alone: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steer.errors import ModelError
from steer.lm.published import reachable, source_of

_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128_256,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": False,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.1-8B": {
        **_LLAMA,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 14_336,
    },
    "meta-llama/Llama-3.1-70B": {
        **_LLAMA,
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "intermediate_size": 28_672,
    },
    "meta-llama/Llama-3.1-405B": {
        **_LLAMA,
        "hidden_size": 16_384,
        "num_hidden_layers": 126,
        "num_attention_heads": 128,
        "intermediate_size": 53_248,
    },
}
"""Configs of models whose page asks for a login, as they are published."""


@dataclass(frozen=True)
class Shape:
    """A decoder-only model in numbers.

    parameters: all; of_blocks: those of the blocks. d: width of the stream; depth: blocks;
    vocabulary: tokens.
    """

    name: str
    parameters: int
    of_blocks: int
    d: int
    depth: int
    vocabulary: int

    @classmethod
    def of(cls, name: str) -> Shape:
        """By a model's name, from its config. Raises `ModelError` for one that can't be read."""
        import torch
        from transformers import AutoModelForCausalLM

        config = _config(name)
        with torch.device("meta"):
            module: Any = AutoModelForCausalLM.from_config(config)
        text = config.get_text_config()
        tables = {
            id(embedding.weight): embedding.weight.numel()
            for embedding in (module.get_input_embeddings(), module.get_output_embeddings())
            if embedding is not None
        }
        parameters = sum(parameter.numel() for parameter in module.parameters())
        return cls(
            name=name,
            parameters=parameters,
            of_blocks=parameters - sum(tables.values()),
            d=text.hidden_size,
            depth=text.num_hidden_layers,
            vocabulary=text.vocab_size,
        )

    def block_flops(self, blocks: int, tokens: float, context: float) -> float:
        """Operations of some blocks for some tokens that attend to `context` each, on average.

        Two an entry of a weight matrix, and two each for scores and for sums of values.
        """
        return tokens * blocks * (2 * self.of_blocks / self.depth + 4 * self.d * context)

    @property
    def unembedding_flops(self) -> float:
        """Of one token's logits."""
        return 2.0 * self.d * self.vocabulary


def _config(name: str) -> Any:
    from transformers import AutoConfig

    if name in PUBLISHED:
        return AutoConfig.for_model(**PUBLISHED[name])
    try:
        source = source_of(name)
        return AutoConfig.from_pretrained(source, local_files_only=not reachable(source, name))
    except Exception as error:  # a damaged folder, or a hub out of reach, raises anything at all
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(": .")
        raise ModelError(
            f"the config of {name!r} can't be read: {first}. Known without the hub: "
            f"{', '.join(PUBLISHED)}"
        ) from error
