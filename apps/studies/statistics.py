"""`steer statistics`: text files in, per-feature statistics beside the dictionary out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.text_files import read_text
from dictionaries import catalogue
from dictionaries.beside.statistics import FILE
from dictionaries.files.place import beside
from steer.errors import DictionaryError, PromptError
from steer.evals.steering.written import with_written
from steer.jobs.executors import Executor
from steer.jobs.statistics import feature_statistics
from steer.model import Model
from steer.progress import Progress


def measure(
    model: Model,
    name: str,
    corpus: Sequence[Path],
    tokens: int,
    overwrite: bool = False,
    *,
    file: Path | None = None,
    shard: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure and save; where, and how many features were active. A shard is not saved.

    file, shard, executor: as `feature_statistics` has them.
    Raises `DictionaryError` rather than replace statistics that are there unasked, or that the
    dictionary's card vouches for; `PromptError` for files that are no text.
    """
    place = catalogue.find(name)
    path = beside(place, FILE)
    if path.exists() and shard is None:
        _refuse(name, path, overwrite)
    files = [file for given in corpus for file in _files(given)]
    texts = [read_text(file) for file in files]
    dictionary = model.dictionary(name)
    statistics = feature_statistics(
        model,
        dictionary,
        texts,
        tokens=tokens,
        corpus=", ".join(file.name for file in files[:10]) + (", ..." if len(files) > 10 else ""),
        file=file,
        shard=shard,
        executor=executor,
        progress=progress,
    )
    if shard is None:
        statistics = with_written(model, dictionary, statistics, progress)
        statistics.save(place)
    return {
        "written": str(path),
        "tokens": statistics.tokens,
        "width": len(statistics.maximum),
        "active": int((statistics.maximum > 0).sum()),
        "corpus": statistics.corpus,
    }


def _refuse(name: str, path: Path, overwrite: bool) -> None:
    card = path.parent / catalogue.CARD
    if card.is_file() and path.name in catalogue.read_card(name).get("sha256", {}):
        raise DictionaryError(
            f"{name} comes with statistics that its card vouches for; copy it first: "
            f"steer convert {name} FOLDER --to saelens, and delete the card there"
        )
    if not overwrite:
        raise DictionaryError(f"{path} is there already; replace it with --overwrite")


def _files(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    files = sorted(path for path in given.rglob("*.txt") if path.is_file())
    if not files:
        raise PromptError(f"{given} holds no .txt files")
    return files
