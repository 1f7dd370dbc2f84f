"""E1, the frontier: how faithful a reconstruction is at each sparsity.

Rows: the paper's L1 dictionaries, TopK ones, and what nobody trained at equal numbers of active
features: PCA, ICA, random directions. Identity and zero rows are the ends of the scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from apps.reproduce.cells import Row, bounds, row_of
from apps.reproduce.e1_frontier.table import COLUMNS, tabulate
from apps.reproduce.kept.parts import part, weights_of
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import zoo
from dictionaries import baselines, catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.formats import load_folder
from steer.maths.statistics import interval
from steer.quality.frontier import Reconstruction, random_dictionary, reconstruction, truncated
from steer.quality.replacement import Replacement, replacement_losses

REVISION = 1
"""Of what a loss means: raise it, and interrupted runs start anew."""
ICA_ITERATIONS = (60, 8)
"""At most, in a full and in a fast run: it may not converge in them, and the notes say so."""


@dataclass(frozen=True)
class _Losses:
    """Of every context, with a site replaced in one way."""

    name: str
    values: list[float]


@dataclass(frozen=True, eq=False)
class _Entry:
    family: str
    condition: str
    dictionary: Dictionary


def run(settings: Settings) -> Table:
    """Measure every entry on the held-out contexts."""
    trained = zoo.trained_all(settings)
    trained |= {k: zoo.trained(settings, k, c) for k, c in zoo.reseeded(settings).items()}
    corpus = zoo.corpus(settings)
    entries = _entries(settings, trained, corpus)
    losses = _losses(settings, entries, corpus, settings.count(64, 2))
    heldout = corpus.contexts.heldout.nonzero().flatten()[: settings.count(64, 40)]
    activations, keep = corpus.store.mapped(corpus.site)[heldout], corpus.keep[heldout]
    rows = []
    for number, entry in enumerate(entries):
        settings.progress("reconstructing", number, len(entries))
        quality = reconstruction(
            entry.dictionary, activations, keep, corpus.mean, seed=settings.seed
        )
        rows.append(_row(entry, quality, losses, settings.seed))
    rows += [_end(name, activations[keep], losses, settings.seed) for name in ("identity", "zero")]
    return tabulate(rows, _notes(settings, corpus, len(losses["clean"]), int(keep.sum())))


def _entries(
    settings: Settings, trained: Mapping[str, Dictionary], corpus: zoo.Corpus
) -> list[_Entry]:
    fit = corpus.train[:: max(1, len(corpus.train) // settings.count(65_536, 16_384))]
    pca = baselines.pca(fit.float(), hookpoint=corpus.site)
    ica = fitted_ica(settings, corpus)
    entries = []
    for label, dictionary in trained.items():
        family, _, condition = label.partition(" ")
        entries.append(_Entry(family, condition, dictionary))
    width = next(iter(trained.values())).width
    for k in zoo.ks(settings):
        random = random_dictionary(fit, width, k, seed=settings.seed)
        entries.append(_Entry("PCA", f"k={k}", truncated(pca, k)))
        entries.append(_Entry("ICA", f"k={k}", truncated(ica, k)))
        entries.append(_Entry("random", f"k={k}", random))
    return entries


def fitted_ica(settings: Settings, corpus: zoo.Corpus) -> Dictionary:
    """FastICA stopped after `ICA_ITERATIONS`, kept as a part: it is the slowest of the controls."""
    count, iterations = settings.count(12_000, 2_500), settings.count(*ICA_ITERATIONS)
    made_of = {
        **zoo.made_of_harvest(settings),
        "ica": [count, iterations],
        "site": corpus.site,
        "seed": settings.seed,
    }

    def make(folder: Path) -> None:
        settings.progress("fitting ICA", 0, 1)
        sample = corpus.train[:: max(1, len(corpus.train) // count)][:count].float()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="FastICA did not converge")
            ica = baselines.ica(sample, seed=settings.seed, iterations=iterations)
        catalogue.save(ica, folder)

    return load_folder(part(settings.cache, "ica", made_of, make))


def _losses(
    settings: Settings, entries: Sequence[_Entry], corpus: zoo.Corpus, contexts: int
) -> dict[str, Tensor]:
    """Loss [contexts] of each entry and of `clean`, `identity`, `zero`; kept family by family."""
    groups: dict[str, dict[str, Replacement]] = {
        "control": {"identity": lambda x: x, "zero": torch.zeros_like}
    }
    for entry in entries:
        group = groups.setdefault(entry.family, {})
        group[f"{entry.family} {entry.condition}"] = entry.dictionary.reconstruct
    dtype = zoo.recipe(settings).evaluation_dtype
    tokens = corpus.heldout_tokens[:contexts]

    def find(replacements: Mapping[str, Replacement]) -> list[_Losses]:
        measured = replacement_losses(
            settings.load(dtype),
            corpus.site,
            tokens,
            replacements,
            corpus.cutoff,
            progress=settings.progress,
        )
        return [_Losses(name, values.double().tolist()) for name, values in measured.items()]

    made_of = {
        "revision": REVISION,
        "harvest": zoo.made_of_harvest(settings),
        "contexts": len(tokens),
        "dtype": dtype,
        "dictionaries": [weights_of(entry.dictionary) for entry in entries],
    }
    rows = rows_of_each(settings, "reconstruction losses", made_of, groups, find, _Losses)
    return {row.name: torch.tensor(row.values, dtype=torch.float64) for row in rows}


def _row(entry: _Entry, quality: Reconstruction, losses: Mapping[str, Tensor], seed: int) -> Row:
    cells = {
        "family": entry.family,
        "condition": entry.condition,
        "L0": quality.l0,
        **bounds("FVU", quality.fvu, "FVU "),
        **_cost(losses, f"{entry.family} {entry.condition}", seed),
        "γ": quality.shrinkage,
        "dead": quality.dead,
    }
    return row_of(COLUMNS, cells)


def _end(name: str, x: Tensor, losses: Mapping[str, Tensor], seed: int) -> Row:
    """The row of a replacement that is no dictionary."""
    x = x.float()
    fvu = 0.0 if name == "identity" else (x.square().sum() / (x - x.mean(0)).square().sum()).item()
    cells = {"family": "control", "condition": name, "FVU": fvu, **_cost(losses, name, seed)}
    return row_of(COLUMNS, cells)


def _cost(losses: Mapping[str, Tensor], name: str, seed: int) -> Row:
    """The rise of the loss, and the share of what zeroing costs that is given back."""
    delta = interval(losses[name].double() - losses["clean"].double(), seed=seed)
    cost = (losses["zero"].double() - losses["clean"].double()).mean().item()
    return {**bounds("ΔCE", delta, "ΔCE "), "CE recovered": 1 - delta.mean / cost}


def _notes(settings: Settings, corpus: zoo.Corpus, contexts: int, tokens: int) -> tuple[str, ...]:
    config = next(iter(zoo.configurations(settings).values()))
    short = next(iter(zoo.reseeded(settings).values()))
    length, dtype = corpus.contexts.tokens.shape[1], zoo.recipe(settings).evaluation_dtype
    return (
        f"Site {corpus.site}, {config.width} features, each dictionary trained on "
        f"{config.samples:,} samples of {len(corpus.train):,} activations. FVU, "
        f"L0 and γ on {tokens:,} held-out tokens; ΔCE on {contexts} held-out contexts of "
        f"{length} tokens in {dtype}.",
        "The first token of a context and tokens whose norm is above four medians (massive "
        "activations) are left as they are, in training and in every figure.",
        f"ICA is FastICA on {settings.count(12_000, 2_500):,} activations, stopped after at most "
        f"{settings.count(*ICA_ITERATIONS)} iterations: it may not have converged.",
        f"Families ending in {zoo.SHORT} had {short.samples:,} samples each and are alike but for "
        "the seed of initialisation and order: what the seed does, not how good they can get.",
        "α weighs ‖c‖₁ against ‖x − x̂‖² with inputs scaled to E‖x‖ = √d, so its values can't be "
        "compared with the paper's; L0 can.",
    )
