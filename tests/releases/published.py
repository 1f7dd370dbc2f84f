"""What is published of a planted release: measured of its truth, in a few lines of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from tests.releases.plans import Plan
from tests.releases.truth import BOS, Truth, activations, text_of, words
from tests.support import tiny

_ROWS, _LENGTH = 40, 63
_RECORDED, _SHORT, _FEATURES = 4, 14, 6
_OTHER_MACHINE = 3e-6
"""Relative noise of what is recorded."""
_FIGURES, _OTHER, _ACTIVE = 5000, 6000, 7000
"""Seeds of the texts: of the figures, read instead where they aren't published, and recorded."""


def published(plan: Plan, meant: Dictionary) -> dict[str, Any]:
    """The published file of what is meant."""
    truth = plan.truth
    used = meant if plan.weights_dtype == "float32" else _rounded(meant, plan.weights_dtype)
    rows = [words(_LENGTH, _FIGURES + i) for i in range(_ROWS)]
    figures = _figures(used, truth, rows, plan.figures)
    document: dict[str, Any] = {
        "source": f"planted, {plan.name}",
        "site": truth.site,
        "kind": truth.kind,
        "prepend_bos": truth.bos,
        "dtype": "float32",
        "model_dtype": "float32",
        "figures": figures,
    }
    if truth.out is not None:
        document["site_out"] = truth.out
    if plan.texts:
        document["texts"] = [text_of(row) for row in rows]
    if plan.recorded is not None:
        document["activations"] = _records(plan, used)
    return {**document, **dict(plan.states)}


def other_text() -> str:
    """What is read for figures where the texts of the published ones are not known."""
    return "\n".join(text_of(words(_LENGTH, _OTHER + i)) for i in range(_ROWS))


def _figures(
    used: Dictionary, truth: Truth, rows: list[list[int]], names: tuple[str, ...]
) -> dict[str, float]:
    """First tokens do not count."""
    skip = 0 if truth.bos else 1
    x = activations(truth, rows)[:, skip:].flatten(0, 1)
    y = x if truth.out is None else activations(truth, rows, site=truth.out)[:, skip:].flatten(0, 1)
    features, norm = used.encode(x)
    error = (y - used.decode(features, norm)).square().sum()
    figures = {
        "l0": (features != 0).float().sum(-1).mean().item(),
        "explained_variance": 1 - (error / (y - y.mean(0)).square().sum()).item(),
    }
    if "delta_ce" in names:
        figures["delta_ce"] = _delta_ce(used, truth, rows)
    return {name: figures[name] for name in names}


def _delta_ce(used: Dictionary, truth: Truth, rows: list[list[int]]) -> float:
    """By a plain hook on the block: its output reconstructed, but for the first token's."""
    plain: Any = tiny.plain_model(truth.family)
    kind, _, layer = truth.site.rpartition(".")
    assert kind == "resid_post"
    block = (plain.transformer.h if truth.family == "gpt2" else plain.model.layers)[int(layer)]
    ids = torch.tensor([[BOS, *row] if truth.bos else row for row in rows])

    def reconstructed(_module: Any, _inputs: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        changed = torch.cat([x[:, :1], used.reconstruct(x[:, 1:])], 1)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with torch.inference_mode():
        clean = _loss(plain(ids).logits, ids)
        handle = block.register_forward_hook(reconstructed)
        try:
            return _loss(plain(ids).logits, ids) - clean
        finally:
            handle.remove()


def _loss(logits: Tensor, ids: Tensor) -> float:
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    ).item()


def _records(plan: Plan, used: Dictionary) -> list[dict[str, Any]]:
    """A few texts, each with the features that are most active there."""
    rows = [words(_SHORT, _ACTIVE + i) for i in range(_RECORDED)]
    features = used.encode(activations(plan.truth, rows, plan.model_dtype))[0]
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    features = features * (1 + _OTHER_MACHINE * noise)
    records = []
    for row, values in zip(rows, features, strict=True):
        top = values.amax(0).topk(_FEATURES).indices.tolist()
        seen = [{"index": i, "values": values[:, i].tolist()} for i in top]
        match plan.recorded:
            case "text":
                records.append({"text": text_of(row), "activations": seen})
            case "tokens":  # as Neuronpedia exports them
                shown = {"tokens": [f"w{token}" for token in row]}
                for each in seen:
                    values = [round(value, 3) for value in each["values"]]
                    records.append({**shown, **each, "values": values, "maxValue": max(values)})
            case _:
                records.append({"token_ids": row, "activations": seen})
    return records


def _rounded(given: Dictionary, dtype: str) -> Dictionary:
    to = getattr(torch, dtype)
    names = given.tensor_names()
    return replace(given, **{name: getattr(given, name).to(to).float() for name in names})
