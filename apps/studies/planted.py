"""A tiny transformer with planted features: what is real in it is known.

A seeded Llama of random blocks. Each real feature is a direction that the unembedding reads into a
few tokens of its own, in every context; a null feature is a random direction of the same length.
Its texts are drawn from the model itself, so that any edit costs cross-entropy on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.loading import load
from steer.model import Model

WIDTH, BLOCKS, VOCABULARY = 192, 4, 2000
REAL, NULL, PROMOTED = 50, 200, 6
SITE = "resid_post.1"
_BOTH = 0.12
"""Spread of the unembedding's own rows."""
_STRENGTH = 1.5
"""Of what a real feature adds to a token's row of the unembedding."""


@dataclass(frozen=True, eq=False)
class Planted:
    """The model, a dictionary whose first `REAL` features are real, and which tokens they promote.

    promotes: of each real feature, the ids; texts: drawn from the model.
    """

    model: Model
    dictionary: Dictionary
    promotes: tuple[tuple[int, ...], ...]

    def texts(self, count: int, length: int, seed: int) -> list[str]:
        """Texts of so many tokens, sampled from the model at temperature 1."""
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, VOCABULARY, (count, 1), generator=generator)
        with torch.inference_mode():
            for _ in range(length - 1):
                logits = self.model.module(input_ids=ids).logits[:, -1]
                logits[:, :3] = -torch.inf
                drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
                ids = torch.cat([ids, drawn], dim=1)
        return [" ".join(f"w{token}" for token in row) for row in ids.tolist()]


def planted(seed: int = 0) -> Planted:
    """The same model and dictionary for the same seed."""
    generator = torch.Generator().manual_seed(seed)

    def directions(count: int) -> Tensor:
        rows = torch.randn(count, WIDTH, generator=generator)
        return rows / rows.norm(dim=-1, keepdim=True)

    rows = directions(REAL + NULL)
    module, promotes = _module(seed), []
    with torch.no_grad():
        head = _BOTH * torch.randn(VOCABULARY, WIDTH, generator=generator)
        for row in rows[:REAL]:
            tokens = 3 + torch.randperm(VOCABULARY - 3, generator=generator)[:PROMOTED]
            head[tokens] += _STRENGTH * row
            promotes.append(tuple(tokens.tolist()))
        module.lm_head.weight.copy_(head)
        module.model.embed_tokens.weight.normal_(generator=generator)
    dictionary = ReLU(
        W_enc=rows.T.contiguous(),
        b_enc=torch.zeros(len(rows)),
        W_dec=rows,
        b_dec=torch.zeros(WIDTH),
        config=DictionaryConfig(WIDTH, len(rows), SITE),
        name="planted",
    )
    return Planted(load(module, tokenizer=_tokenizer()), dictionary, tuple(promotes))


def _module(seed: int) -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2}
    words |= {f"w{number}": number for number in range(3, VOCABULARY)}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
