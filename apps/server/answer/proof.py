"""A proof in one line: the header `X-Steer`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from apps.server.request.offer import Offer
from steer.serving import proof as proofs
from steer.serving.ask import Answer, Ask

HEADER = "X-Steer"


def proof(
    offer: Offer, asks: Sequence[Ask], answers: Sequence[Answer], whole: bool = False
) -> dict[str, Any]:
    """Of texts of what is on offer: see `steer.serving.proof`."""
    return proofs.proof(offer.model, offer.name, asks, answers, whole=whole)


def about(offer: Offer, asks: Sequence[Ask]) -> dict[str, Any]:
    """What is known before anything is generated."""
    return proofs.about(offer.model, offer.name, asks)


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
