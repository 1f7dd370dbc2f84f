"""Harvested activations on disk: written batch by batch, in any order, and read mapped.

One folder holds `contexts.safetensors` (tokens, source and held-out flag of every context) and one
raw bf16 file per site of shape [contexts, length, d].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.files.tensors import save_tensors


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

    def write(self, start: int, activations: Mapping[str, Tensor]) -> None:
        """Store [n, length, d] of each site at context `start`: other contexts stay untouched, so
        several processes may write at once.

        Raises `TrainingError` for a full disk.
        """
        for site, values in activations.items():
            path, rows = self._file(site), as_bytes(values)
            try:
                with path.open("r+b") as file:
                    file.seek(start * rows.nbytes // len(values))
                    file.write(rows)
            except OSError as error:
                raise TrainingError(
                    f"{path} can't be written: {(error.strerror or str(error)).lower()}; what was "
                    "finished is kept: make room, and the same command goes on from there"
                ) from error

    def digests(self, spans: Iterable[tuple[int, int]]) -> Iterator[dict[str, str]]:
        """Of each span (a context, and how many) the sha256 of what each site has stored there."""
        length = self.contexts.tokens.shape[1]
        for start, count in spans:
            digests = {}
            for site, d in self.sites.items():
                size = length * d * torch.bfloat16.itemsize
                with self._file(site).open("rb") as file:
                    file.seek(start * size)
                    digests[site] = hashlib.sha256(file.read(count * size)).hexdigest()
            yield digests

    def mapped(self, site: str) -> Tensor:
        """bf16 [contexts, length, d], mapped rather than read."""
        if site not in self.sites:
            raise TrainingError(f"no activations of {site}; harvested: {', '.join(self.sites)}")
        n, length = self.contexts.tokens.shape
        shape = (n, length, self.sites[site])
        count = n * length * self.sites[site]
        file = str(self._file(site))
        return torch.from_file(file, shared=False, size=count, dtype=torch.bfloat16).view(shape)

    def _file(self, site: str) -> Path:
        return self.folder / f"{site}.bf16"


def as_bytes(values: Tensor) -> memoryview:
    """bf16 of any shape as it is stored."""
    return values.to(torch.bfloat16).cpu().contiguous().view(torch.uint8).numpy().data


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
