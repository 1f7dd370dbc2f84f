"""`python -m apps.studies.forecasts.behaviours`: what else moves, forecast and scored.

The map is fitted on some features, its intervals are of others, and it is scored on others still.
Before any score had been seen it was fixed, here and in `steer.forecasts.behaviours`: which
features are which; that a map has two parts, weighted by least squares; that an interval is a
forecast with the 5% and 95% quantiles of (truth − forecast) / √KL, as split conformal prediction
widens them (`score.bounds`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from apps.studies.forecasts.drawn import SCORED, fresh
from apps.studies.forecasts.score import bounds
from dictionaries.beside.behaviours import BehaviourMap
from dictionaries.dictionary import Dictionary
from steer.disk.cache import cache_folder
from steer.forecasts.behaviours import SHARES, disturbance, fit, moved, pushes_of
from steer.loading import load
from steer.maths.statistics import interval
from steer.model import Model

RESULTS = Path(__file__).parent / "behaviours.jsonl"
FITTED, CALIBRATED, TESTED = 40, 79, 120
"""Of 79 the three smallest and the three largest are left out: nine times in ten, exactly."""


def main(
    dictionary: str = "smollm2-135m/resid_post.20",
    work: Path | None = None,
    out: Path | None = None,
) -> None:
    """The map goes to --out, with its intervals; what is in --work is not run again."""
    folder = (work or cache_folder() / "forecasts" / "behaviours") / dictionary
    folder.mkdir(parents=True, exist_ok=True)
    model = load(dtype="float32")
    given = model.dictionary(dictionary)
    order = fresh(given.width)
    tested, rest = order[:TESTED], order[SCORED:]
    known = BehaviourMap.load(folder)
    if known is None:
        known = fit(model, given, rest[:FITTED])
        known.save(folder)
    calibrating = rest[FITTED : FITTED + CALIBRATED]
    off = _off(known, *_exact(model, given, calibrating, folder / "calibrated.safetensors"))
    known = replace(known, off=tuple(bounds(column) for column in off.T))
    known.save(out or folder)
    exact = _exact(model, given, tested, folder / "tested.safetensors")
    rows = [{"dictionary": dictionary, **row} for row in scored(known, *exact, tested)]
    text = RESULTS.read_text() if RESULTS.exists() else ""
    others = [line for line in text.splitlines() if json.loads(line)["dictionary"] != dictionary]
    RESULTS.write_text("\n".join([*others, *map(json.dumps, rows)]) + "\n")
    print("\n".join(json.dumps(row) for row in rows if "behaviour" in row))


def _exact(
    model: Model, dictionary: Dictionary, features: Sequence[int], path: Path
) -> tuple[Tensor, Tensor, Tensor]:
    """Pushes [n, d], their KL [n], and what they do to the behaviours [n, b]."""
    pushes = pushes_of(model, dictionary, features)
    if not path.exists():
        truth = moved(model, dictionary, pushes)
        save_file({"kl": disturbance(model, dictionary, pushes), "truth": truth}, str(path))
    exact = load_file(str(path))
    return pushes, exact["kl"], exact["truth"]


def _off(known: BehaviourMap, pushes: Tensor, nats: Tensor, truth: Tensor) -> Tensor:
    """How far forecasts were off, in multiples of √KL, [n, b]."""
    return (truth - known.forecast(pushes, nats)) / nats.sqrt()[:, None]


def scored(
    known: BehaviourMap, pushes: Tensor, nats: Tensor, truth: Tensor, features: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a behaviour, of all lengths together; a row a feature, to compute it from."""
    said, off = known.forecast(pushes, nats), _off(known, pushes, nats, truth)
    size, count = nats.sqrt(), len(features)
    within = _within(known, off)
    rows: list[dict[str, Any]] = []
    for number, (name, (low, high)) in enumerate(zip(known.names, known.off, strict=True)):
        value, true = said[:, number], truth[:, number]
        told = (value + size * low > 0) | (value + size * high < 0)
        right = (value.sign() == true.sign())[told].double()
        rows.append(
            {
                "behaviour": name,
                "features": count,
                "mean change": round(true.mean().item(), 4),
                "by KL alone": _told(torch.corrcoef(torch.stack([nats, true]))[0, 1]),
                "explained": round(1 - ((true - value).var() / true.var()).item(), 4),
                "correlation": _told(torch.corrcoef(torch.stack([value, true]))[0, 1]),
                "coverage": _mean(within[:, number]),
                "told": round(told.double().mean().item(), 4),
                "sign right where told": _mean(right),
            }
        )
    rows.append({"behaviour": "all", "features": count, "coverage": _mean(within.mean(1))})
    for number, feature in enumerate(features):
        rows.append(
            {
                "feature": feature,
                "share of norm": SHARES[number % len(SHARES)],
                "kl": _told(nats[number]),
                "forecast": [_told(change) for change in said[number]],
                "exact": [_told(change) for change in truth[number]],
            }
        )
    return rows


def _within(known: BehaviourMap, off: Tensor) -> Tensor:
    """1 where a truth lies in its interval, [n, b]."""
    low, high = torch.tensor(known.off).T
    return ((off >= low) & (off <= high)).double()


def _mean(values: Tensor) -> list[float] | None:
    if len(values) == 0:
        return None
    estimate = interval(values)
    return [round(end, 4) for end in (estimate.mean, estimate.low, estimate.high)]


def _told(value: Tensor) -> float:
    return round(value.item(), 4)


if __name__ == "__main__":
    typer.run(main)
