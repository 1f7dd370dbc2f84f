"""A language model alone: the nnsight model, its tokenizer and its lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from steer.errors import InterventionError, PromptError
from steer.lm.anatomy import Anatomy, Site, anatomy_of, device_of
from steer.lm.finite import first_of, overflowed, own_error
from steer.lm.hookpoints import Hookpoint
from steer.lm.passes import plain
from steer.lm.placement import Placement, packing_of
from steer.lm.span import Span

if TYPE_CHECKING:
    from nnsight.modeling.transformers import TransformersModel

_LIMITS = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions", "n_ctx")
_ENDLESS = 2**20


def check_characters(text: str) -> None:
    """Raise `PromptError` for text with half of a character, which comes of bytes that are no
    UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise PromptError(
            f"{half!r} at place {error.start} of a text is no character: what was given is not "
            "UTF-8, or was cut within a character"
        ) from error


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model that can be read. One pass at a time: every method queues behind `lock`.

    nn: the nnsight model; `nn._module` is the transformers model itself.
    tokenizer: its tokenizer.
    name: what it was loaded as.
    fingerprint: of its weights; a dictionary's card says which model it was trained on.
    placement: with which, by its name, it is loaded again; None if it or its tokenizer was given
        as an object.
    """

    nn: TransformersModel
    tokenizer: Any
    name: str
    fingerprint: str
    placement: Placement | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def module(self) -> Any:
        """The transformers model, shared with nnsight."""
        return self.nn._module

    @property
    def dtype(self) -> str:
        """Such as `float32` or `bfloat16`: what it computes in, however weights are held."""
        return str(self.module.dtype).removeprefix("torch.")

    @property
    def precision(self) -> str:
        """What stands in every result as its dtype: `float32`, or `float32 with 4bit weights`."""
        packing = packing_of(self.module)
        return f"{self.dtype} with {packing} weights" if packing else self.dtype

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return device_of(self.module)

    @property
    def context(self) -> int:
        """Most tokens the model can read; a large number where it sets no limit."""
        config = self.module.config.get_text_config()
        limits = [getattr(config, name, None) for name in _LIMITS]
        return next((limit for limit in limits if isinstance(limit, int) and limit > 0), _ENDLESS)

    @property
    def d(self) -> int:
        """Width of the residual stream."""
        return self.last_site.width

    @property
    def depth(self) -> int:
        """How many blocks it has."""
        return self.anatomy.depth

    @property
    def last_site(self) -> Site:
        """Where the residual stream leaves the last block, which is what the final norm reads."""
        return self.anatomy.locate(Hookpoint(self.depth - 1, "resid_post"))

    @property
    def anatomy(self) -> Anatomy:
        """Where its sites are, measured on a few tokens as it was loaded; it waits for no run."""
        return anatomy_of(self.module)

    def site(self, hookpoint: str | Hookpoint) -> Site:
        """Where a hookpoint is. Raises `HookpointError` if the model has no such site."""
        return self.anatomy.locate(hookpoint)

    def width(self, site: Site) -> int:
        """d of a site."""
        return site.width

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and mask, each [b, s] on the model's device.

        Raises `PromptError` for an empty prompt or one longer than the context.
        """
        return self.pad(self._read(prompts))

    def tokenize_each(self, prompts: Sequence[str]) -> list[Tensor]:
        """Ids [s] of each prompt, without padding. Raises as `tokenize` does."""
        return [torch.tensor(row, device=self.device) for row in self._read(prompts)]

    def _read(self, prompts: Sequence[str]) -> list[list[int]]:
        if isinstance(prompts, str):
            raise PromptError(
                f"prompts is a list of texts; {prompts[:60]!r} would be read letter by letter: put "
                "it in brackets"
            )
        if not prompts:
            raise PromptError("no prompts were given; pass at least one")
        for prompt in prompts:
            if not isinstance(prompt, str) or not prompt.strip():
                raise PromptError(f"a prompt must be text with at least one token, not {prompt!r}")
            check_characters(prompt)
        rows: list[list[int]] = self.tokenizer(list(prompts))["input_ids"]
        if not all(rows):
            raise PromptError(f"no token is left of the prompt {prompts[rows.index([])]!r}")
        self.check_ids([token for row in rows for token in row])
        self.check_length(max(map(len, rows)))
        return rows

    def pad(self, rows: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and mask, each [b, s] on the model's device, of token ids.

        Raises `PromptError` for padding that the model can't read.
        """
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, longest - len(row) :] = torch.as_tensor(row)
            mask[number, longest - len(row) :] = 1
        self.check_padding(mask)
        return ids.to(self.device), mask.to(self.device)

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raise `PromptError` for a token that the tokenizer has and the model has not."""
        size = len(self.module.get_input_embeddings().weight)
        if (largest := max(ids, default=0)) >= size:
            raise PromptError(
                f"token {largest}, {self.token(largest)!r}, is none of the {size} that {self.name} "
                "has: its tokenizer is larger than the model; load the tokenizer that belongs to it"
            )

    def check_length(self, tokens: int) -> None:
        """Raise `PromptError` for more tokens than the model can read."""
        if tokens > self.context:
            raise PromptError(
                f"the prompt has {tokens} tokens, and {self.name} reads at most {self.context}"
            )

    def token(self, token_id: int) -> str:
        """A token's own text, with its leading space."""
        return self.tokenizer.decode([token_id])

    def token_id(self, token: str | int) -> int:
        """The id of a text that is exactly one token, or an id that the model has.

        Raises `InterventionError` for anything else.
        """
        if isinstance(token, bool) or not isinstance(token, str | int):
            raise InterventionError(f"a token is a text or an id, not {token!r}")
        if isinstance(token, int):
            size = self.module.config.get_text_config().vocab_size
            if not 0 <= token < size:
                raise InterventionError(f"{self.name} has token ids 0 to {size - 1}, not {token}")
            return token
        check_characters(token)
        ids = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            pieces = ", ".join(repr(self.token(i)) for i in ids)
            raise InterventionError(f"{token!r} is {len(ids)} tokens ({pieces}), not one; give one")
        return int(ids[0])

    @property
    def can_pad(self) -> bool:
        """Whether the model can read rows with padding, each as it would be alone."""
        return self.anatomy.pads

    def check_padding(self, mask: Tensor) -> None:
        """Raise `PromptError` for padding, or for a batch, in which rows are not as alone."""
        if len(mask) > 1 and not self.anatomy.batches:
            raise PromptError(
                f"what {self.name} writes from its cache in a batch is not what each row is alone, "
                "so a text can't be written beside its baseline: read one prompt at a time, as "
                "logit_effect does, and write texts with the model itself"
            )
        if not bool(mask.all()) and not self.can_pad:
            raise PromptError(
                f"{self.name} does not leave padding out (in float64, eager attention gives NaN): "
                "prompts of different lengths in one batch would not be what each is alone; give "
                "them one at a time, or load it in float32"
            )

    def span(self, ids: Tensor, mask: Tensor) -> Span:
        """The tokens of a left-padded batch, for the splice."""
        return Span.prefill(ids, mask, self.tokenizer.all_special_ids)

    def collect(self, ids: Tensor, mask: Tensor, hookpoints: Sequence[str]) -> dict[str, Tensor]:
        """Activations [b, s, d] at each hookpoint; the model is run no further than the last.

        Raises `NonFiniteError` if they overflow.
        """
        self.check_padding(mask)
        sites = [self.site(name) for name in hookpoints]
        with self.lock:
            values = plain.collect(self.nn, ids, mask, sites)
        for value in values.values():
            self._check_finite(~value.isfinite().all(-1), ids, mask)
        return {str(site.hookpoint): value for site, value in values.items()}

    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [b, s, V] of one forward pass. Raises `NonFiniteError` if they overflow."""
        self.check_padding(mask)
        with self.lock:
            logits = plain.logits(self.nn, ids, mask)
        self._check_finite(overflowed(logits), ids, mask)
        return logits

    def _check_finite(self, bad: Tensor, ids: Tensor, mask: Tensor) -> None:
        if at := first_of(bad, mask.bool()):
            position = int(mask[at[0], : at[1]].sum())
            raise own_error(self.name, self.dtype, position, self.token(int(ids[at])))
