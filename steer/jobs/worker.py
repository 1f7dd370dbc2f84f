"""What runs on a worker: a model of its own, and the part of the job that it has open."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from steer.disk.ledger import Row
from steer.errors import SteerError
from steer.jobs.job import Job, Opened
from steer.lm.placement import packing_of
from steer.model import Model

_PACKAGES = ("sae-steer", "torch", "transformers")


def installed() -> dict[str, str]:
    """What results depend on, by name; and where this process is."""
    versions = {name: version(name) for name in _PACKAGES}
    where = {"node": platform.node(), "process": str(os.getpid())}
    return {**versions, "Python": platform.python_version(), **where}


def check_same(theirs: dict[str, str]) -> None:
    """Raise `SteerError` where a worker has other versions than this process."""
    for name, ours in installed().items():
        if name not in ("node", "process") and theirs[name] != ours:
            raise SteerError(
                f"a worker on {theirs['node']} has {name} {theirs[name]}, and here it is {ours}: "
                "install the same on all, or results are not the same"
            )


@dataclass(frozen=True)
class Source:
    """How a worker gets the model that the driver has, if the job needs one.

    name: empty if it does not.
    fingerprint: of its weights, so that another model under the same name is no model.
    """

    name: str
    dtype: str
    fingerprint: str
    on_gpu: bool
    threads: int

    @classmethod
    def of(cls, model: Model | None) -> Source:
        """Raises `SteerError` for a model that was given as an object, or lies in parts."""
        import torch

        if model is None:
            return cls("", "", "", on_gpu=False, threads=torch.get_num_threads())
        module = model.module
        if getattr(module, "hf_device_map", None) or packing_of(module):
            raise SteerError(
                f"workers load {model.name} whole and as it is: leave device_map and quantization "
                "out, or the cluster"
            )
        if model.placement is None:
            raise SteerError(
                f"workers can't load {model.name}: it or its tokenizer was given as an object; "
                "save both in a folder and load that, or a name of the hub"
            )
        folder = Path(model.name).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else model.name
        on_gpu = model.device.type == "cuda"
        return cls(name, model.dtype, model.fingerprint, on_gpu, torch.get_num_threads())

    def load(self) -> Model | None:
        """The model, in as many threads. Raises `SteerError` for other weights."""
        import torch

        from steer.loading import load

        torch.set_num_threads(self.threads)
        if not self.name:
            return None
        model = load(self.name, dtype=self.dtype)
        if model.fingerprint != self.fingerprint:
            raise SteerError(
                f"{self.name} on {platform.node()} has other weights ({model.fingerprint}) than "
                f"here ({self.fingerprint}): give workers the same files"
            )
        return model


class Worker:
    """An actor. It keeps its model, and the last part that it opened, from call to call."""

    def __init__(self, source: Source, job: Job[Any]) -> None:
        self._source, self._job = source, job
        self._model: Model | None = None
        self._open: tuple[int, Opened] | None = None

    def installed(self) -> dict[str, str]:
        return installed()

    def run(self, part: int, unit: int) -> tuple[int, list[Row] | None]:
        """How many units the part has, and the rows of this one; None if there is no such one."""
        if self._model is None:
            self._model = self._source.load()
        if self._open is None or self._open[0] != part:
            self._open = part, self._job.open(self._model, part)
        opened: Any = self._open[1]
        return opened.units, opened.rows(unit) if unit < opened.units else None
