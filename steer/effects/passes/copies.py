"""Edited copies of a prompt: resumed from its clean pass here, or run whole on a server.

The prompt is read, and its edits are lowered, here. What is sent is what is added at each site, and
our source; a server runs an unedited row before the others, so that effects are of its own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from torch import Tensor

from steer.effects.passes.clean import Also, Clean, Edited
from steer.effects.passes.finite import check_deltas
from steer.errors import SteerError
from steer.lm.passes.added import Added, Dense, Writes, added
from steer.lm.passes.resumed import Takes
from steer.lm.remote import Remote
from steer.lm.remote_answers import Question, answers
from steer.model import Model

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Copies(Generic[T]):
    """b edited copies of one prompt of s tokens.

    change: what is added at the clean pass's site; also: at later ones [b, s, d].
    every: logits at every position, not at the last alone. of: what it is, in words.
    then: what is made of them.
    """

    clean: Clean
    rows: int
    change: Added | Dense
    every: bool
    of: str
    then: Callable[[Edited], T]
    also: Also = ()

    @property
    def delta(self) -> Tensor:
        """What is added at the site, [b, s, d]."""
        x = self.clean.x
        return self.change.to(x.new_empty(1, 1, 1).expand(self.rows + 1, *x.shape))[1:]

    def resumed(self) -> T:
        """Run here."""
        return self.then(self.clean.resume(self.delta, every=self.every, also=self.also))

    def question(self) -> Question[T]:
        """To be run elsewhere. Raises `NonFiniteError` for a change that overflows."""
        clean = self.clean
        deltas = [self.delta, *(more for _, more in self.also)]
        check_deltas(clean.model, clean.ids, clean.x, deltas)
        keep = 0 if self.every else 1
        options = Takes.of(clean.model.module).options(cached=False, keep=keep)
        ids = clean.ids.expand(self.rows + 1, -1).contiguous()
        writes: Writes = [(clean.site, self.change)]
        writes += [(site, Dense(more)) for site, more in self.also]
        light = replace(self, clean=replace(clean, cache=None))
        return Question(self.of, added, (ids, writes, options, keep), light._read)

    def _read(self, answer: dict[str, Any]) -> T:
        logits, clean = answer.get("logits"), self.clean
        wanted = (self.rows + 1, clean.length if self.every else 1)
        if not isinstance(logits, Tensor) or logits.shape[:2] != wanted:
            raise SteerError(
                f"what came back are no logits for {wanted[0]} rows and {wanted[1]} positions: run "
                "the same again"
            )
        logits = logits.to(clean.ids.device)
        clean.check(self.delta, logits[1:])
        return self.then(Edited(logits[1:], 0, (), logits[0]))


def run_copies(model: Model, several: Iterable[Copies[T]], remote: Remote = False) -> Iterator[T]:
    """What is made of each, in their order: here one after the other, as they are asked for;
    elsewhere a job each. Raises what `answers` raises, and `NonFiniteError` for an overflow."""
    if not remote:
        return (copies.resumed() for copies in several)
    return answers(model, remote, (copies.question() for copies in several))
