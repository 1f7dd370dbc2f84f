"""E2, interpretability without a judge: how well readable rules predict where features are active.

A rule looks at the token, its ending or shape, the token before or after. It is chosen on one part
of the text and measured on another. Directions that nobody trained get thresholds that make them
as rare as the trained features, since a rule for half of all tokens is easy. The sharpest control
is the same architecture with random weights, and a dictionary trained on that. Where the settings
name a judge, it explains a sample of each as well (`judging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from apps.labels.reading import Reading, read, token_texts
from apps.reproduce.cells import Row, bounds, row_of
from apps.reproduce.e1_frontier.experiment import fitted_ica
from apps.reproduce.e2_interpretability import judging
from apps.reproduce.e2_interpretability.table import COLUMNS, DENSE, GOOD, tabulate
from apps.reproduce.kept.parts import part, weights_of
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import zoo
from dictionaries import baselines, catalogue
from dictionaries.dictionary import Dictionary
from steer.interpretation.activity import find_activity, matching_threshold
from steer.interpretation.detectors import Activity, Detector, detect
from steer.interpretation.views import Grouping, groupings
from steer.maths.statistics import Interval, interval

STRONGEST = 0.1


def run(settings: Settings) -> Table:
    """Find the rules of every set of directions and compare."""
    corpus = zoo.corpus(settings)
    reading = _reading(settings, corpus)
    partitions = groupings(_texts(settings))
    trained, controls = _trained(settings, corpus.site), _controls(settings, corpus)
    rows: list[Row] = []
    density: Tensor | None = None
    for name, dictionary in trained.items():
        settings.progress(f"rules of {name}", len(rows), len(trained) + len(controls) + 1)
        activity = _activity(reading, dictionary)
        density = activity.density if density is None else density
        rows.append(_row(settings, name, dictionary, activity, reading, partitions))
    assert density is not None
    for name, dictionary in controls.items():
        settings.progress(f"rules of {name}", len(rows), len(trained) + len(controls) + 1)
        activity = _activity(reading, dictionary, _matched(density, dictionary, settings.seed))
        rows.append(_row(settings, name, dictionary, activity, reading, partitions))
    del corpus, reading, activity
    rows.append(_random_weights(settings, partitions))
    return tabulate(rows, _notes(settings))


# -- what is described -------------------------------------------------------------------------


def _trained(settings: Settings, site: str) -> dict[str, Dictionary]:
    """E1's dictionaries of middle sparsity, and the one shipped for the site, if any."""
    dictionaries = {
        label: zoo.trained(settings, label, config)
        for label, config in zoo.middle(settings).items()
    }
    name = f"{settings.model}/{site}"
    if name in catalogue.names():
        shipped = catalogue.load(name)
        dictionaries[f"shipped, {shipped.width} features"] = shipped
    return dictionaries


