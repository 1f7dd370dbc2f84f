"""The results as Markdown: families by job, blocks by site, and every cell that is not right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.sites import KINDS

WHOLE = ("load", "generate", "uncached", "batched", "edited", "direct_logits")
SITE = ("collect", "write", "receipt", "logit_effect", "sweep", "attribution")
SIGNS = {"right": "✓", "refused": "refused", "WRONG": "**WRONG**", "raw": "**raw**", "n/a": "–"}
ORDER = ("WRONG", "raw", "refused", "n/a", "right")


@dataclass(frozen=True)
class Cell:
    """One cell: of a family, in a block ("" for the whole model), at a kind of site, of a job."""

    family: str
    block: str
    kind: str
    job: str
    status: str
    detail: str
    where: str

    @property
    def bad(self) -> bool:
        return self.status in ("WRONG", "raw")


def cells(row: Mapping[str, Any]) -> Iterator[Cell]:
    """Every cell of a family."""
    family = row["family"]
    for job, outcome in row.get("whole", {}).items():
        yield Cell(family, "", "", job, **outcome)
    for block, kinds in row.get("sites", {}).items():
        for kind, jobs in kinds.items():
            for job, outcome in jobs.items():
                yield Cell(family, block, kind, job, **outcome)


def markdown(rows: Sequence[Mapping[str, Any]], version: str) -> str:
    """The whole document."""
    built = [row for row in rows if not row.get("built")]
    every = [cell for row in built for cell in cells(row)]
    counts = Counter(cell.status for cell in every)
    listed = ", ".join(f"{counts[status]} {status}" for status in ORDER[::-1] if counts[status])
    return "\n".join(
        [
            "# Families",
            "",
            "Every causal language model of transformers "
            f"{version}, and multimodal ones read as text, made tiny with random weights, against "
            "plain PyTorch hooks: `python -m tests.conformance` writes this file.",
            "",
            f"{len(rows)} families and variants, {len(built)} built; {len(every)} cells: {listed}.",
            "",
            *_why_refused(every),
            "",
            "n/a: nothing to compare with, since transformers' own run fails, or is another in a "
            "batch, or jumps under rounding.",
            "Jobs at a site: " + ", ".join(SITE) + ".",
            "",
            *_whole(built),
            "",
            *_sites(built),
            "",
            *_not_right(every),
            "",
            *_not_built(rows),
            "",
        ]
    )


def _why_refused(every: Sequence[Cell]) -> list[str]:
    """How many cells are refused of whole models, without such a tensor, and with one."""
    refused = [cell for cell in every if cell.status == "refused"]
    tensors = {(c.family, c.block, c.kind) for c in every if c.block and c.job != "collect"}
    sites = [(cell.family, cell.block, cell.kind) for cell in refused if cell.block]
    there = sum(site in tensors for site in sites)
    loads = sum(cell.job == "load" for cell in refused)
    return [
        f"Refused by name: {len(sites) - there} cells at sites that the family does not have; "
        f"{there} at sites that the oracle finds and steer does not take (one linear map does not "
        "give all that is added, several modules share it, the stream is changed on its way); "
        f"{len(refused) - len(sites) - loads} of whole models (padding, or a final norm that is "
        f"not all that is there); {loads} models at load.",
    ]


def _whole(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Whole models", "", "| family | " + " | ".join(WHOLE) + " |"]
    lines.append("|---" * (len(WHOLE) + 1) + "|")
    for row in rows:
        found = row["whole"]
        signs = [SIGNS[found[job]["status"]] if job in found else "–" for job in WHOLE]
        lines.append(f"| {row['family']} | " + " | ".join(signs) + " |")
    return lines


def _sites(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Sites", "", "| family | block | " + " | ".join(KINDS) + " |"]
    lines.append("|---" * (len(KINDS) + 2) + "|")
    for row in rows:
        for block, kinds in row.get("sites", {}).items():
            signs = [_merged(kinds.get(kind, {})) for kind in KINDS]
            lines.append(f"| {row['family']} | {block} | " + " | ".join(signs) + " |")
    return lines


def _merged(jobs: Mapping[str, Mapping[str, str]]) -> str:
    """✓ if all jobs are right, else the worst, with the jobs where it is so if not all are."""
    statuses = {job: outcome["status"] for job, outcome in jobs.items()}
    if not statuses:
        return "–"
    worst = min(statuses.values(), key=ORDER.index)
    having = [job for job, status in statuses.items() if status == worst]
    return SIGNS[worst] + ("" if len(having) == len(statuses) else f" ({', '.join(having)})")


def _not_right(every: Sequence[Cell]) -> list[str]:
    """Wrong and raw cells, a line for each site and status; what is refused, by what is said."""
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in every:
        if cell.bad:
            place = (cell.family, cell.block, cell.kind, cell.status, cell.where)
            places.setdefault(place, []).append(cell)
    lines = ["## What is wrong", ""]
    for (family, block, kind, status, where), found in places.items():
        site = f" {block} {kind}" if kind else ""
        jobs = ", ".join(cell.job for cell in found)
        at = f" ({where})" if where else ""
        lines.append(f"- {family}{site}: {status} in {jobs}: {found[0].detail}{at}")
    if not places:
        lines.append("Nothing.")
    lines += ["", "## What is refused, and how it is said", ""]
    said = Counter(
        (cell.kind or cell.job, _without_names(cell.detail))
        for cell in every
        if cell.status == "refused" and cell.job in ("collect", *WHOLE)
    )
    return lines + [f"- {kind}: {text} ({count})" for (kind, text), count in sorted(said.items())]


def _without_names(message: str) -> str:
    """A refusal without what differs by family: class, numbers, and the list of what it has."""
    without = re.sub(r": \w+ (?=has no |does not |can't be )", ": … ", message)
    return re.sub(r"\d[\d.]*%?", "#", re.sub(r"; it has: [^(]*", " ", without))


def _not_built(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [f"- {row['family']}: {row['built']}" for row in rows if row.get("built")]
    return ["## Not built", "", *(found or ["None."])]
