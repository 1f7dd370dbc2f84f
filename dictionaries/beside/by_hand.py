"""Names that somebody gave to features by hand, and where they are kept.

Beside a dictionary that lies in a folder of one's own; in this user's cache for one that came with
the package or from the hub, whose files stay as they were published.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dictionaries.beside.labels import FILE, HAND, Label, Labels
from dictionaries.files.place import beside, cache_folder, writable_folder

_PACKAGE = Path(__file__).parents[1]
_HUB = "snapshots"
"""The folder of revisions in the hub's cache."""


def place_of_names(place: Path) -> Path:
    """Where names by hand for the dictionary at `place` are kept: `place`, or one in the cache."""
    parts = _published(place.absolute())
    return cache_folder() / "labels" / "+".join(parts) if parts else place


def _published(place: Path) -> tuple[str, ...]:
    """What tells a published dictionary from others; nothing for a folder of one's own."""
    if place.is_relative_to(_PACKAGE):
        return place.relative_to(_PACKAGE).parts
    if _HUB in place.parts and place.parts[place.parts.index(_HUB) - 1].startswith("models--"):
        return place.parts[place.parts.index(_HUB) - 1 :]
    return ()


def labels_at(place: Path) -> Labels:
    """All labels of the dictionary at `place`; one's own names come first."""
    files = dict.fromkeys(beside(folder, FILE) for folder in (place_of_names(place), place))
    stamps = tuple((file.stat().st_mtime_ns if file.is_file() else 0) for file in files)
    return _merged(tuple(files), stamps)


@lru_cache(maxsize=8)
def _merged(files: tuple[Path, ...], stamps: tuple[int, ...]) -> Labels:
    """Read once while the files stay as they are: an app asks at every click."""
    parts = [Labels.at(file) for file in files]
    return parts[0] if len(parts) == 1 else parts[1].merged(parts[0])


def name(place: Path, feature: int, text: str, side: str = "reads") -> tuple[Label, Path]:
    """Name what a feature reads or writes; the label and its file. An earlier name goes.

    Raises `DictionaryError` for what is no label, `SteerError` where nothing can be written.
    """
    label = Label(feature, text, HAND, side=side)
    where = place_of_names(place)
    if where != place:
        writable_folder(where)
    others = (
        label
        for label in Labels.load(where)
        if (label.feature, label.source, label.side) != (feature, HAND, side)
    )
    return label, Labels([label, *others]).save(where)
