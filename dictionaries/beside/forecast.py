"""What a push at a dictionary's site comes to at the end of the model, fitted once and kept.

A small linear map, so that what a feature will promote can be said before anything runs. Beside the
map lie the figures that turn a forecast into an interval: how far forecasts were off on features
that nothing was fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.files.place import beside
from dictionaries.files.tensors import save_tensors

FILE = "forecast.safetensors"

Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class ForecastMap:
    """From a direction at the site to what the unembedding reads.

    matrix [d, d]: unit row · matrix = mean change of the normed final residual, for a push of
        length `length` at every token of neutral text.
    length: of the push, a share of the median norm of the stream; in the stream's own units.
    fingerprint: of the model that it was fitted on.
    off: name of a forecast -> the 5% and 95% quantile of how far it was off, on features and texts
        that it was not fitted on; empty if nobody scored it.
    """

    matrix: Tensor
    length: float
    fingerprint: str
    off: Mapping[str, Bounds]

    def save(self, folder: Path) -> None:
        """Write `forecast.safetensors` into the folder (or next to this one file), in fp16."""
        told = {"length": self.length, "fingerprint": self.fingerprint, "off": dict(self.off)}
        tensors = {"matrix": self.matrix.half().contiguous()}
        save_tensors(tensors, beside(folder, FILE), {"forecast": json.dumps(told)})

    @classmethod
    def load(cls, folder: Path) -> ForecastMap | None:
        """What `save` wrote, or None if there is none. Raises `FormatError` for a damaged file."""
        path = beside(folder, FILE)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                matrix = file.get_tensor("matrix").float()
                told = json.loads(file.metadata()["forecast"])
            off = {name: (float(low), float(high)) for name, (low, high) in told["off"].items()}
            return cls(matrix, float(told["length"]), str(told["fingerprint"]), off)
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path} is damaged: {error}; delete it, or make it again: steer forecast"
            ) from error
