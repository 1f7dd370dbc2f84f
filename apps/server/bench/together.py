"""Sixteen clients at once with sixteen interventions, beside each alone and the library."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from apps.server.bench.started import MODEL, NAME, Target
from steer.edits import (
    Ablate,
    Add,
    AddDirection,
    Cap,
    Clamp,
    Edit,
    Floor,
    Intervention,
    ProjectOut,
    Scale,
)
from steer.edits.directions import DecoderRow, Random
from steer.edits.phrases import parse_condition
from steer.edits.schedules import First
from steer.model import Model

_PROMPTS = ("The old bridge", "I went to the market and", "Her house is much", "On Tuesday")
_TOKENS = 40


def interventions() -> list[list[Intervention]]:
    """Sixteen, four of them none."""
    kinds: list[Edit] = [
        Clamp(1176, "2x max"),
        Clamp(1176, "1x max", positions="generated"),
        Ablate(1176),
        Scale(2631, 3.0),
        Add(657, 40.0, positions="last"),
        Floor(1176, 30.0),
        Cap(2631, 1.0),
        Clamp(4973, "1x max", schedule=First(4)),
        Clamp(4973, "1x max", when=parse_condition("not seen 1176")),
        AddDirection(Random(3), "0.2x norm"),
        ProjectOut(DecoderRow(NAME, 1176)),
    ]
    single = [[Intervention(NAME, [kind])] for kind in kinds]
    early = Intervention(f"{MODEL}/resid_post.10", [Clamp(657, "1x max")])
    return [*single, [early, *single[0]], [], [], [], []]


def bodies(tokens: int = _TOKENS) -> list[dict[str, Any]]:
    """Half of them greedy."""
    return [
        {
            "prompt": _PROMPTS[number % len(_PROMPTS)],
            "max_tokens": tokens,
            "temperature": 0 if number % 2 else 0.8,
            "seed": number,
            "steering": [edit.to_dict() for edit in acting],
        }
        for number, acting in enumerate(interventions())
    ]


def together(target: Target, model: Model, tokens: int = _TOKENS) -> dict[str, Any]:
    """How many texts, and proofs, are the same together, alone, and in process."""
    asked = bodies(tokens)
    alone = [target.complete(**body) for body in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        at_once = list(pool.map(lambda body: target.complete(**body), asked))
    same = sum(a["choices"] == b["choices"] for a, b in zip(alone, at_once, strict=True))
    library = proofs = 0
    for body, acting, answer in zip(asked, interventions(), at_once, strict=True):
        run = model.generate(
            body["prompt"],
            acting or Intervention(NAME, [Scale(1176, 1.0)]),
            max_new_tokens=tokens,
            temperature=body["temperature"],
            seed=body["seed"],
            if_silent="ignore",
        )
        (row,) = answer["steer"]["rows"]
        library += answer["choices"][0]["text"] == run.text
        acted = [len(entry.acted_tokens) for entry in run.receipt] if acting else []
        told = [edit["acted"] for edit in row["edits"]]
        proofs += row["digests"] == [edit.digest for edit in acting] and told == acted
    return {
        "texts together as alone": f"{same} of {len(asked)}",
        "texts together as Model.generate": f"{library} of {len(asked)}",
        "digests and tokens acted on as Model.generate": f"{proofs} of {len(asked)}",
    }
