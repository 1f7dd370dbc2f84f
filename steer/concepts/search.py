"""The search for one concept: examples, features, dose, verdict. Each step tells its progress."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.concepts import trials
from steer.concepts.candidates import (
    Background,
    Candidate,
    candidates,
    difference,
    writers,
    written,
)
from steer.concepts.controls import RANDOM, arms
from steer.concepts.detector import contexts, detector, elsewhere
from steer.concepts.dose import Choice, Tried, choose
from steer.concepts.embedded import embedder, vocabulary
from steer.concepts.examples import FEWEST, Examples
from steer.concepts.fitted import LENGTH, told
from steer.concepts.fitted import fit as fit_direction
from steer.concepts.judge import Judge, judge
from steer.concepts.reading import Reading, read
from steer.concepts.result import Concept, Control, DoseTried, Pair, nothing
from steer.concepts.trials import (
    CHOOSING,
    CHOOSING_SEEDS,
    REPORTING,
    REPORTING_SEEDS,
    TOKENS,
    Trial,
    Unsteered,
)
from steer.concepts.verdict import over_prompts, verdict
from steer.concepts.writing import Row, write
from steer.edits import Intervention
from steer.lm.prompts import read_prompt
from steer.progress import Progress

if TYPE_CHECKING:
    from steer.model import Model

KNOWN = 0.5
"""Least share of examples that are told from other texts once the word itself is masked."""
_STEPS = 6


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for, and where. key: the dictionary's content."""

    model: Model
    dictionary: Dictionary
    key: str
    word: str
    examples: Examples
    budget: float
    seed: int
    progress: Progress | None

    def run(self, prompt: str | None) -> Concept:
        """The concept, or `none here` as soon as that is clear. prompt: to show it on as well."""
        self._tell("judging examples", 0)
        choosing, reporting = self._unsteered()
        how = self._judge((*choosing.texts, *reporting.texts))
        if reason := untold(how, self.word, self.examples):
            return self._none(reason, how)
        self._tell("reading examples", 1)
        fit, held_out, background = self._readings()
        norm = background.neutral.norm.mean().item()
        sets = candidates(self.dictionary, fit, held_out, background)
        sets += writers(self.dictionary, self.model.tokenizer, self.word)
        if not sets:
            return self._none("no feature fires in its texts and hardly in others", how)
        self._tell("fitting", 2)
        sets += written(self.dictionary, fit, background, self._fitted(fit, background, norm))
        self._tell("choosing features and dose", 3)
        choice = choose(self.model, self.dictionary, sets, choosing, how, norm, self.budget)
        if choice.chosen is None:
            reason = f"no dose that was tried stays within {self.budget:g} nats a token"
            return self._none(reason, how, len(choice.tried))
        self._tell("measuring", 4)
        single = choice.best_single or Tried(sets[0], choice.chosen.dose, choice.chosen.trial)
        length = choice.chosen.dose * norm
        edits = arms(
            self.dictionary,
            self.model.site_of(self.dictionary),
            choice.chosen.candidate,
            single.candidate,
            difference=difference(fit, background),
            density=background.share,
            length=length,
            seed=self.seed,
        )
        measured = self._measure(edits, reporting, how)
        self._tell("showing", 5)
        return self._concept(
            choice=choice,
            chosen=choice.chosen,
            edit=edits["edit"],
            measured=measured,
            reporting=reporting,
            how=how,
            detects=self._detects(choice.chosen.candidate, fit, held_out, background),
            shown=self._shown(prompt, edits["edit"], how),
        )

    def _unsteered(self) -> tuple[Unsteered, Unsteered]:
        """What the untouched model writes where the edit is chosen, and where it is reported."""
        halves = ((CHOOSING, CHOOSING_SEEDS), (REPORTING, REPORTING_SEEDS))
        first, second = (
            trials.unsteered(self.model, trials.places(self.model, prompts, seeds, self.seed))
            for prompts, seeds in halves
        )
        return first, second

    def _judge(self, plain: tuple[str, ...]) -> Judge:
        others = [text for texts in self.examples.others.values() for text in texts]
        words = vocabulary(self.model.tokenizer)
        embed = embedder([*words, *self.examples.neutral, *others])
        return judge(self.word, self.examples, plain, words, embed)

    def _readings(self) -> tuple[Reading, Reading, Background]:
        """Of both halves of the examples, and of what they are not."""
        texts = [self.examples.fit, self.examples.held_out, self.examples.neutral]
        texts += list(self.examples.others.values())
        fit, held_out, neutral, *others = (
            read(self.model, self.dictionary, text, self.key) for text in texts
        )
        return fit, held_out, Background(neutral, tuple(others))

    def _fitted(self, fit: Reading, background: Background, norm: float) -> Tensor:
        """The direction under which the model writes the fitting half unasked [d]."""
        texts = told(self.model, self.word, self.examples.fit)
        begin, length = difference(fit, background), LENGTH * norm
        site = self.model.site_of(self.dictionary)
        return fit_direction(self.model, site, texts, begin, length, self.seed)

    def _detects(
        self, chosen: Candidate, fit: Reading, held_out: Reading, background: Background
    ) -> dict[str, Any]:
        """How well the features detect the concept: in answers, and in texts of a corpus."""
        made = detector(chosen, fit, held_out, background)
        corpus = contexts(self.model, self.dictionary, self.word, self.seed)
        if len(corpus.about) < FEWEST:
            return {**asdict(made), "in_corpus": None}
        about, others = (
            read(self.model, self.dictionary, texts, self.key)
            for texts in (corpus.about, corpus.others)
        )
        in_corpus = asdict(elsewhere(made, chosen, about, others))
        return {**asdict(made), "in_corpus": {**in_corpus, "texts": list(corpus.about)}}

    def _measure(
        self, edits: Mapping[str, Intervention], plain: Unsteered, how: Judge
    ) -> dict[str, Trial]:
        """The edit and random features everywhere, the other controls once a prompt."""
        once = plain.first(len(REPORTING))
        both = [name for name in edits if name in ("edit", RANDOM)]
        rest = [name for name in edits if name not in both]
        done: dict[str, Trial] = {}
        for names, at in ((both, plain), (rest, once)):
            listed = [edits[name] for name in names]
            measured = trials.try_edits(self.model, self.dictionary, listed, at, how)
            done |= dict(zip(names, measured, strict=True))
        done["a prompt that asks"] = trials.try_asking(self.model, self.word, once, how)
        return done

    def _shown(self, prompt: str | None, edit: Intervention, how: Judge) -> list[Pair]:
        """Continuations of the caller's prompt, without and with the edit."""
        if prompt is None:
            return []
        read_one = read_prompt(self.model, prompt)
        rows = [Row(read_one, s, e) for e in (None, edit) for s in REPORTING_SEEDS]
        texts = [piece.text for piece in write(self.model, rows, TOKENS, self.dictionary)]
        n = len(REPORTING_SEEDS)
        on = (how.similar(texts[n:]) & how.mentions(texts[n:])).tolist()
        return [
            Pair(prompt, s, before, after, about, shown=True)
            for s, before, after, about in zip(
                REPORTING_SEEDS, texts[:n], texts[n:], on, strict=True
            )
        ]

    def _concept(
        self,
        *,
        choice: Choice,
        chosen: Tried,
        edit: Intervention,
        measured: Mapping[str, Trial],
        reporting: Unsteered,
        how: Judge,
        detects: dict[str, Any],
        shown: list[Pair],
    ) -> Concept:
        trial, baseline = measured["edit"], trials.of_unsteered(reporting, how)
        decision, reason = verdict(trial, baseline, measured[RANDOM], self.budget)
        pairs = [
            Pair(at.prompt.text, at.seed, before, after, on)
            for at, before, after, on in zip(
                *(reporting.places, reporting.texts, trial.texts),
                (trial.on_topic > 0).tolist(),
                strict=True,
            )
        ]
        return Concept(
            verdict=decision,
            reason=reason,
            intervention=edit,
            method=chosen.candidate.name,
            features=chosen.candidate.features,
            weights=chosen.candidate.weights,
            dose=chosen.dose,
            tried=len(choice.tried),
            doses=tuple(
                DoseTried(
                    dose=at.dose,
                    on_topic=at.trial.on_topic.mean().item(),
                    loss_increase=at.trial.loss_increase.mean().item(),
                    fluent=at.within(self.budget),
                )
                for at in choice.course
            ),
            on_topic=over_prompts(trial.on_topic),
            on_topic_baseline=over_prompts(baseline.on_topic),
            loss_increase=over_prompts(trial.loss_increase),
            similar=over_prompts(trial.similar),
            mentions=over_prompts(trial.mentions),
            controls=tuple(
                Control(name, over_prompts(control.on_topic), over_prompts(control.loss_increase))
                for name, control in measured.items()
                if name != "edit"
            ),
            detector=detects,
            texts=(*pairs, *shown),
            **self._told(how),
        )

    def _none(self, reason: str, how: Judge, tried: int = 0) -> Concept:
        """`none here` without an edit."""
        unknown = nothing()
        return Concept(
            verdict="none here",
            reason=reason,
            intervention=None,
            method="",
            features=(),
            weights=(),
            dose=math.nan,
            tried=tried,
            doses=(),
            controls=(),
            detector={},
            texts=(),
            on_topic=unknown,
            on_topic_baseline=unknown,
            loss_increase=unknown,
            similar=unknown,
            mentions=unknown,
            **self._told(how),
        )

    def _told(self, how: Judge) -> dict[str, Any]:
        """What every answer says of its making."""
        texts = asdict(self.examples)
        return {
            "word": self.word,
            "dictionary": self.dictionary.name,
            "budget": self.budget,
            "judge": {
                "field": list(how.field),
                "sensitivity": how.sensitivity,
                "known": how.known,
            },
            "examples": {**texts, "others": list(self.examples.others)},
            "model": self.model.name,
            "dtype": self.model.precision,
            "seed": self.seed,
        }

    def _tell(self, what: str, done: int) -> None:
        if self.progress:
            self.progress(f"{self.word}: {what}", done, _STEPS)


def untold(how: Judge, word: str, examples: Examples) -> str | None:
    """Why the examples say nothing of a concept, or None if they do."""
    whose = "the model's own answers about it" if examples.made else "the examples given"
    if how.sensitivity < KNOWN:
        return f"{whose} are not told from other texts by what half of them say"
    if examples.made and how.known < KNOWN:
        return f"{whose} have too little in common besides the word {word!r} itself"
    return None
