"""A proof in one line: the header `X-Steer`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from apps.server.request.offer import Offer
from steer.serving import proof as proofs
from steer.serving.ask import Answer, Ask

HEADER = "X-Steer"
_DIGESTS, _LETTERS = 8, 400
"""Most that the header lists, since clients read headers of a few KiB; the body has all."""


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
    parts = [f"digest={_listed(told['digests'])}"]
    if "rows" in told:
        edits = [edit for row in told["rows"] for edit in row["edits"]]
        doses = [edit["dose"] for edit in edits if edit["dose"] is not None]
        acted, of = (sum(edit[name] for edit in edits) for name in ("acted", "of"))
        parts.append(f"acted={acted}/{of}")
        parts.append(f"dose={sum(doses) / len(doses):.4g}" if doses else "dose=none")
        parts.append(f"silent={_reasons(told['silent'])}")
    else:
        parts.append("acted=in the last chunk")
    parts += [f"dtype={told['dtype']}", f"model={told['fingerprint']}"]
    return {HEADER: "; ".join(parts)}


def _listed(digests: Sequence[str]) -> str:
    more = len(digests) - _DIGESTS
    rest = [f"{more} more"] if more > 0 else []
    return "+".join([*digests[:_DIGESTS], *rest]) or "none"


def _reasons(silent: Sequence[str]) -> str:
    """In quotes, ASCII alone."""
    if not silent:
        return "no"
    whole = "; ".join(silent)
    if len(whole) > _LETTERS:
        whole = f"{len(silent)} edits, the first: {silent[0][:_LETTERS]}"
    return json.dumps(whole)
