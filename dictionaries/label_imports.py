"""Labels made elsewhere: Neuronpedia's exports of explanations, and a plain CSV.

    Neuronpedia   a JSON array, an object with `explanations`, or JSONL, also gzipped, or a folder
                  of such batches; records with modelId, layer (`20-gemmascope-res-16k`), index
                  (text), description, typeName, explanationModelName, scores
    CSV           a header with feature, label and, optionally, a label's other fields
    ours          labels.jsonl

What a file is shows in its content. Source: neuronpedia.org's dataset exports (`v1/<model>/
<source>/explanations/batch-<n>.jsonl.gz`) and its retired `api/explanation/export`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError

_LIMIT = 2**30
_BATCHES = ("*.jsonl.gz", "*.jsonl", "*.json")
_TEXTS = ("source", "method", "example")
_FIGURES = ("score", "precision", "recall", "f1")


@dataclass(frozen=True)
class Imported:
    """What a file held. blank: rows without a label, left out.

    origins: `model/source` of Neuronpedia's records, each with the block number it begins with.
    """

    labels: Labels
    blank: int = 0
    origins: tuple[str, ...] = ()

    def check(self, dictionary: Dictionary) -> None:
        """Raise `DictionaryError` if they are plainly of another dictionary."""
        self.labels.check(dictionary.width)
        layer = (dictionary.config.hookpoint or "").rpartition(".")[2]
        for origin in self.origins:
            named = origin.partition("/")[2].partition("-")[0]
            if named.isdecimal() and layer.isdecimal() and int(named) != int(layer):
                raise DictionaryError(
                    f"the labels are of {origin}, block {named}, and {dictionary.name or 'it'} "
                    f"reads {dictionary.config.hookpoint}: they are of another dictionary"
                )


def read_labels(path: str | Path, origin: str | None = None) -> Imported:
    """Read a file, or a folder of batches.

    origin: only Neuronpedia's records of this `model/source`, for a file that holds several.
    Raises `FormatError`, with the record, for what is no label or a file of several origins.
    """
    path = Path(path)
    labels: list[Label] = []
    blank, origins = 0, dict[str, None]()
    for file in _files(path):
        for number, record in _records(file):
            of = _origin(record)
            if of and origin and of != origin:
                continue
            try:
                label = _label(record, file.name)
            except (DictionaryError, ValueError, TypeError, KeyError) as error:
                raise FormatError(f"{file}, record {number}: {_reason(error)}") from error
            blank += label is None
            if label is not None:
                labels.append(label)
                origins.update({of: None} if of else {})
    if len(origins) > 1:
        raise FormatError(
            f"{path} holds labels of {', '.join(origins)}: choose one of them as the origin"
        )
    if not labels:
        raise FormatError(f"{path} holds no labels" + (f" of {origin}" if origin else ""))
    return Imported(Labels(labels), blank, tuple(origins))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for pattern in _BATCHES for file in sorted(path.glob(pattern))]
    if not files:
        raise FormatError(f"{path} holds no batches: no {', '.join(_BATCHES)}")
    return files


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as opened:
            data = opened.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise FormatError(f"{path} has more than {_LIMIT} bytes: import it in parts")
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} can't be read as text: {error}") from error


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered records of any of the formats."""
    text = _text(path)
    if text.lstrip()[:1] not in ("[", "{"):
        yield from enumerate(_rows(path, text), 1)
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield from _lines(path, text)
        return
    if isinstance(value, dict) and isinstance(value.get("explanations"), list):
        value = value["explanations"]
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{path}, line {number} is no JSON: {error}") from error


def _rows(path: Path, text: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    allowed = ("feature", "label", *_TEXTS, *_FIGURES)
    if not {"feature", "label"} <= set(columns) or set(columns) - set(allowed):
        raise FormatError(
            f"{path} has the columns {', '.join(columns) or 'of an empty file'}; expected feature "
            f"and label, optionally {', '.join(allowed[2:])}"
        )
    try:
        yield from reader
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num}: {error}") from error


def _label(record: Any, file: str) -> Label | None:
    """A record of any of the formats; None if it says nothing of its feature."""
    if not isinstance(record, dict):
        raise TypeError("it is no object")
    if "description" in record or "index" in record:
        return _neuronpedia(record)
    if "label" in record:
        return _row(record, file)
    return Label.from_dict(record)


def _neuronpedia(record: dict[str, Any]) -> Label | None:
    text = record.get("description")
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    method = " ".join(
        str(record[key]) for key in ("typeName", "explanationModelName") if record.get(key)
    )
    return Label(
        feature=int(record["index"]),
        text=text,
        source=f"neuronpedia {_origin(record)}".strip(),
        method=method or None,
        score=_score(record),
    )


def _score(record: dict[str, Any]) -> float | None:
    """The first of the record's scores, whatever scorer gave it."""
    scores = record.get("scores")
    if isinstance(scores, list) and scores and isinstance(scores[0], dict):
        return scores[0].get("value")
    return next((record[key] for key in ("scoreV2", "scoreV1") if record.get(key)), None)


def _origin(record: Any) -> str:
    if not isinstance(record, dict) or "modelId" not in record:
        return ""
    return f"{record['modelId']}/{record.get('layer', '')}"


def _row(record: dict[str, Any], file: str) -> Label | None:
    if not (record["label"] or "").strip():
        return None
    texts = {name: record.get(name) or None for name in _TEXTS}
    figures = {name: float(record[name]) for name in _FIGURES if record.get(name)}
    texts["source"] = texts["source"] or file
    return Label(int(record["feature"]), record["label"], **texts, **figures)  # type: ignore[arg-type]


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
