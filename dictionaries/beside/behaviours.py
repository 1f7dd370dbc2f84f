"""How far a push at a dictionary's site moves some behaviours, fitted once and kept.

So that what else an edit will move can be said before anything runs. A behaviour is some questions
with a right and a wrong token each; how sure the model is of it is the mean of right minus wrong,
in logits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dictionaries.beside.forecast import Bounds
from dictionaries.errors import FormatError
from dictionaries.files.place import beside
from dictionaries.files.tensors import save_tensors

FILE = "behaviours.safetensors"


@dataclass(frozen=True, eq=False)
class BehaviourMap:
    """Of b behaviours: change = slope · push + cost · KL, in logits of right minus wrong.

    names: b of them. slopes [b, d]: a unit of the stream, pushed at every token. costs [b]: a nat
        of KL(clean‖edited) at a neutral sentence.
    off: 5% and 95% quantile of each one's (truth − forecast) / √KL, on features that nothing was
        fitted on; empty if nobody scored it.
    fingerprint: of the model; questions: digest of the behaviours' questions.
    """

    names: tuple[str, ...]
    slopes: Tensor
    costs: Tensor
    off: tuple[Bounds, ...]
    fingerprint: str
    questions: str

    def forecast(self, pushes: Tensor, kl: Tensor) -> Tensor:
        """Changes [n, b] from pushes [n, d] and the KL [n] at a neutral sentence, nats."""
        return pushes.to(self.slopes) @ self.slopes.T + kl.to(self.costs)[:, None] * self.costs

    def save(self, folder: Path) -> None:
        """Write `behaviours.safetensors` into the folder (or next to this one file)."""
        told = {name: getattr(self, name) for name in ("names", "off", "fingerprint", "questions")}
        tensors = {"slopes": self.slopes.float().contiguous(), "costs": self.costs.float()}
        save_tensors(tensors, beside(folder, FILE), {"behaviours": json.dumps(told)})

    @classmethod
    def load(cls, folder: Path) -> BehaviourMap | None:
        """What `save` wrote, or None if there is none. Raises `FormatError` for a damaged file."""
        path = beside(folder, FILE)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                slopes, costs = (file.get_tensor(name) for name in ("slopes", "costs"))
                told = json.loads(file.metadata()["behaviours"])
            names = tuple(str(name) for name in told["names"])
            off = tuple((float(low), float(high)) for low, high in told["off"])
            _check(names, slopes, costs, off)
            return cls(names, slopes, costs, off, str(told["fingerprint"]), str(told["questions"]))
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path} is damaged: {error}; delete it, or make it again: steer forecast"
            ) from error


def _check(names: tuple[str, ...], slopes: Tensor, costs: Tensor, off: tuple[Bounds, ...]) -> None:
    """Raises `ValueError` for parts of different numbers of behaviours."""
    counts = {len(names), len(slopes), len(costs), len(off) or len(names)}
    if len(counts) != 1 or slopes.ndim != 2 or not torch.isfinite(slopes).all():
        raise ValueError(f"{len(names)} names, {tuple(slopes.shape)} slopes, {len(off)} bounds")
