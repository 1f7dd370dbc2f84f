"""`python -m apps.studies.verify_nulls PART`: verdicts on edits of which the truth is known.

planted: 50 real and 200 null features of the tiny transformer in `planted.py`.
rows: features of the default model whose decoder row is replaced by a random one of its length.
named: the fourteen features that the READMEs name, on what their names claim, at their doses.
own: features that move the answers to indirect objects, on the tokens that each chooses itself.
seeds: the first of the named, with other seeds of the draws.
frozen: the named by a smaller protocol, with rows of a frozen decoder beside (--frozen FOLDER).

A line of JSON a verdict is appended to the results as it is there; what is there is not run again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from apps.studies.planted import NULL, REAL, planted
from apps.studies.verdict_claims import DO_NOT, STEER
from dictionaries.dictionary import Dictionary
from steer.edits import Add, Clamp, Intervention
from steer.loading import load
from steer.model import Model
from steer.verdicts.protocol import RANDOM
from steer.verdicts.result import Verdict
from steer.verdicts.texts import NEUTRAL, default_prompts
from steer.verdicts.verify import verify

RESULTS = Path(__file__).parent / "verdicts"
SITE = "smollm2-135m/resid_post.20"
OWN = (1176, 2843, 2568, 1972, 4461, 4501, 4973, 2131, 2947, 3200, 6019, 4565, 760)
"""Comparatives, and the twelve of the table of indirect objects."""
ROWS, SEEDS = 100, 20

Case = tuple[str, Callable[[], Verdict]]
"""A name, and what runs it."""


def planted_cases() -> Iterator[Case]:
    """Four null features after every real one, so that a part is a fair part."""
    world = planted()
    options: dict[str, Any] = {
        "dictionaries": [world.dictionary],
        "prompts": [[text] for text in world.texts(20, 8, 1)],
        "neutral": world.texts(6, 20, 2),
        "panel": (),
        "choosing": 6,
        "tokens": 5,
    }
    share = NULL // REAL
    for real in range(REAL):
        nulls = range(REAL + share * real, REAL + share * (real + 1))
        for kind, feature in [("real", real), *(("null", null) for null in nulls)]:
            edit = Intervention("planted", [Add(feature, 2.0)])
            yield f"{kind} {feature}", partial(verify, world.model, edit, **options)


def row_cases(model: Model, count: int) -> Iterator[Case]:
    """Live features, drawn at random; only what they write is replaced."""
    dictionary = model.dictionary(SITE)
    assert dictionary.statistics is not None
    live = (dictionary.statistics.density > 1e-4).nonzero().flatten()
    generator = torch.Generator().manual_seed(0)
    for number, place in enumerate(torch.randperm(len(live), generator=generator)[:count]):
        feature = int(live[place])
        changed = _random_row(dictionary, feature, number)
        yield (
            f"row {feature}",
            partial(verify, model, _clamped(feature), dictionaries=[changed]),
        )


def _random_row(dictionary: Dictionary, feature: int, seed: int) -> Dictionary:
    rows = dictionary.W_dec.clone()
    drawn = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(10_000 + seed))
    rows[feature] = drawn / drawn.norm() * rows[feature].norm()
    return replace(dictionary, W_dec=rows)


def named_cases(model: Model) -> Iterator[Case]:
    for named in (*STEER, *DO_NOT):
        edit = _clamped(named.feature, named.dose)
        yield f"feature {named.feature}", partial(verify, model, edit, named.claim)


def frozen_cases(model: Model, frozen: str) -> Iterator[Case]:
    """A third of a minute each: fewer prompts and draws, and no panel."""
    smaller: dict[str, Any] = {
        "prompts": default_prompts()[:12],
        "neutral": NEUTRAL[:4],
        "draws": 12,
        "panel": (),
    }
    for named in (*STEER, *DO_NOT):
        edit = _clamped(named.feature, named.dose)
        run_it = partial(verify, model, edit, named.claim, frozen=frozen, **smaller)
        yield f"feature {named.feature}", run_it


def own_cases(model: Model) -> Iterator[Case]:
    for feature in OWN:
        yield f"feature {feature}", partial(verify, model, _clamped(feature))


def seed_cases(model: Model, count: int) -> Iterator[Case]:
    first = STEER[0]
    for seed in range(count):
        edit = _clamped(first.feature, first.dose)
        yield f"seed {seed}", partial(verify, model, edit, first.claim, seed=seed)


def _clamped(feature: int, dose: str = "2x max") -> Intervention:
    return Intervention(SITE, [Clamp(feature, dose)])


def run(cases: Iterator[Case], results: Path) -> None:
    """Append what is missing."""
    done = {row["name"] for row in rows(results)}
    for name, verdict in cases:
        if name in done:
            continue
        begun = time.monotonic()
        line = {"name": name, **_told(verdict()), "seconds": round(time.monotonic() - begun, 1)}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _told(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a verdict: all but the texts of its protocol."""
    effect = verdict.effect
    return {
        "verdict": verdict.verdict,
        "why": verdict.decision.why,
        "more": list(verdict.claim.to_dict()["more"]),
        "effect": effect.whole.mean,
        "low": effect.whole.low,
        "high": effect.whole.high,
        "wrong_way": effect.wrong_way,
        "cost": effect.cost,
        "controls": {
            control.control: {
                "effect": control.effect.mean,
                "bound": control.bound,
                "beyond": control.advantage.mean,
                "beyond_low": control.advantage.low,
                "scale": control.scale,
                "met": control.met,
            }
            for control in verdict.controls
        },
        "harmed": [behaviour.behaviour for behaviour in verdict.panel if behaviour.harmed],
        "digest": verdict.protocol.digest,
    }


def rows(results: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    text = results.read_text() if results.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def table(verdict_rows: list[dict[str, Any]]) -> str:
    """How many of each kind got which verdict, and each verdict on the default model."""
    counts = Counter(
        (row["name"].split()[0], row["verdict"].partition(":")[0]) for row in verdict_rows
    )
    lines = [f"{kind}: {verdict} {count}" for (kind, verdict), count in sorted(counts.items())]
    single = [row for row in verdict_rows if row["name"].startswith("feature")]
    lines += [
        f"{row['name']}: {row['verdict']}; effect {row['effect']:.2f}, bound "
        f"{row['controls'][RANDOM]['bound']:.2f}, {row['cost']:.2f} nats, "
        f"{row['wrong_way']:.0%} the wrong way"
        for row in single
    ]
    return "\n".join(lines)


def main(
    part: str,
    count: int = 0,
    dtype: str = "float32",
    out: Path = RESULTS,
    frozen: str | None = None,
) -> None:
    """PART is planted, rows, named, own, seeds or frozen; --count of rows or seeds."""
    if (part == "frozen") != (frozen is not None):
        raise typer.BadParameter("the part frozen and --frozen FOLDER, trained so, go together")
    results = out / f"{part}.jsonl"
    if part == "planted":
        run(planted_cases(), results)
    else:
        model = load(dtype=dtype)
        cases = {
            "rows": lambda: row_cases(model, count or ROWS),
            "named": lambda: named_cases(model),
            "own": lambda: own_cases(model),
            "seeds": lambda: seed_cases(model, count or SEEDS),
        }
        if frozen is not None:
            cases["frozen"] = lambda: frozen_cases(model, frozen)
        if part not in cases:
            raise typer.BadParameter(f"{part!r} is unknown; allowed: planted, {', '.join(cases)}")
        run(cases[part](), results)
    print(table(rows(results)))


if __name__ == "__main__":
    typer.run(main)
