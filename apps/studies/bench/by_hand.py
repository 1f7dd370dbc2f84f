"""What somebody would write without this package: a hook a feature, and a batched tail.

Both ablate single features of one prompt and give KL(clean‖edited) at its last token, so that
`steer bench` can compare times, and a test the values. For models of Llama's form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary

ROWS = 64
"""Of a batch."""


def one_hook(block: Any, module: Any, ids: Tensor, delta: Tensor) -> Tensor:
    """Logits [V] of the last token with delta [s, d] added to a block's output, by a hook."""

    def add(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + delta, *output[1:])
        return output + delta

    handle = block.register_forward_hook(add)
    try:
        with torch.inference_mode():
            logits: Tensor = module(input_ids=ids, use_cache=False, logits_to_keep=1).logits
            return logits[0, -1]
    finally:
        handle.remove()


def batched(module: Any, ids: Tensor, dictionary: Dictionary, layer: int) -> tuple[Tensor, Tensor]:
    """All features active behind the first token: their ids [n], and the KL of ablating each [n].

    One clean pass, then the blocks above the site on many copies of the prompt at once.
    """
    body, head = module.model, module.get_output_embeddings()
    with torch.inference_mode():
        clean = module(input_ids=ids, use_cache=False, output_hidden_states=True)
        x = clean.hidden_states[layer + 1][0]
        acts = dictionary.encode(x.float())[0]
        acts[0] = 0
        features = acts.any(0).nonzero().flatten()
        before = clean.logits[0, -1].log_softmax(-1)
        rotary = body.rotary_emb(x.unsqueeze(0), torch.arange(len(x), device=x.device)[None])
        divergences = []
        for part in features.split(ROWS):
            rows = x + _deltas(acts, part.tolist(), dictionary)
            for block in body.layers[layer + 1 :]:
                given = block(rows, position_embeddings=rotary)
                rows = given[0] if isinstance(given, tuple) else given
            after = head(body.norm(rows[:, -1])).log_softmax(-1)
            divergences.append((before.exp() * (before - after)).sum(-1))
    return features, torch.cat(divergences)


def _deltas(acts: Tensor, features: Sequence[int], dictionary: Dictionary) -> Tensor:
    """What ablating each feature adds, [n, s, d]."""
    return -acts[:, features].T.unsqueeze(-1) * dictionary.W_dec[features].unsqueeze(1)
