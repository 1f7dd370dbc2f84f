"""Recorded activations: texts with some features' values, as tokens of the model, and compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steer.errors import FormatError
from steer.lm.language_model import LanguageModel

_OFF = 0.9
"""Compared is what this share of active values stay within: a rounding may pass a threshold."""
FINEST = 3e-5
"""What the same arithmetic on another machine may differ by."""
_DECIMALS = 6
_LEAST_TOKENS = 2


@dataclass(frozen=True)
class Recorded:
    """A text of which features' activations were recorded.

    tokens: token ids, texts of tokens, or the text itself.
    values: by feature, one a token; a BOS that tokens do not name has none.
    """

    tokens: str | tuple[int, ...] | tuple[str, ...]
    values: Mapping[int, tuple[float, ...]]


def recorded(said: Any, path: Path) -> tuple[Recorded, ...]:
    """The records of a published file: ours, or as Neuronpedia exports and answers them.

    Raises `FormatError` for a record that says no tokens, or no values.
    """
    if not isinstance(said, list) or not all(isinstance(entry, Mapping) for entry in said):
        raise FormatError(f"{path} has activations that are no list of JSON objects")
    return tuple(_record(entry, f"{path}: activations[{i}]") for i, entry in enumerate(said))


def _record(entry: Mapping[str, Any], where: str) -> Recorded:
    tokens: Any = next((entry[k] for k in ("token_ids", "tokens", "text") if k in entry), None)
    if not (isinstance(tokens, str) or _all(tokens, int) or _all(tokens, str)):
        raise FormatError(f"{where} has no token_ids, tokens or text")
    values: dict[int, tuple[float, ...]] = {}
    for record in entry.get("activations", [entry]):
        feature = (
            record.get("feature", record.get("index")) if isinstance(record, Mapping) else None
        )
        if isinstance(feature, str) and feature.isdecimal():
            feature = int(feature)
        if isinstance(feature, bool) or not isinstance(feature, int):
            raise FormatError(f"{where} says feature = {feature!r}, expected an index")
        if not _all(record.get("values"), int | float):
            raise FormatError(f"{where} has no values of feature {feature}, one a token")
        values[feature] = tuple(map(float, record["values"]))
    lengths = {len(numbers) for numbers in values.values()}
    if len(lengths) > 1 or (not isinstance(tokens, str) and lengths != {len(tokens)}):
        raise FormatError(f"{where} has {sorted(lengths)} values; expected one a token")
    return Recorded(tokens if isinstance(tokens, str) else tuple(tokens), values)


def _all(values: Any, kind: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)
    )


@dataclass(frozen=True, eq=False)
class Records:
    """All recorded texts as one batch.

    ids [n, s]: each begins with a BOS if `bos`; the ends of shorter ones are padded, which causal
    models do not see.
    features [m]; values [n, s, m] and known [n, s, m] are of real tokens alone, 0 elsewhere.
    """

    ids: Tensor
    bos: bool
    features: tuple[int, ...]
    values: Tensor
    known: Tensor

    @classmethod
    def of(cls, model: LanguageModel, texts: Sequence[Recorded], *, bos: bool) -> Records:
        """Raises `FormatError` for tokens that the model does not have, or values of others."""
        rows = [_real_ids(model, text) for text in texts]
        features = tuple(sorted({feature for text in texts for feature in text.values}))
        length = max(map(len, rows))
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        values = torch.zeros(len(rows), length, len(features))
        known = torch.zeros_like(values, dtype=torch.bool)
        for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
            ids[i] = torch.tensor(row + row[-1:] * (length - len(row)))
            for feature, numbers in text.values.items():
                m, own = features.index(feature), numbers[-len(row) :]
                values[i, : len(row), m] = torch.tensor(own)
                known[i, : len(row), m] = True
        first = ids.new_full((len(rows), 1), model.tokenizer.bos_token_id) if bos else ids[:, :0]
        return cls(torch.cat([first, ids], 1).to(model.device), bos, features, values, known)

    def error(self, activations: Tensor) -> float:
        """How far activations [n' <= n, s', m] are off, as a share of a feature's largest value.

        s' may lack the BOS, or have one that ids have not. NaN if nothing is active in either.
        """
        start = activations.shape[1] - self.values.shape[1]
        n = len(activations)
        ours, theirs, known = activations[:, start:].cpu(), self.values[:n], self.known[:n]
        off = ((ours - theirs).abs() / self.scale)[known & ((ours != 0) | (theirs != 0))]
        return off.quantile(_OFF).item() if len(off) else math.nan

    @property
    def scale(self) -> Tensor:
        """[m]: the largest value of each feature, of any where it has none."""
        largest = self.values.abs().amax((0, 1))
        return torch.where(largest > 0, largest, largest.max()).clamp(min=1e-12)

    @property
    def grain(self) -> float:
        """What rounding of the recorded values themselves can hide, as such a share."""
        numbers = self.values[self.values != 0]
        if not len(numbers):
            return math.inf
        if torch.equal(numbers, numbers.bfloat16().float()):
            return 2.0**-8
        for decimals in range(_DECIMALS):
            step = 10.0**-decimals
            if torch.allclose(numbers, (numbers / step).round() * step, rtol=1e-6, atol=0):
                return max(step / self.scale.min().item(), FINEST)
        return FINEST


def _real_ids(model: LanguageModel, text: Recorded) -> list[int]:
    """Ids of its own tokens, without a BOS."""
    length = len(next(iter(text.values.values())))
    if isinstance(text.tokens, str):
        row = model.tokenizer(text.tokens, add_special_tokens=False)["input_ids"]
    else:
        row = [token if isinstance(token, int) else _id(model, token) for token in text.tokens]
    if row[:1] == [model.tokenizer.bos_token_id] and not isinstance(text.tokens, str):
        row = row[1:]
    if length - len(row) not in (0, 1):
        raise FormatError(
            f"a recorded text has {length} values, and {model.name} reads {len(row)} tokens: give "
            "its token_ids"
        )
    if len(row) < _LEAST_TOKENS:
        raise FormatError(f"a recorded text has {len(row)} tokens; at least 2 are needed")
    model.check_ids(row)
    model.check_length(len(row) + 1)
    return row


def _id(model: LanguageModel, token: str) -> int:
    """Of a token as Neuronpedia shows it: its text, or its name in the vocabulary."""
    vocabulary: Mapping[str, int] = model.tokenizer.get_vocab()
    for name in _names(token):
        if name in vocabulary:
            return vocabulary[name]
    ids = model.tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise FormatError(
            f"the recorded token {token!r} is none of {model.name}'s: give token_ids instead"
        )
    return int(ids[0])


def _names(token: str) -> Iterable[str]:
    """A space is written as ▁ or Ġ in vocabularies, a new line as Ċ."""
    return (token, token.replace(" ", "▁"), token.replace(" ", "Ġ").replace("\n", "Ċ"))
