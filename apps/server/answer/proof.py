"""How a text was steered, as every answer says it: in its body, its last chunk, and a header."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from apps.server.request.offer import Offer
from steer.edits import Intervention
from steer.serving.ask import Answer, Ask
from steer.splice.receipt import EditReceipt

HEADER = "X-Steer"


def proof(offer: Offer, asks: Sequence[Ask], answers: Sequence[Answer]) -> dict[str, Any]:
    """digests: of the interventions that were asked for, none if unsteered; of what acted, a row a
    text, with the seed that gives it again. silent: a line for every edit that did nothing."""
    rows = [
        {
            "index": index,
            "seed": ask.sampling.seed,
            "digests": _digests(ask.interventions),
            "edits": [_edit(entry) for entry in answer.receipt],
        }
        for index, (ask, answer) in enumerate(zip(asks, answers, strict=True))
    ]
    return {**about(offer, asks), "silent": silent(answers), "rows": rows}


def about(offer: Offer, asks: Sequence[Ask]) -> dict[str, Any]:
    """What is known before anything is generated."""
    acting = [ask.interventions for ask in asks if ask.interventions]
    return {
        "steered": bool(acting),
        "digests": _digests(acting[0]) if acting else [],
        "model": offer.name,
        "fingerprint": offer.model.fingerprint,
        "dtype": offer.model.dtype,
    }


def silent(answers: Sequence[Answer]) -> list[str]:
    """Reasons, a line for every edit that did nothing."""
    found = (entry for answer in answers for entry in answer.receipt.silent)
    return list(dict.fromkeys(f"{entry.kind} {entry.what}: {entry.reason}" for entry in found))


def header(told: dict[str, Any]) -> dict[str, str]:
    """A proof in one line. Of a stream, whose text is not there yet, what acted is in its end."""
    parts = [f"digest={'+'.join(told['digests']) or 'none'}"]
    if "rows" in told:
        edits = [edit for row in told["rows"] for edit in row["edits"]]
        doses = [edit["dose"] for edit in edits if edit["dose"] is not None]
        acted, of = (sum(edit[name] for edit in edits) for name in ("acted", "of"))
        parts.append(f"acted={acted}/{of}")
        parts.append(f"dose={sum(doses) / len(doses):.4g}" if doses else "dose=none")
        parts.append(f"silent={json.dumps('; '.join(told['silent'])) if told['silent'] else 'no'}")
    else:
        parts.append("acted=in the last chunk")
    parts += [f"dtype={told['dtype']}", f"model={told['fingerprint']}"]
    return {HEADER: "; ".join(parts)}


def _digests(interventions: Sequence[Intervention]) -> list[str]:
    return [each.digest for each in interventions]


def _edit(entry: EditReceipt) -> dict[str, Any]:
    return {
        "dictionary": entry.dictionary,
        "kind": entry.kind,
        "feature": entry.feature,
        "direction": entry.direction,
        "acted": len(entry.acted_tokens),
        "of": entry.touched,
        "before": entry.before,
        "after": entry.after,
        "reached": entry.reached,
        "dose": entry.relative_dose,
        "reason": entry.reason,
        "note": entry.note,
        "error": entry.error,
    }
