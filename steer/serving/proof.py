"""How texts were steered, as data that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steer.edits import Intervention
from steer.lm.language_model import LanguageModel
from steer.serving.ask import Answer, Ask
from steer.splice.receipt import EditReceipt


def proof(
    model: LanguageModel,
    name: str,
    asks: Sequence[Ask],
    answers: Sequence[Answer],
    *,
    whole: bool = False,
) -> dict[str, Any]:
    """digests: of the interventions that were asked for, none if unsteered; of what acted, a row a
    text, with the seed that gives it again. silent: a line for every edit that did nothing.

    name: what the model is called where it was asked.
    whole: with the receipts, token by token.
    """
    rows = [
        {
            "index": index,
            "seed": ask.sampling.seed,
            "digests": _digests(ask.interventions),
            "edits": [_edit(entry) for entry in answer.receipt],
            **({"receipt": answer.receipt.to_list()} if whole else {}),
        }
        for index, (ask, answer) in enumerate(zip(asks, answers, strict=True))
    ]
    return {**about(model, name, asks), "silent": _silent(answers), "rows": rows}


def about(model: LanguageModel, name: str, asks: Sequence[Ask]) -> dict[str, Any]:
    """What is known before anything is generated."""
    acting = [ask.interventions for ask in asks if ask.interventions]
    return {
        "steered": bool(acting),
        "digests": _digests(acting[0]) if acting else [],
        "model": name,
        "fingerprint": model.fingerprint,
        "dtype": model.precision,
    }


def _silent(answers: Sequence[Answer]) -> list[str]:
    silent = (entry for answer in answers for entry in answer.receipt.silent)
    return list(dict.fromkeys(f"{entry.kind} {entry.what}: {entry.reason}" for entry in silent))


def _digests(interventions: Sequence[Intervention]) -> list[str]:
    return [intervention.digest for intervention in interventions]


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
