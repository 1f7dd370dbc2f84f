"""What floating-point operations alone allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.studies.bench.prompt import PROMPT

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model


@dataclass(frozen=True)
class Operations:
    """Multiply-adds a token: of a block, of the unembedding, and how many blocks stay above."""

    block: int
    unembedding: int
    blocks: int
    above: int

    @classmethod
    def of(cls, model: Model, dictionary: Dictionary) -> Operations:
        from steer.lm.hookpoints import parse

        stack = model.module.get_submodule(model.anatomy.stack)
        layer = parse(model.site_of(dictionary)).layer
        return cls(
            block=sum(p.numel() for p in stack[0].parameters() if p.dim() > 1),
            unembedding=model.module.get_output_embeddings().weight.numel(),
            blocks=len(stack),
            above=len(stack) - layer - 1,
        )

    @property
    def token(self) -> int:
        return self.blocks * self.block + self.unembedding


def tail(model: Model, dictionary: Dictionary) -> float:
    """Tokens from the first that a feature's ablation changes, the mean over active features."""
    from steer.effects.passes.changes import clean_for, encode_clean

    ids, _ = model.tokenize([PROMPT])
    clean = clean_for(model, ids[0], dictionary, every=False)
    active = encode_clean(clean, dictionary)[1:] != 0
    first = active[:, active.any(0)].int().argmax(0) + 1
    return (len(ids[0]) - first).double().mean().item()