def _controls(settings: Settings, corpus: zoo.Corpus) -> dict[str, Dictionary]:
    fit = corpus.train[:: max(1, len(corpus.train) // settings.count(65_536, 16_384))].float()
    d = fit.shape[1]
    return {
        "neurons": baselines.neurons(d),
        "PCA": baselines.pca(fit),
        "ICA": fitted_ica(settings, corpus),
        "random directions": baselines.random_directions(d, zoo.WIDTHS * d, seed=settings.seed),
    }


def _matched(density: Tensor, dictionary: Dictionary, seed: int) -> Tensor:
    """A density for each of the directions, drawn from those of the trained features."""
    generator = torch.Generator().manual_seed(seed)
    live = density[density > 0]
    return live[torch.randint(len(live), (dictionary.width,), generator=generator)]


def _random_weights(settings: Settings, partitions: dict[str, Grouping]) -> Row:
    """A dictionary of the same architecture with random weights: what the text alone gives."""
    tokens = settings.tokens or settings.count(250_000, 15_000)
    control = replace(settings, model=str(random_model(settings)), tokens=tokens)
    corpus = zoo.corpus(control)
    label, config = next(iter(zoo.middle(control).items()))
    dictionary = zoo.trained(control, label, config)
    reading = _reading(control, corpus)
    activity = _activity(reading, dictionary)
    name = f"random weights, {label}"
    return _row(control, name, dictionary, activity, reading, partitions)


def random_model(settings: Settings) -> Path:
    """A folder with the model's architecture and tokenizer, and weights as initialised."""
    model = settings.load()

    def make(folder: Path) -> None:
        from transformers import AutoModelForCausalLM

        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            fresh = AutoModelForCausalLM.from_config(model.module.config, dtype=torch.float32)
        fresh.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)

    made_of = {"model": model.fingerprint, "seed": settings.seed}
    return part(settings.cache, "random-weights", made_of, make)


# -- one row -----------------------------------------------------------------------------------


def _reading(settings: Settings, corpus: zoo.Corpus) -> Reading:
    fit, heldout = settings.count(300, 24), settings.count(150, 10)
    return read(corpus.store, corpus.site, corpus.keep, fit=fit, heldout=heldout)


def _texts(settings: Settings) -> list[str]:
    model = settings.load()
    return token_texts(model.tokenizer, model.module.config.get_text_config().vocab_size)


def _activity(reading: Reading, dictionary: Dictionary, density: Tensor | None = None) -> Activity:
    threshold = None
    if density is not None:
        real = reading.activations[reading.keep]
        sample = real[:: max(1, len(real) // 16_384)]
        threshold = matching_threshold(dictionary, sample, density)
    return find_activity(
        dictionary, reading.activations, reading.keep, reading.heldout, threshold=threshold
    )


def _row(
    settings: Settings,
    name: str,
    dictionary: Dictionary,
    activity: Activity,
    reading: Reading,
    partitions: dict[str, Grouping],
) -> Row:
    row, features = described(name, activity, reading.tokens, partitions, settings.seed)
    if not settings.judge:
        return row
    made_of = {"of": name, "weights": weights_of(dictionary), "contexts": len(reading.tokens)}
    texts = _texts(settings)
    return {
        **row,
        **judging.figures(settings, made_of, activity, reading.tokens, texts, features),
    }


def described(
    name: str, activity: Activity, tokens: Tensor, partitions: dict[str, Grouping], seed: int
) -> tuple[Row, list[int]]:
    """How well rules say where features are active on tokens [contexts, length]; which features
    that is said of."""
    rules = detect(activity, tokens, partitions)
    strongest = detect(activity.strongest(STRONGEST), tokens, partitions)
    active = activity.density[activity.density > 0]
    cells = {
        "directions": name,
        "features": len(rules),
        **bounds("good", _good(rules, seed), "good "),
        "good, strongest": _good(strongest, seed).mean,
        **{
            column: _median([getattr(rule, column.lower()) for rule in rules])
            for column in ("F1", "precision", "recall", "entropy")
        },
        "density": active.median().item() if len(active) else None,
    }
    return row_of(COLUMNS, cells), [rule.feature for rule in rules]


def _good(rules: Sequence[Detector], seed: int) -> Interval:
    """Share of rules with F1 above 0.8, of features that are rare enough for that to say much."""
    good = [float(rule.f1 > GOOD and rule.chance < DENSE) for rule in rules]
    return interval(torch.tensor(good or [0.0]), seed=seed)


def _median(values: Sequence[float]) -> float | None:
    return torch.tensor(values, dtype=torch.float64).median().item() if values else None


def _notes(settings: Settings) -> tuple[str, ...]:
    return (
        f"Rules are chosen on {settings.count(300, 24)} contexts and measured on at most "
        f"{settings.count(150, 10)} held-out ones. Controls have thresholds that match the "
        f"densities of the first row's features. A rule is good if its F1 is above {GOOD} and that "
        f'of "always" below {DENSE}.',
        "The random-weights model is the same architecture as initialised, with a dictionary "
        "trained alike on fewer tokens.",
        f"Judge: {settings.judge}; a feature that it could not explain counts as 0."
        if settings.judge
        else "No judge was given (--judge, --endpoint), so nothing was explained, detected or "
        "simulated: the rules are a floor of what can be said about a feature.",
    )
