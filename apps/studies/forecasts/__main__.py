"""`python -m apps.studies.forecasts PART`: fit maps, run what is exact, score forecasts by it.

fit: the map of the dictionary's site, from the features that are drawn for it.
exact: pushes of the features that are scored and of those that calibrate, run.
score: a row a site and figure in `scores.jsonl`; the map with its intervals, beside the dictionary
    or in --out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer

from apps.studies.forecasts.drawn import CALIBRATING, CONTEXTS, SCORED, SHARES, drawn
from apps.studies.forecasts.exact import Exact, measured
from apps.studies.forecasts.examples import examples
from apps.studies.forecasts.score import World, coverage, off, other_texts, overlaps, widths
from dictionaries.beside.forecast import ForecastMap
from dictionaries.dictionary import Dictionary
from steer.disk.cache import cache_folder
from steer.forecasts.fit import fit, median_norm, unit_rows
from steer.lm.unembedding import norm_of
from steer.loading import load
from steer.maths.precision import exact as in_full
from steer.model import Model
from steer.runs.explain import NEUTRAL

RESULTS = Path(__file__).parent / "scores.jsonl"
PARTS = ("fit", "exact", "score")


def main(
    part: str,
    dictionary: str = "smollm2-135m/resid_post.20",
    work: Path | None = None,
    out: Path | None = None,
    share: list[float] | None = None,
) -> None:
    """PART is fit, exact or score, in this order; --share: lengths, of the stream's norm."""
    if part not in PARTS:
        raise typer.BadParameter(f"{part!r} is unknown; allowed: {', '.join(PARTS)}")
    folder = (work or cache_folder() / "forecasts" / "study") / dictionary
    folder.mkdir(parents=True, exist_ok=True)
    model = load(dtype="bfloat16" if part == "fit" else "float32")
    given = model.dictionary(dictionary)
    if part == "fit":
        fit(model, given, drawn(given.width)["fitted"].features).save(folder)
    elif part == "exact":
        run_exact(model, given, folder, share or list(SHARES))
    else:
        rows = run_score(model, given, folder, out or folder)
        others = [row for row in _kept() if row["dictionary"] != dictionary]
        lines = [json.dumps(row, ensure_ascii=False) for row in (*others, *rows)]
        RESULTS.write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


def run_exact(model: Model, dictionary: Dictionary, folder: Path, shares: list[float]) -> None:
    """What is there is not run again."""
    for name in ("scored", "calibrated"):
        part = drawn(dictionary.width)[name]
        for texts, path in (
            (part.texts, folder / f"{name}.safetensors"),
            ([NEUTRAL], folder / f"{name}-neutral.safetensors"),
        ):
            if not path.exists():
                last = texts is part.texts
                exact = measured(model, dictionary, part.features, texts, shares, last=last)
                exact.save(path)


def run_score(
    model: Model, dictionary: Dictionary, folder: Path, out: Path
) -> list[dict[str, Any]]:
    """Rows of scores; the map with its intervals is written to `out`."""
    fitted = ForecastMap.load(folder)
    assert fitted is not None
    worlds = {
        name: _world(model, dictionary, fitted, folder, name) for name in ("scored", "calibrated")
    }
    known = widths(off(worlds["calibrated"], other_texts(CALIBRATING, CONTEXTS)))
    replace(fitted, off=known).save(out)
    about = {"dictionary": dictionary.name, "features": len(worlds["scored"].units)}
    rows: list[dict[str, Any]] = []
    for number, share in enumerate(worlds["scored"].exact.shares.tolist()):
        for forecast, figures in overlaps(worlds["scored"], number).items():
            told = {"overlap of": forecast, "share of norm": round(share, 3), **figures}
            rows.append({**about, **told})
    scored = off(worlds["scored"], [range(CONTEXTS)])
    for name, bounds in known.items():
        held = coverage(scored[name], bounds, SCORED)
        rows.append({**about, "interval of": name, "bounds": bounds, "coverage": held})
    drawn_ones = examples(worlds["scored"], known["kl"], model.token, dictionary.width)
    return rows + [{**about, **row} for row in drawn_ones]


def _world(
    model: Model, dictionary: Dictionary, fitted: ForecastMap, folder: Path, name: str
) -> World:
    part = drawn(dictionary.width)[name]
    with torch.inference_mode():
        return World(
            unembedding=in_full(model.module.get_output_embeddings().weight).cpu(),
            gain=norm_of(model).gain.cpu(),
            matrix=fitted.matrix,
            length=fitted.length,
            median=median_norm(model, dictionary),
            units=unit_rows(dictionary, part.features).cpu(),
            neutral=Exact.load(folder / f"{name}-neutral.safetensors"),
            exact=Exact.load(folder / f"{name}.safetensors"),
        )


def _kept() -> list[dict[str, Any]]:
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


if __name__ == "__main__":
    typer.run(main)
