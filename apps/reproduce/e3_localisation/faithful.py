"""Integrated faithfulness of several ways to say what a site holds, on indirect objects.

    python -m apps.reproduce.e3_localisation.faithful --dictionary "frozen decoder=FOLDER"

Beside E3: the same patching, at the shipped dictionary's site, with a learned subspace
(`aligned.py`), with CPR and CMD (`steer.effects.patching.integrated`), in the logit difference as
well as in E3's KL, and with dictionaries that are given by path. Nodes are ranked, and the subspace
learned, on pairs that are not judged on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import typer
from torch import Tensor

from apps.reproduce.e3_localisation.aligned import SEARCH, Search, interchanged, learned_subspace
from apps.reproduce.e3_localisation.experiment import as_patchable, controls
from apps.reproduce.shared import bases
from apps.reproduce.shared.given import SHIPPED, GivenDictionaries, measure_given, read_given
from apps.studies import ioi_prompts
from apps.studies.ioi_prompts import Pair
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.effects.metric import LogitDifference
from steer.effects.patching.curve import Curve
from steer.effects.patching.integrated import Integrated, integrated_faithfulness
from steer.effects.patching.patchable import Patchable
from steer.effects.patching.patching import patch_curve
from steer.effects.patching.ranking import rank
from steer.loading import load
from steer.maths import metrics
from steer.maths.precision import exact
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from steer.model import Model

RESULTS = Path(__file__).parents[1] / "results" / "e3_faithful.jsonl"
REVISION = 1
"""Of what a row means: raise it, and kept rows are refused."""
PASSAGES = 48
"""That the principal components and the mean are of."""
SHOWN = (2, 8, 32, 64)
COUNTS = (0, 1, 2, 4, 8, 16, 32, 64)
"""Numbers of features; of the subspace, twice its dimensions, since the axes of PCA and of neurons
count twice too, a feature for each sign."""
SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of all features: the sizes of the Mechanistic Interpretability Benchmark."""
DIMENSIONS = (1, 4, 32)
LEARNED = "learned subspace (DAS)"


@dataclass(frozen=True)
class Row:
    """A size, or an area: CPR and CMD `upto` so many features, or over all sizes as a share.

    share: f of the logit difference, the means over the pairs first; kl: KL(edited‖target), nats.
    """

    name: str
    what: str
    features: float
    pairs: int
    share: float | None = None
    kl: float | None = None
    kl_low: float | None = None
    kl_high: float | None = None
    cpr: float | None = None
    cpr_low: float | None = None
    cpr_high: float | None = None
    cmd: float | None = None
    cmd_low: float | None = None
    cmd_high: float | None = None


@dataclass(frozen=True)
class Asked:
    """Pairs to rank features on, others to judge on, and more to learn the subspace on."""

    rank: tuple[Pair, ...]
    judge: tuple[Pair, ...]
    learn: tuple[Pair, ...]

    @classmethod
    def of(cls, model: Model, count: int, seed: int) -> Asked:
        """`count` to rank on and to judge on, three times as many to learn on; no prompt twice."""
        drawn = ioi_prompts.pairs(model, 5 * count, seed)
        parts = (drawn[:count], drawn[count : 2 * count], drawn[2 * count :])
        return cls(*map(tuple, parts))


def toward(pairs: Sequence[Pair]) -> list[LogitDifference]:
    """logit(the target's indirect object) − logit(the base's), one a pair."""
    return [LogitDifference(pair.other_answer, pair.answer) for pair in pairs]


def ends(patchable: Sequence[Patchable], wanted: Sequence[LogitDifference]) -> Tensor:
    """The metric of the base run and of the target run, [2, n]."""
    base = [pair.clean.logits[-1] for pair in patchable]
    target = [pair.goal for pair in patchable]
    return torch.stack([_measured(patchable, wanted, end) for end in (base, target)])


def dictionary_rows(model: Model, name: str, dictionary: Dictionary, asked: Asked) -> Iterator[Row]:
    """Nodes ranked by integrated gradients of the logit difference, over other pairs.

    Those that do not differ there, and may in the others, come last.
    """
    others = as_patchable(model, dictionary, asked.rank)
    best = rank(others, "ig", metric=toward(asked.rank), steps=4)
    order = [*best, *sorted(set(range(dictionary.width)) - set(best))]
    judge = as_patchable(model, dictionary, asked.judge)
    wanted = toward(asked.judge)
    sizes = sorted({math.ceil(share * dictionary.width) for share in SHARES})
    counts = sorted({*COUNTS, *sizes})
    moved = patch_curve(judge, order, counts=counts, metric=wanted)
    apart = patch_curve(judge, order, counts=COUNTS, metric="kl")
    limits = ends(judge, wanted)
    yield from _rows(name, moved, apart, limits)
    values = moved.value[[moved.counts.index(size) for size in sizes]]
    places = [size / dictionary.width for size in sizes]
    whole = integrated_faithfulness(places, values, limits)
    yield _area(name, "all sizes", dictionary.width, whole)


