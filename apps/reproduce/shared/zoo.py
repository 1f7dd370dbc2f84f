"""The dictionaries that experiments share: one site, several sparsities, each trained once.

The site is the output of the block a third of the way up, where the paper's main figures are
(layer 2 of 6; 11 of 24 for the indirect object); the width is four times the site's, the least at
which the paper's residual dictionaries do well. L1 dictionaries are the paper's own: tied weights,
unit rows, Adam with learning rate 1e-3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from apps.reproduce.kept.parts import digest, location, part
from apps.reproduce.settings import Settings
from apps.training.kept import kept_activations
from apps.training.recipe import Recipe, load_recipe
from apps.training.train import run_harvest
from dictionaries import catalogue
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.formats import load_folder
from dictionaries.training.activations import ActivationStore, Contexts
from dictionaries.training.train import REVISION, Step, TrainConfig, train

L1_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""α of ‖c‖₁ against ‖x − x̂‖², with inputs scaled to E‖x‖ = √d. 0 is a control."""
TOPK = (8, 16, 32, 64, 128)
FAST_L1_WEIGHTS = (0.0, 1.0, 2.0)
FAST_TOPK = (16, 64)
WIDTHS = 4
SHORT = "/seeds"
"""Ending of the families that are trained shortly, to see what the seed does."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """What is trained and judged on, at one site.

    train, heldout [n, d]: bf16 activations at kept positions, not the first nor outliers.
    contexts: tokens, and which contexts are held out.
    store: all activations, mapped; keep [contexts, length]: which positions are kept.
    mean [d], cutoff: of the kept training activations; the largest norm kept.
    """

    site: str
    train: Tensor
    heldout: Tensor
    contexts: Contexts
    store: ActivationStore
    keep: Tensor
    mean: Tensor
    cutoff: float

    @property
    def heldout_tokens(self) -> Tensor:
        """Token ids [contexts, length] of the held-out contexts."""
        return self.contexts.tokens[self.contexts.heldout]


def site(settings: Settings) -> str:
    """The hookpoint that the experiments work at."""
    layers = settings.load().module.config.get_text_config().num_hidden_layers
    return f"resid_post.{layers // 3}"


def recipe(settings: Settings) -> Recipe:
    """What is harvested: in a full run on the default model, what its own dictionaries read."""
    base = load_recipe("smollm2-135m")
    whole = not settings.fast and settings.scale == 1 and not (settings.corpora or settings.tokens)
    if whole and settings.model == base.model:
        return replace(base, sites=(site(settings),), train={})
    return replace(
        base,
        name=Path(settings.model).name,
        model=settings.model,
        sites=(site(settings),),
        corpora=dict(settings.corpora or base.corpora),
        tokens=settings.tokens or settings.count(1_500_000, 40_000),
        heldout_share=0.2,  # of documents, and there are few
        context=min(base.context, settings.load().context),
        train={},
    )


@lru_cache(maxsize=1)
def corpus(settings: Settings) -> Corpus:
    """Harvest, or take the harvest from the cache."""
    chosen = recipe(settings)
    folder = settings.cache / f"harvest-{digest(made_of_harvest(settings))}"
    store = run_harvest(chosen, folder, settings.progress)
    held = kept_activations(chosen, site(settings), store)
    if not len(held.heldout):
        raise TrainingError(
            f"{chosen.tokens} tokens are so few that no document was held out; harvest more"
        )
    return Corpus(
        site=site(settings),
        train=held.train,
        heldout=held.heldout,
        contexts=store.contexts,
        store=store,
        keep=held.keep,
        mean=held.train[:: max(1, len(held.train) // 65_536)].float().mean(0),
        cutoff=held.cutoff,
    )


def configurations(settings: Settings) -> dict[str, TrainConfig]:
    """Label -> how it is trained: `L1 α=0.5`, `TopK k=32`."""
    width = WIDTHS * settings.load().module.config.get_text_config().hidden_size
    common: dict[str, Any] = {
        "width": width,
        "samples": settings.count(1_200_000, 18_000),
        "batch": 256,
        "learning_rate": 1e-3,
        "dead_after": settings.count(200_000, 8_000),
        "seed": settings.seed,
    }
    weights = FAST_L1_WEIGHTS if settings.fast else L1_WEIGHTS
    ks = [k for k in (FAST_TOPK if settings.fast else TOPK) if k <= width // 4]
    l1 = {
        f"L1 α={alpha:g}": TrainConfig("standard", l1=alpha, tied=True, **common)
        for alpha in weights
    }
    return l1 | {f"TopK k={k}": TrainConfig("topk", k=k, **common) for k in ks}


def reseeded(settings: Settings) -> dict[str, TrainConfig]:
    """Label -> how it is trained: the middle TopK and L1 again, shortly, with several seeds."""
    samples, seeds = settings.count(200_000, 4_000), settings.count(3, 2)
    configs = {}
    for label, config in middle(settings).items():
        for seed in range(settings.seed, settings.seed + seeds):
            family, _, condition = label.partition(" ")
            short = replace(
                config, samples=max(samples, config.batch), dead_after=samples // 6, seed=seed
            )
            configs[f"{family}{SHORT} {condition} seed={seed}"] = short
    return configs


def middle(settings: Settings) -> dict[str, TrainConfig]:
    """Label -> how it is trained, of the TopK and the L1 dictionary of middle sparsity."""
    configs = {}
    for architecture in ("topk", "standard"):
        of_it = {
            k: c for k, c in configurations(settings).items() if c.architecture == architecture
        }
        label = list(of_it)[len(of_it) // 2]
        configs[label] = of_it[label]
    return configs


def ks(settings: Settings) -> list[int]:
    """Numbers of active features of the TopK dictionaries."""
    return [c.k for c in configurations(settings).values() if c.architecture == "topk"]


def l1_sweep(settings: Settings) -> dict[str, Dictionary]:
    """Label -> dictionary, of increasing α; the first is α = 0, a control without sparsity."""
    return trained_all(settings, "standard")


def topk_sweep(settings: Settings) -> dict[str, Dictionary]:
    """Label -> dictionary, of increasing k."""
    return trained_all(settings, "topk")


def trained_all(settings: Settings, architecture: str | None = None) -> dict[str, Dictionary]:
    """Label -> dictionary, in the order of `configurations`; trained if they are not there yet."""
    return {
        label: trained(settings, label, config)
        for label, config in configurations(settings).items()
        if architecture in (None, config.architecture)
    }


def paths(settings: Settings) -> dict[str, Path]:
    """Label -> the folder where the dictionary is, or will be."""
    return {
        label: location(settings.cache, "dictionary", _made_of(settings, config))
        for label, config in configurations(settings).items()
    }


def trained(settings: Settings, label: str, config: TrainConfig) -> Dictionary:
    """Train it, continuing where an earlier run stopped, or take it from the cache."""
    made_of = _made_of(settings, config)
    checkpoint = settings.cache / f"checkpoint-{digest(made_of)}.pt"

    def make(folder: Path) -> None:
        read = corpus(settings)
        about = DictionaryConfig(
            read.train.shape[1], config.width, hookpoint=read.site, model=settings.model
        )

        def report(step: Step) -> None:
            settings.progress(f"training {label}: FVU {step.fvu:.3f}", step.number, step.total)

        catalogue.save(
            train(read.train, config, about, checkpoint=checkpoint, report=report), folder
        )

    folder = part(settings.cache, "dictionary", made_of, make)
    checkpoint.unlink(missing_ok=True)
    return replace(load_folder(folder), name=label)


def _made_of(settings: Settings, config: TrainConfig) -> dict[str, Any]:
    return {
        "train": config.to_dict(),
        "trainer": REVISION,
        "site": site(settings),
        "harvest": made_of_harvest(settings),
    }


def made_of_harvest(settings: Settings) -> Mapping[str, Any]:
    """What decides the harvested activations, for the digest of what is made from them."""
    chosen = recipe(settings)
    made_of = asdict(replace(chosen, train={}))
    for irrelevant in ("name", "evaluation_dtype", "evaluation_tokens", "sites", "train"):
        made_of.pop(irrelevant)
    # A folder may be moved: the fingerprint says which model it was.
    return {**made_of, "model": settings.load().fingerprint, "sites": list(chosen.sites)}
