"""One request while it is served: how far its text is, and what its edits did so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits.rows import of_row
from steer.errors import SteerError
from steer.lm.finite import overflowed
from steer.lm.language_model import LanguageModel
from steer.serving.ask import Answer, Ask, Piece, Scored
from steer.serving.draw import Draw, scored
from steer.serving.forward import end_to_end, span_of
from steer.serving.rows_cache import RowsCache
from steer.serving.text import cut, settled
from steer.splice.build_receipt import build
from steer.splice.finite import any_overflow, blame
from steer.splice.one_pass import OnePass
from steer.splice.receipt import Receipt
from steer.splice.record import Record
from steer.splice.resolve import plans
from steer.splice.text_memory import Memory


class Row:
    """A row of the batch. Raises, when it is made, whatever is wrong with what is asked."""

    def __init__(
        self, model: LanguageModel, ask: Ask, dictionaries: Sequence[Dictionary] = ()
    ) -> None:
        self.model, self.ask = model, ask
        self.interventions = of_row(ask.interventions, 0, 1)
        self.plans = plans(model, self.interventions, dictionaries, rows=slice(0, 1))
        self.draw = Draw.of(model, ask)
        self.ids = list(ask.prompt.ids)
        self.special = torch.tensor(list(model.tokenizer.all_special_ids), device=model.device)
        self.cache = RowsCache()
        self.read = 0
        self.finish: str | None = None
        self._memory: Memory = {}
        self._passes: list[list[Record]] = []
        self._prompt_scored: list[Scored] = []
        self._scored: list[Scored] = []
        self._text, self._told, self._told_ids = "", 0, 0
        self._silent = {(n, k) for n, plan in enumerate(self.plans) for k in range(len(plan.edits))}

    # -- the prompt, a part at a time ----------------------------------------------------------

    @property
    def left(self) -> int:
        """How many tokens of the prompt are not read yet."""
        return max(0, len(self.ask.prompt.ids) - self.read)

    def part(self, most: int) -> list[int]:
        """The next tokens of the prompt to be read."""
        return list(self.ask.prompt.ids[self.read : self.read + most])

    @property
    def wants_all(self) -> bool:
        """Whether the logits behind every token of the prompt are asked for."""
        return self.ask.echo and self.ask.top is not None

    def going(self, ids: Sequence[int]) -> OnePass:
        """A pass of its plans over the tokens that come next."""
        span = span_of(ids, self.read, self.ask.prompt_length, self.special)
        return OnePass(self.plans, span, self._memory)

    def has_read(self, ids: Sequence[int], going: OnePass | None, logits: Tensor) -> None:
        """A part of the prompt; logits [s or 1, V]. The last part gives the first new token."""
        self._note(going, logits)
        self.read += len(ids)
        if self.wants_all:
            self._score_prompt(ids, logits)
        if not self.left:
            if self._passes:
                self._passes = [end_to_end(self._passes)]
            if self.ask.max_tokens:
                self._draw(logits[-1])
            else:
                self.finish = "length"

    def has_read_one(self, going: OnePass | None, logits: Tensor) -> None:
        """Its newest token; logits [V] behind it."""
        self._note(going, logits.unsqueeze(0))
        self.read += 1
        self._draw(logits)

    # -- what it comes to ----------------------------------------------------------------------

    def piece(self) -> Piece | None:
        """What can be told since the last time; nothing while an edit must act and has not."""
        if self.ask.refuse_silent and self._silent:
            return None
        whole = self._text if self.finish else settled(self._text, self.ask.stop)
        new, ids = whole[self._told :], tuple(self.new_ids[self._told_ids :])
        if not new and not (self.finish and ids):
            return None
        scored_too = tuple(self._scored[self._told_ids :])
        self._told, self._told_ids = len(whole), len(self.new_ids)
        return Piece(new, ids, scored_too)

    def answer(self) -> Answer:
        """Of a row that is finished. Raises `SilentEditError` if an edit had to act and did not."""
        assert self.finish is not None
        receipt = self.receipt()
        if self.ask.refuse_silent:
            receipt.raise_if_silent()
        return Answer(
            text=self._text,
            ids=tuple(self.new_ids),
            finish=self.finish,
            receipt=receipt,
            prompt_scored=tuple(self._prompt_scored),
            scored=tuple(self._scored),
            inherited=dict(self.draw.inherited),
        )

    def receipt(self) -> Receipt:
        """What its edits did at the tokens that were read."""
        if not self.plans:
            return Receipt(())
        tokens = [self.model.token(token) for token in self.ids[: self.read]]
        return build(self.interventions, self._passes, tokens)

    @property
    def new_ids(self) -> list[int]:
        return self.ids[len(self.ask.prompt.ids) :]

    def _note(self, going: OnePass | None, logits: Tensor) -> None:
        """Keep what the plans did. Raises `NonFiniteError` if anything overflows."""
        if going is not None:
            self._passes.append(going.records)
            self._silent -= {
                (n, k)
                for n, k in self._silent
                if self.ask.refuse_silent and bool(going.records[n].acted[..., k].any())
            }
        bad = bool(overflowed(logits).any())
        if bad or any_overflow(self._passes[-1:]):
            raise self._overflow(bad)

    def _overflow(self, bad: bool) -> SteerError:
        text = torch.tensor(self.ids, device=self.model.device)
        return blame(self.model, self.plans, self._passes, lambda _: text, 0 if bad else None)

    def _draw(self, logits: Tensor) -> None:
        """One more token, and whether the text ends with it."""
        token = self.draw.next(self.ids, logits)
        if self.ask.top is not None:
            self._scored += scored(logits.unsqueeze(0), [token], self.ask.top)
        self.ids.append(token)
        text = self.model.tokenizer.decode(self.new_ids, skip_special_tokens=True)
        ended = cut(text, self.ask.stop)
        self._text = text if ended is None else ended
        if token in self.draw.ends or ended is not None:
            self.finish = "stop"
        elif len(self.new_ids) == self.ask.max_tokens:
            self.finish = "length"

    def _score_prompt(self, ids: Sequence[int], logits: Tensor) -> None:
        """The tokens behind these; the first of a text has nothing before it."""
        if not self._prompt_scored:
            self._prompt_scored.append(Scored(self.ids[0], None))
        following = self.ids[self.read - len(ids) + 1 : self.read + 1]
        self._prompt_scored += scored(logits[: len(following)], following, self.ask.top or 0)