def subspace_rows(
    model: Model,
    dictionary: Dictionary,
    asked: Asked,
    dimensions: Sequence[int] = DIMENSIONS,
    search: Search = SEARCH,
) -> Iterator[Row]:
    """Learned anew for each number of dimensions; of the dictionary, only the site counts."""
    learn = as_patchable(model, dictionary, asked.learn, "patch")
    judge = as_patchable(model, dictionary, asked.judge, "patch")
    answers, wanted = [pair.other_answer for pair in asked.learn], toward(asked.judge)
    limits = ends(judge, wanted)
    runs = [[pair.clean.logits[-1] for pair in judge]]
    for size in dimensions:
        rows = learned_subspace(learn, answers, size, search)
        runs.append([interchanged(pair, rows) for pair in judge])
    counts = (0, *(2 * dimension for dimension in dimensions))
    values = torch.stack([_measured(judge, wanted, logits) for logits in runs])
    apart = torch.stack([_apart(judge, logits) for logits in runs])
    nothing = torch.zeros_like(values)
    yield from _rows(
        LEARNED,
        Curve(counts, values, nothing, LEARNED, "learned", "LogitDifference", "patch"),
        Curve(counts, apart, nothing, LEARNED, "learned", "kl", "patch"),
        limits,
    )


def _measured(
    pairs: Sequence[Patchable], wanted: Sequence[LogitDifference], logits: Sequence[Tensor]
) -> Tensor:
    """The metric of each pair's logits [V], [n]."""
    values = []
    for pair, metric, last in zip(pairs, wanted, logits, strict=True):
        measure = pair.measure(metric)
        values.append(measure(exact(last).view(1, 1, -1), measure.reference)[0])
    return torch.stack(values).double().cpu()


def _apart(pairs: Sequence[Patchable], logits: Sequence[Tensor]) -> Tensor:
    """KL(edited‖target) of each pair's logits [V], [n]."""
    divergences = [metrics.kl(last, pair.goal) for pair, last in zip(pairs, logits, strict=True)]
    return torch.stack(divergences).double().cpu()


def _rows(name: str, moved: Curve, apart: Curve, limits: Tensor) -> Iterator[Row]:
    """At each number of features up to the last, and the areas up to there."""
    upto = apart.counts[-1]
    span = (limits[1] - limits[0]).mean()
    points = [place for place, count in enumerate(moved.counts) if count in apart.counts]
    values = moved.value[points]
    for count, value, kl in zip(apart.counts, values, apart.value, strict=True):
        apart_by = interval(kl)
        yield Row(
            name=name,
            what="size",
            features=count,
            pairs=len(kl),
            share=((value - limits[0]).mean() / span).item(),
            kl=apart_by.mean,
            kl_low=apart_by.low,
            kl_high=apart_by.high,
        )
    places = [count / upto for count in apart.counts]
    yield _area(name, "upto", upto, integrated_faithfulness(places, values, limits))


def _area(name: str, what: str, features: float, areas: Integrated) -> Row:
    cells = {
        f"{area}{end}": getattr(getattr(areas, area), part)
        for area in ("cpr", "cmd")
        for end, part in (("", "mean"), ("_low", "low"), ("_high", "high"))
    }
    return Row(name, what, features, areas.cpr.n, **cells)


def run(
    model: Model, named: Mapping[str, Dictionary], asked: Asked, out: Path
) -> list[Mapping[str, Any]]:
    """The subspace, the shipped dictionary, the given ones and the controls; what is missing."""
    shipped = model.dictionary(SHIPPED)
    site = model.site_of(shipped)
    untrained = controls(bases.site_activations(model, site, PASSAGES), site, shipped.width, 0)
    every = {LEARNED: untrained["neurons"], "shipped": shipped, **named, **untrained}

    def measure(dictionary: Dictionary, asked: Asked) -> list[dict[str, Any]]:
        if dictionary.name == LEARNED:
            return told(subspace_rows(model, dictionary, asked))
        return told(dictionary_rows(model, dictionary.name, dictionary, asked))

    prompts = {part: [pair.prompt for pair in pairs] for part, pairs in vars(asked).items()}
    header = {"what": "E3, integrated", "revision": REVISION, "model": model.fingerprint}
    return measure_given(Ledger(out, {**header, **prompts}), every, {"all pairs": asked}, measure)


def told(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as they are kept: without the cells that they do not have."""
    return [{k: v for k, v in asdict(row).items() if v is not None} for row in rows]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a dictionary, in Markdown."""
    lines = [
        "| | CPR to 64 | CMD to 64 | f at 2, 8, 32, 64 | KL at 64 | CPR, CMD, all sizes |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        sizes = {row["features"]: row for row in own if row["what"] == "size"}
        areas = {row["what"]: row for row in own if row["what"] != "size"}
        near, whole = areas["upto"], areas.get("all sizes")
        shares = ", ".join(f"{sizes[n]['share']:.2f}" if n in sizes else "–" for n in SHOWN)
        cells = [name, _shown(near, "cpr"), _shown(near, "cmd"), shares, _shown(sizes[64], "kl")]
        cells.append(f"{_shown(whole, 'cpr')}, {_shown(whole, 'cmd')}" if whole else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(row: Mapping[str, Any], cell: str) -> str:
    return f"{row[cell]:.2f} [{row[f'{cell}_low']:.2f}, {row[f'{cell}_high']:.2f}]"


def main(dictionary: GivenDictionaries = None, pairs: int = 6, out: Path = RESULTS) -> None:
    """Run what is missing, and print the table."""
    model = load()
    print(table(run(model, read_given(model, dictionary), Asked.of(model, pairs, 0), out)))


if __name__ == "__main__":
    typer.run(main)
