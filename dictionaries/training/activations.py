"""Harvested activations on disk: written batch by batch, resumed where they stopped, read mapped.

One folder holds `contexts.safetensors` (tokens, source and held-out flag of every context), one
raw bf16 file per site of shape [contexts, length, d], and `progress.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.files.tensors import save_tensors
from dictionaries.files.whole import write_whole


@dataclass(frozen=True, eq=False)
class Contexts:
    """Token contexts to harvest. tokens [n, length] int32; source, heldout [n]."""

    tokens: Tensor
    source: Tensor
    heldout: Tensor
    sources: tuple[str, ...]

    def save(self, path: Path) -> None:
        tensors = {"tokens": self.tokens, "source": self.source, "heldout": self.heldout}
        save_tensors(tensors, path, {"sources": json.dumps(self.sources)})

    @classmethod
    def load(cls, path: Path) -> Contexts:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            sources = tuple(json.loads(file.metadata()["sources"]))
        return cls(sources=sources, **load_file(path))

    def only(self, rows: Tensor) -> Contexts:
        """Those contexts alone."""
        return Contexts(self.tokens[rows], self.source[rows], self.heldout[rows], self.sources)


@dataclass(frozen=True)
class ActivationStore:
    """Activations of some sites on the same contexts, in one folder."""

    folder: Path
    sites: dict[str, int]
    """hookpoint -> its width d"""

    @property
    def contexts(self) -> Contexts:
        return Contexts.load(self.folder / "contexts.safetensors")

    def create(self, contexts: Contexts) -> None:
        """Lay the folder out, or check that what lies there is of the same contexts and sites.

        Two processes that begin at once lay out the same, and neither takes the other's rows away.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "contexts.safetensors"
        if path.exists():
            if not torch.equal(self.contexts.tokens, contexts.tokens):
                raise TrainingError(
                    f"{self.folder} holds activations of other contexts; use another folder"
                )
            return
        for site, d in self.sites.items():
            with self._file(site).open("ab") as file:
                file.truncate(contexts.tokens.numel() * d * 2)
        contexts.save(path)  # last: where it lies, all else does

    @property
    def done(self) -> int:
        """Contexts harvested so far."""
        progress = self.folder / "progress.json"
        return json.loads(progress.read_text())["contexts"] if progress.exists() else 0

    def write(self, start: int, activations: dict[str, Tensor]) -> None:
        """Store [n, length, d] of each site at context `start`, then move the mark."""
        for site, values in activations.items():
            self.mapped(site, writable=True)[start : start + len(values)] = values
        stop = start + len(next(iter(activations.values())))
        write_whole(self.folder / "progress.json", json.dumps({"contexts": stop}))

    def mapped(self, site: str, *, writable: bool = False) -> Tensor:
        """bf16 [contexts, length, d], mapped rather than read."""
        if site not in self.sites:
            raise TrainingError(f"no activations of {site}; harvested: {', '.join(self.sites)}")
        n, length = self.contexts.tokens.shape
        shape = (n, length, self.sites[site])
        count = n * length * self.sites[site]
        file = str(self._file(site))
        return torch.from_file(file, shared=writable, size=count, dtype=torch.bfloat16).view(shape)

    def _file(self, site: str) -> Path:
        return self.folder / f"{site}.bf16"


def keep_mask(norms: Tensor, cutoff_in_medians: float) -> tuple[Tensor, float]:
    """Which positions of [n, length] count: not the first, and no outlier norm.

    Massive activations (Sun et al. 2024) sit at the first token and a few others, hundreds of
    times the median norm; left in they own every mean. Returns the mask and the cutoff norm.
    """
    cutoff = norms[:, 1:].float().median().item() * cutoff_in_medians
    return keep_below(norms, cutoff), cutoff


def keep_below(norms: Tensor, most: float) -> Tensor:
    """Which positions of [n, length] count by such a cutoff."""
    mask = norms <= most
    mask[:, 0] = False
    return mask
