"""`python -m apps.studies.forecasts PART`: fit maps, run what is exact, score forecasts by it.

fit: the map of the dictionary's site, from the features that are drawn for it.
exact: pushes of the features that are scored and of those that calibrate, run.
score: a row a site and figure in `scores.jsonl`; the map with its intervals, beside the dictionary
    or in --out.
fresh: the map and the intervals that lie beside the dictionary, as they are, on features and texts
    that nobody had ever looked at; rows in `fresh.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor

from apps.studies.forecasts.drawn import CALIBRATING, CONTEXTS, SCORED, SHARES, Part, drawn
from apps.studies.forecasts.exact import joined, measured
from apps.studies.forecasts.examples import examples
from apps.studies.forecasts.score import (
    AXES,
    World,
    coverage,
    off,
    other_texts,
    overlaps,
    widths,
)
from dictionaries.beside.forecast import Bounds, ForecastMap
from dictionaries.dictionary import Dictionary
from steer.disk.cache import cache_folder
from steer.forecasts.fit import fit, median_norm, unit_rows
from steer.lm.unembedding import norm_of
from steer.loading import load
from steer.maths.precision import exact as in_full
from steer.model import Model
from steer.runs.explain import NEUTRAL

RESULTS = Path(__file__).parent / "scores.jsonl"
FRESH_RESULTS = Path(__file__).parent / "fresh.jsonl"
PARTS = ("fit", "exact", "score", "fresh")


def main(
    part: str,
    dictionary: str = "smollm2-135m/resid_post.20",
    work: Path | None = None,
    out: Path | None = None,
    share: list[float] | None = None,
    features: int = SCORED,
) -> None:
    """PART is fit, exact or score, in this order, or fresh.

    --share: lengths, of the stream's norm; --features: how many are fresh.
    """
    if part not in PARTS:
        raise typer.BadParameter(f"{part!r} is unknown; allowed: {', '.join(PARTS)}")
    folder = (work or cache_folder() / "forecasts" / "study") / dictionary
    folder.mkdir(parents=True, exist_ok=True)
    model = load(dtype="bfloat16" if part == "fit" else "float32")
    given = model.dictionary(dictionary)
    shares = share or list(SHARES)
    if part == "fit":
        fit(model, given, drawn(given.width)["fitted"].features).save(folder)
    elif part == "exact":
        parts = drawn(given.width)
        for name in ("scored", "calibrated"):
            run_exact(model, given, name, parts[name], folder, shares)
    elif part == "score":
        _keep(RESULTS, dictionary, run_score(model, given, folder, out or folder))
    else:
        whole = drawn(given.width)["fresh"]
        some = Part(whole.features[:features], whole.texts)
        for length in shares:  # apart, so that a run that ends early has whole lengths
            run_exact(model, given, f"fresh-{length:g}", some, folder, [length])
        _keep(FRESH_RESULTS, dictionary, run_fresh(model, given, some, folder, shares))


def run_exact(
    model: Model, dictionary: Dictionary, name: str, part: Part, folder: Path, shares: list[float]
) -> None:
    """What is there is not run again."""
    for texts, path in (
        (part.texts, folder / f"{name}.safetensors"),
        ([NEUTRAL], folder / f"{name}-neutral.safetensors"),
    ):
        if not path.exists():
            last = texts is part.texts
            measured(model, dictionary, part.features, texts, shares, last=last).save(path)


def run_score(
    model: Model, dictionary: Dictionary, folder: Path, out: Path
) -> list[dict[str, Any]]:
    """Rows of scores; the map with its intervals is written to `out`."""
    fitted = ForecastMap.load(folder)
    assert fitted is not None
    parts = drawn(dictionary.width)
    scored, calibrated = (
        _world(model, dictionary, fitted, folder, [name], parts[name].features)
        for name in ("scored", "calibrated")
    )
    known = widths(off(calibrated, other_texts(CALIBRATING, CONTEXTS)))
    replace(fitted, off=known).save(out)
    about = {"dictionary": dictionary.name, "features": len(scored.units)}
    drawn_ones = examples(scored, known["kl"], model.token, dictionary.width)
    return _scores(scored, known, about) + [{**about, **row} for row in drawn_ones]


def run_fresh(
    model: Model, dictionary: Dictionary, part: Part, folder: Path, shares: list[float]
) -> list[dict[str, Any]]:
    """Rows of scores of what lies beside the dictionary, and how far each forecast was off."""
    assert dictionary.place is not None
    shipped = ForecastMap.load(dictionary.place)
    assert shipped is not None
    names = [f"fresh-{share:g}" for share in shares]
    world = _world(model, dictionary, shipped, folder, names, part.features)
    about = {"dictionary": dictionary.name, "features": len(part.features)}
    gaps = {
        name: {"off in": name, "by share, texts, feature": _rounded(values)}
        for name, values in off(world, [range(CONTEXTS)]).items()
        if name in ("kl", "one_text", "spread", "safe")
    }
    named = {"drawn": part.features, "texts": part.texts}
    rows = [named, *gaps.values()]
    return _scores(world, shipped.off, about) + [{**about, **row} for row in rows]


def _scores(
    world: World, known: Mapping[str, Bounds], about: dict[str, Any]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, share in enumerate(world.exact.shares.tolist()):
        for forecast, figures in overlaps(world, number).items():
            told = {"overlap of": forecast, "share of norm": round(share, 3), **figures}
            rows.append({**about, **told})
    scored = off(world, [range(CONTEXTS)])
    for name, bounds in known.items():
        if not scored[name].isfinite().any():
            continue  # one length alone says nothing of the dose of one nat
        held = coverage(scored[name], bounds, AXES.get(name, -1))
        rows.append({**about, "interval of": name, "bounds": bounds, "coverage": held})
    return rows


def _rounded(values: Tensor) -> Any:
    """As lists, with three digits; None where it could not be measured."""
    if values.ndim:
        return [_rounded(value) for value in values]
    return round(values.item(), 3) if values.isfinite() else None


def _world(
    model: Model,
    dictionary: Dictionary,
    fitted: ForecastMap,
    folder: Path,
    names: list[str],
    features: list[int],
) -> World:
    with torch.inference_mode():
        return World(
            unembedding=in_full(model.module.get_output_embeddings().weight).cpu(),
            gain=norm_of(model).gain.cpu(),
            matrix=fitted.matrix,
            length=fitted.length,
            median=median_norm(model, dictionary),
            units=unit_rows(dictionary, features).cpu(),
            neutral=joined([folder / f"{name}-neutral.safetensors" for name in names]),
            exact=joined([folder / f"{name}.safetensors" for name in names]),
        )


def _keep(path: Path, dictionary: str, rows: list[dict[str, Any]]) -> None:
    """In place of the rows that the dictionary had there."""
    text = path.read_text() if path.exists() else ""
    before = [json.loads(line) for line in text.splitlines()]
    others = [row for row in before if row["dictionary"] != dictionary]
    lines = [json.dumps(row, ensure_ascii=False) for row in (*others, *rows)]
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(line for line in lines if len(line) < 1000))


if __name__ == "__main__":
    typer.run(main)
