"""Labels for all features of a dictionary, from the detectors: no judge, each with its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apps.labels.fields import MEANINGS, by_meaning, read_senses
from apps.labels.reading import Reading, read_recipe, token_texts
from apps.training.recipe import Recipe
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.disk.ledger import Row
from steer.interpretation.activity import find_activity
from steer.interpretation.detectors import Activity, Detector, detect
from steer.interpretation.views import VIEWS, Grouping, groupings
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Opened, blocks
from steer.jobs.run import Spread, run
from steer.progress import Progress

SOURCE = "steer"
"""Of these labels: rules that detectors found."""
BLOCK = 1024
"""Features of a unit: the texts are sorted by every view once for all of them."""
_EXAMPLE = 3, 1
"""Tokens shown before and after an example's strongest one."""


def make_labels(
    dictionary: Dictionary,
    recipe: Recipe,
    *,
    work: Path | None = None,
    fit: int = 800,
    heldout: int = 400,
    block: int = BLOCK,
    file: Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> Labels:
    """A label per feature, from the recipe's corpus; `fit` and `heldout` are contexts.

    Features that are silent on either part get no label.

    block: features of a unit of work; file: where labels are written as they come, to be continued;
    shard: such as `2/3`, to find a third of them, into its file; executor: `ray`.
    See `read_recipe` and `steer.jobs.run.run` for what is raised.
    """
    report = progress or (lambda what, done, total: None)
    reading, tokenizer = read_recipe(
        dictionary, recipe, work=work, fit=fit, heldout=heldout, progress=report
    )
    parts = blocks(dictionary.width, block)
    job = Ruled(dictionary, reading, token_texts(tokenizer, len(tokenizer)), parts)
    header = {
        "labels": 1,
        "dictionary": dictionary_content(dictionary),
        "recipe": recipe.name,
        "contexts": [fit, heldout],
        "block": block,
    }
    rows = run(job, None, Spread.of(file, shard, executor_of(executor)), header, progress)
    return Labels(Label.from_dict(row) for row in rows)


@dataclass(frozen=True, eq=False)
class Ruled:
    """A job of one part: labels of each block of features, found apart from all other blocks."""

    dictionary: Dictionary
    reading: Reading
    texts: list[str]
    blocks: list[range]
    stage: str = "labels"
    doing: str = "finding rules"
    part: str = "dictionary"
    parts: int = 1

    @property
    def most_units(self) -> int:
        return len(self.blocks)

    def open(self, model: None, part: int) -> Opened:
        """All features are encoded where none can be alone."""
        sorts = {**groupings(self.texts), **by_meaning(self.texts, read_senses())}
        whole = None if self.dictionary.separable else _active(self.dictionary, self.reading)
        return Opened(len(self.blocks), lambda unit: self._rows(self.blocks[unit], sorts, whole))

    def _rows(
        self, features: range, sorts: dict[str, Grouping], whole: Activity | None
    ) -> list[Row]:
        if whole is None:
            activity = _active(self.dictionary.restrict(features), self.reading)
        else:
            activity = whole.of_features(features)
        rules = detect(activity, self.reading.tokens, sorts, (*VIEWS, *MEANINGS))
        return [
            _label(self.dictionary, features[rule.feature], rule, self.texts).to_dict()
            for rule in rules
        ]


def _active(dictionary: Dictionary, reading: Reading) -> Activity:
    return find_activity(dictionary, reading.activations, reading.keep, reading.heldout)


def _label(dictionary: Dictionary, feature: int, rule: Detector, texts: list[str]) -> Label:
    return Label(
        feature=feature,
        text=rule.text,
        source=SOURCE,
        precision=round(rule.precision, 2),
        recall=round(rule.recall, 2),
        f1=round(rule.f1, 3),
        example=_example(dictionary, feature, texts),
    )


def _example(dictionary: Dictionary, feature: int, texts: list[str]) -> str | None:
    """The strongest context that may be shown, with its strongest token in «»."""
    statistics = dictionary.statistics
    if statistics is None or statistics.maximum[feature] <= 0:
        return None
    ids, strength = statistics.contexts[feature, 0], statistics.context_activations[feature, 0]
    if not strength.max() > 0:
        return None
    peak = int(strength.argmax())
    before, after = _EXAMPLE
    shown = range(max(0, peak - before), min(len(ids), peak + after + 1))
    pieces = [f"«{texts[ids[i]]}»" if i == peak else texts[ids[i]] for i in shown if ids[i] >= 0]
    return " ".join("".join(pieces).split()) or None
