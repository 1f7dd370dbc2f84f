"""E9: side effects. How far one feature's ablation is felt, what that depends on, and what
clamping a feature costs a model at things that have nothing to do with the feature.

First, every active feature of a trained dictionary and of its controls is ablated alone at single
tokens of natural text, each feature at several tokens: KL, and KL per ‖Δx‖, which can rank trained
and untrained directions the other way round; and how much of the variance is the token's, and how
much the feature's. Then features are clamped to their maximum on passages and on indirect objects,
against random directions and other features of the same ‖Δx‖.
"""

from __future__ import annotations

from dataclasses import replace

from apps.reproduce.e6_dose.experiment import CONCEPTS, SITE
from apps.reproduce.e9_side_effects.single_latents import Ablated, ablate_each
from apps.reproduce.e9_side_effects.spillover import Spilled, spillover
from apps.reproduce.e9_side_effects.table import tabulate
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import bases, texts
from apps.studies import ioi_prompts

REVISION = 3
"""Of what a row means: raise it, and interrupted runs start anew."""


def run(settings: Settings) -> Table:
    """The shipped dictionary at block 20 against its controls."""
    model = settings.load()
    trained = model.dictionary(f"{settings.model}/{SITE}")
    card = trained.card or {}
    x = bases.site_activations(model, SITE, settings.count(full=24, fast=16), settings.seed)
    dictionaries = [
        trained,
        *bases.baselines(trained, x, max(1, round(card.get("l0", 50))), settings.seed),
        bases.random_rows(trained, settings.seed),
        bases.shuffled_rows(trained, settings.seed),
    ]
    tokens = texts.passages(model, settings.count(full=80, fast=8), 24, settings.seed)

    def ablate(item: tuple[int, str]) -> list[Ablated]:
        number, passage = item
        ablated = ablate_each(model, [passage], dictionaries)
        return [replace(row, position=number) for row in ablated]

    made_of = {"revision": REVISION, "passages": [p.text for p in tokens], "fitted_on": len(x)}
    each_token = {str(number): (number, p.text) for number, p in enumerate(tokens)}
    ablated = rows_of_each(
        settings, "ablating at single tokens", made_of, each_token, ablate, Ablated
    )
    count = settings.count(full=4, fast=2)
    passages = [p.text for p in texts.passages(model, count, 24, settings.seed + 2)]
    pairs = ioi_prompts.pairs(model, settings.count(full=8, fast=2), settings.seed)

    def clamp(feature: int) -> list[Spilled]:
        return spillover(model, trained, feature, passages, pairs, seed=settings.seed)

    made_of = {
        "revision": REVISION,
        "passages": passages,
        "pairs": [pair.prompt for pair in pairs],
    }
    features = {str(i): i for i in list(CONCEPTS)[: settings.count(full=11, fast=2)]}
    spilled = rows_of_each(settings, "clamping", made_of, features, clamp, Spilled)
    return tabulate(ablated, spilled, [d.name for d in dictionaries], settings.seed)
