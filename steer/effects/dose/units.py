"""The work of a dose response in units: a prompt, or a neutral text, under all doses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Row
from steer.edits import Edit, Intervention
from steer.effects.dose.result import MEASURES, NEUTRAL, PRICED, WRITTEN
from steer.effects.metric import Divergence, Loss, Metric, Reference
from steer.effects.passes.changes import clean_for, read_changes
from steer.effects.passes.clean import Clean, Edited, touched
from steer.effects.passes.copies import Copies, run_copies
from steer.lm.continuations import Continuation
from steer.lm.passes.added import Dense
from steer.lm.remote import Remote
from steer.maths.precision import exact
from steer.model import Model
from steer.runs.fluency import distinct_pairs, losses


@dataclass(frozen=True, eq=False)
class Doses:
    """Every dose on each text: a row a dose.

    edits: one a dose. measures: one a prompt. neutral: texts whose loss alone is read.
    continuation: how many tokens to write under each dose. remote: where all that is edited runs.
    """

    prompts: tuple[str, ...]
    measures: tuple[Metric, ...]
    neutral: tuple[str, ...]
    dictionary: Dictionary
    edits: tuple[Edit, ...]
    continuation: int
    seed: int
    remote: Remote = False

    def rows(self, model: Model, part: int) -> list[Row]:
        of_prompt = part < len(self.prompts)
        number = part if of_prompt else part - len(self.prompts)
        columns = (
            self._of_prompt(model, number)
            if of_prompt
            else {NEUTRAL: self._changes(model, self.neutral[number], (Loss(),))[0]}
        )
        lists = {name: values.double().tolist() for name, values in columns.items()}
        text = self.prompts[number] if of_prompt else self.neutral[number]
        where = {"prompt" if of_prompt else "neutral": number, PRICED: self._priced(model, text)}
        return [
            {**where, "dose": i, **{name: values[i] for name, values in lists.items()}}
            for i in range(len(self.edits))
        ]

    def _priced(self, model: Model, text: str) -> bool:
        """Whether the loss of any token could move: it is read off the one before."""
        ids = model.tokenize([text])[0][0]
        return bool(touched(model, ids, self.edits[0].positions)[:-1].any())

    def _of_prompt(self, model: Model, number: int) -> dict[str, Tensor]:
        text, metric = self.prompts[number], self.measures[number]
        columns = dict(
            zip(
                MEASURES,
                self._changes(model, text, (metric, Divergence(), Loss()), share=True),
                strict=True,
            )
        )
        return columns | (self._written(model, text) if self.continuation else {})

    def _changes(
        self, model: Model, text: str, metrics: Sequence[Metric], *, share: bool = False
    ) -> list[Tensor]:
        """The change of each metric under each dose, [doses] each; share: and ‖Δ‖/‖x‖."""
        clean, delta = _deltas(model, text, self.dictionary, self.edits)
        copies = Copies(
            clean=clean,
            rows=len(delta),
            change=Dense(delta),
            every=True,
            of=f"{len(delta)} doses at {clean.site.hookpoint}",
            then=partial(_changes, clean.ids, metrics),
        )
        (changes,) = run_copies(model, [copies], self.remote)
        if share:
            sizes = exact(delta).norm(dim=-1) / exact(clean.x).norm(dim=-1)
            acted = clean.touched(self.edits[0].positions)
            changes.append(sizes[:, acted].sum(1) / max(int(acted.sum()), 1))
        return changes

    def _written(self, model: Model, prompt: str) -> dict[str, Tensor]:
        """Loss and distinct pairs of what is written after a prompt, [doses] each."""
        runs = model.generate_batch(
            [prompt],
            [Intervention(self.dictionary.name, [edit]) for edit in self.edits],
            max_new_tokens=self.continuation,
            dictionaries=[self.dictionary],
            seed=self.seed,
            if_silent="ignore",
            remote=self.remote,
        )
        ids = tuple(model.tokenize([prompt])[0][0].tolist())
        loss = losses(model, [Continuation(ids, run.ids) for run in runs])
        distinct = torch.tensor([distinct_pairs(run.ids) for run in runs])
        return dict(zip(WRITTEN, (loss, distinct), strict=True))


def _deltas(
    model: Model, text: str, dictionary: Dictionary, edits: Sequence[Edit]
) -> tuple[Clean, Tensor]:
    """A clean pass, and Δ [doses, s, d]."""
    ids, _ = model.tokenize([text])
    clean = clean_for(model, ids[0], dictionary, every=True)
    several = [
        read_changes(clean, dictionary, [edit]).delta([(0,)], clean.x.dtype) for edit in edits
    ]
    return clean, torch.cat(several)


def _changes(ids: Tensor, metrics: Sequence[Metric], edited: Edited) -> list[Tensor]:
    """The change of each metric in every edited row of a prompt's ids [s], [doses] each."""
    changes = []
    with torch.inference_mode():
        for metric in metrics:
            reference = Reference.of(edited.clean, ids, edited.start, metric.every)
            logits = edited.logits if metric.every else edited.logits[:, -1:]
            changes.append(metric.change(logits, reference))
    return changes
