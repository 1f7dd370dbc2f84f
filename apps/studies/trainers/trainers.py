"""Which trainers there are, and which of them are installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from apps.studies.trainers.ours import Ours
from apps.studies.trainers.size import Trainer
from apps.studies.trainers.with_dictionary_learning import DictionaryLearning
from apps.studies.trainers.with_sae_lens import SAELens
from apps.studies.trainers.with_sparsify import Sparsify

OURS, OURS_BF16 = "steer", "steer, chosen in bf16"
AUTOCAST = "sae-lens, autocast to bf16"


@dataclass(frozen=True)
class Kind:
    """A trainer. package: as it is registered; install: the command that gets it.

    make: with settings by the library's own names, where it is to have others.
    """

    name: str
    package: str
    install: str
    make: Callable[..., Trainer]

    @property
    def library(self) -> str:
        """The name without how it computes."""
        return self.name.partition(",")[0]

    @property
    def version(self) -> str | None:
        """None where it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    @property
    def missing(self) -> str | None:
        """A line that says so, and how to get it."""
        return None if self.version else f"{self.name}: not installed; {self.install}"


_SPARSIFY = ("eai-sparsify", "pip install eai-sparsify==1.3.3")
_SAE_LENS = ("sae-lens", "pip install sae-lens==6.54.12")
# What it asks for would put an nnsight in place of ours that this package does not run with.
_LEARNING = (
    "dictionary-learning",
    "pip install --no-deps dictionary-learning==0.1.0 einops wandb",
)


def _kind(name: str, source: tuple[str, str], make: Any) -> Kind:
    return Kind(name, *source, make)


_HERE = ("sae-steer", "pip install .")
KINDS = (
    _kind(OURS, _HERE, partial(Ours, dtype="float32")),
    _kind(OURS_BF16, _HERE, partial(Ours, dtype="bfloat16")),
    _kind("sparsify", _SPARSIFY, Sparsify),
    _kind("sae-lens", _SAE_LENS, SAELens),
    _kind(AUTOCAST, _SAE_LENS, partial(SAELens, autocast=True)),
    _kind("dictionary_learning", _LEARNING, DictionaryLearning),
)
