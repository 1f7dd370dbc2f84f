"""`steer train RECIPE`: corpora -> contexts -> activations -> dictionaries with cards."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from apps.corpora import SOURCES
from apps.training.card import build_card, reconstruction_figures, write_card
from apps.training.contexts import build_contexts
from apps.training.kept import KeptActivations, kept_activations
from apps.training.recipe import Recipe
from dictionaries import catalogue
from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.files.strict_json import read_json
from dictionaries.files.whole import write_whole
from dictionaries.formats import load_folder
from dictionaries.measures.corpus import Corpus, collect_statistics
from dictionaries.training.activations import ActivationStore, Contexts
from dictionaries.training.config import TrainConfig
from dictionaries.training.train import Step, train
from steer.disk.cache import atomic_folder, cache_folder
from steer.evals.steering.written import with_written
from steer.features.statistics import name_tokens
from steer.jobs.executors import Executor
from steer.jobs.harvest import harvest, harvest_ledger
from steer.loading import load
from steer.model import Model
from steer.progress import Progress
from steer.quality.splice_loss import splice_loss

ACTIVATIONS = "activations"
"""The folder of a recipe's harvest, in its `work`."""


def run_recipe(
    recipe: Recipe,
    out: Path,
    work: Path | None = None,
    *,
    sites: list[str] | None = None,
    harvest_only: bool = False,
    shard: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Do everything that is not done yet; the folders of the finished dictionaries.

    Harvest, checkpoints and finished dictionaries are taken up where an earlier call stopped.
    shard, executor: of the harvest, see `steer.jobs.harvest`; a shard is harvested alone.
    Raises `TrainingError` for a site that the recipe does not have.
    """
    report = progress or (lambda what, done, total: None)
    wanted = sites or list(recipe.sites)
    if unknown := set(wanted) - set(recipe.sites):
        raise TrainingError(
            f"the recipe has no site {', '.join(sorted(unknown))}; it has {', '.join(recipe.sites)}"
        )
    work = work_of(recipe, work)
    store = run_harvest(recipe, work, report, shard, executor)
    if harvest_only or shard:
        return []
    check_heldout(store.contexts)
    folders = []
    for site in wanted:
        folder = out / recipe.name / site
        if not (folder / "card.json").exists():
            dictionary = run_training(recipe, site, store, work / site, progress=report)
            finish(recipe, dictionary, store, work / site, folder, progress=report)
        folders.append(folder)
    return folders


def work_of(recipe: Recipe, work: Path | None = None) -> Path:
    """Where activations and checkpoints lie."""
    return work or cache_folder() / "training" / recipe.name


def shard_file(recipe: Recipe, work: Path | None, shard: str) -> Path:
    """What says how far a shard of the harvest is."""
    return harvest_ledger(work_of(recipe, work) / ACTIVATIONS, shard)


def run_harvest(
    recipe: Recipe,
    work: Path,
    progress: Progress,
    shard: str | None = None,
    executor: Executor | None = None,
) -> ActivationStore:
    """Contexts and activations of all the recipe's sites; continues where it was interrupted."""
    model, contexts = prepare(recipe, work, progress)
    width = model.module.config.get_text_config().hidden_size
    store = ActivationStore(work / ACTIVATIONS, dict.fromkeys(recipe.sites, width))
    harvest(model, contexts, store, shard=shard, executor=executor, progress=progress)
    del model
    gc.collect()
    return store


def check_heldout(contexts: Contexts) -> None:
    """Raise `TrainingError`, before anything is trained, if there is nothing to judge it on."""
    held = int(contexts.heldout.sum())
    if not 0 < held < len(contexts.heldout):
        raise TrainingError(
            f"{held} of the {len(contexts.heldout)} contexts harvested are of documents that are "
            "held out, and a card needs some of both: harvest more tokens, or choose another "
            "heldout_share"
        )


def prepare(recipe: Recipe, work: Path, progress: Progress) -> tuple[Model, Contexts]:
    """The recipe's model, and its contexts, which are made once and kept in `work`."""
    model = load(recipe.model, dtype=recipe.harvest_dtype, progress=progress)
    contexts_file = work / "contexts.safetensors"
    work.mkdir(parents=True, exist_ok=True)
    if not contexts_file.exists():
        build_contexts(recipe, model.tokenizer, cache_folder(), progress).save(contexts_file)
    return model, Contexts.load(contexts_file)


def run_training(
    recipe: Recipe,
    site: str,
    store: ActivationStore,
    work: Path,
    *,
    progress: Progress,
) -> Dictionary:
    """Train one site's dictionary on the kept positions of the contexts that are not held out.

    What is there already is read. Raises `TrainingError` where that was trained otherwise.
    """
    trained, config = work / "trained", recipe.train[site]
    work.mkdir(parents=True, exist_ok=True)
    _check_same(work / "settings.json", config)
    if trained.exists():
        return replace(load_folder(trained), name=f"{recipe.name}/{site}")
    corpus = kept_activations(recipe, site, store)
    about = DictionaryConfig(
        d_in=store.sites[site], width=config.width, hookpoint=site, model=recipe.model
    )

    def report(step: Step) -> None:
        what = f"training {site}: FVU {step.fvu:.3f}, L0 {step.l0:.0f}, dead {step.dead:.1%}"
        progress(what, step.number, step.total)

    dictionary = train(
        corpus.train, config, about, checkpoint=work / "checkpoint.pt", report=report
    )
    with atomic_folder(trained, 2**28) as scratch:
        catalogue.save(dictionary, scratch)
    return replace(dictionary, name=f"{recipe.name}/{site}")


def _check_same(path: Path, config: TrainConfig) -> None:
    """Keep the settings beside what is trained, and refuse others."""
    now = json.loads(json.dumps(config.to_dict()))
    if not path.exists():
        write_whole(path, json.dumps(now, indent=1) + "\n")
        return
    there = read_json(path.read_bytes(), f"{path} can't be read", TrainingError)
    if differing := [name for name in now if there.get(name) != now[name]]:
        said = ", ".join(f"{name} {there.get(name)}, now {now[name]}" for name in differing)
        raise TrainingError(
            f"{path.parent} holds a training with other settings ({said}): give another --work"
        )


def finish(
    recipe: Recipe,
    dictionary: Dictionary,
    store: ActivationStore,
    work: Path,
    folder: Path,
    *,
    progress: Progress,
) -> Path:
    """Measure a trained dictionary, and write it with its card and statistics into `folder`."""
    site = str(dictionary.config.hookpoint)
    contexts, corpus = store.contexts, kept_activations(recipe, site, store)
    model = load(recipe.model, dtype=recipe.evaluation_dtype)
    shipped = round_weights(dictionary)
    statistics = FeatureStatistics.load(work)
    if statistics is None:
        statistics = run_statistics(shipped, store, corpus, progress)
        statistics.save(work)
    statistics = name_tokens(model, shipped, statistics)
    statistics = with_written(model, shipped, statistics, progress)
    progress(f"judging {site}", 0, 1)
    figures = reconstruction_figures(shipped, corpus)
    count = -(-recipe.evaluation_tokens // (recipe.context - 1))
    loss = splice_loss(
        model,
        shipped,
        contexts.tokens[contexts.heldout][:count],
        corpus.train[:: max(1, len(corpus.train) // 65_536)].float().mean(0),
        corpus.cutoff,
        progress=progress,
    )
    card = build_card(recipe, shipped, corpus, figures, loss, model.fingerprint)
    with atomic_folder(folder, 2**28) as scratch:
        catalogue.save(shipped, scratch, dtype=torch.float16)
        statistics.save(scratch)
        write_card(card, scratch)
    return folder


def round_weights(dictionary: Dictionary) -> Dictionary:
    """The dictionary as it will be read back from fp16, so that what is judged is what ships."""
    return replace(
        dictionary,
        W_enc=dictionary.W_enc.half().float(),
        W_dec=dictionary.W_dec.half().float(),
    )


def run_statistics(
    dictionary: Dictionary,
    store: ActivationStore,
    corpus: KeptActivations,
    progress: Progress,
) -> FeatureStatistics:
    """Per-feature statistics over the training contexts' kept positions."""
    site, contexts = str(dictionary.config.hookpoint), store.contexts
    train_rows = ~contexts.heldout
    return collect_statistics(
        dictionary,
        Corpus(
            activations=store.mapped(site),
            tokens=contexts.tokens,
            keep=corpus.keep & train_rows.unsqueeze(1),
            shippable=_shippable(contexts) & train_rows,
        ),
        lambda done, total: progress(f"statistics of {site}", done, total),
    )


def _shippable(contexts: Contexts) -> Tensor:
    """Contexts that a card may show: those of a free licence, and those of texts given by path."""
    allowed = [
        number
        for number, name in enumerate(contexts.sources)
        if name not in SOURCES or SOURCES[name].permissive
    ]
    return torch.isin(contexts.source, torch.tensor(allowed, dtype=contexts.source.dtype))
