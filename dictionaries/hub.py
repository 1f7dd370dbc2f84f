"""`hf://org/repo/path@revision`: dictionaries on the Hugging Face hub, through its own cache.

Only what a reader may want of the folder is fetched; an interrupted download is taken up again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dictionaries.errors import DictionaryError

SCHEME = "hf://"
_WEIGHTS = ("safetensors", "npz", "pt", "pth", "pkl")
_KINDS = (*_WEIGHTS, "json", "yaml", "yml")
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)((?:/[^/@\\]+)*)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class Address:
    """A folder or file of a repository. path: empty for its root; revision: None for the newest."""

    repo: str
    path: str
    revision: str | None = None


def parse(text: str) -> Address:
    """Raises `DictionaryError` for what is no address, or leads out of its repository."""
    match = _ADDRESS.fullmatch(text)
    if match is None or ".." in re.split("[/@]", text):
        raise DictionaryError(
            f"{text!r} is no address of the hub; expected hf://org/repo/path@revision, the path "
            "and @revision being optional"
        )
    return Address(match[1], match[2].removeprefix("/"), match[3])


@lru_cache(maxsize=64)
def fetch(text: str) -> Path:
    """Where the folder or file is on this disk, once a process; downloaded if need be.

    Raises `DictionaryError` if it does not exist, or is not in the cache while offline.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    address = parse(text)
    allowed, ignored = _patterns(address.path)
    try:
        snapshot = snapshot_download(
            address.repo,
            revision=address.revision,
            allow_patterns=allowed,
            ignore_patterns=ignored,
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise DictionaryError(f"{text} is not in the cache, and {_why_not_fetched()}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DictionaryError(f"{text} can't be fetched: {first_line}") from error
    found = Path(snapshot) / address.path
    if not _holds_weights(found):
        if _offline():
            raise DictionaryError(f"{text} is not in the cache, and {_why_not_fetched()}")
        raise DictionaryError(f"{text} holds no weights: no file ends in {', '.join(_WEIGHTS)}")
    return found


def _patterns(path: str) -> tuple[list[str], list[str] | None]:
    """Which files to fetch, and not. A file's own folder brings its config."""
    suffix = path.rpartition(".")[2]
    folder = path.rpartition("/")[0] if suffix in _WEIGHTS else path
    inside = f"{folder}/" if folder else ""
    if suffix in _WEIGHTS:
        return [path, *(f"{inside}*.{kind}" for kind in _KINDS if kind not in _WEIGHTS)], None
    wanted = [f"{inside}*.{kind}" for kind in _KINDS]
    return [*wanted, "config.json"], None if folder else ["*/*"]


def _holds_weights(found: Path) -> bool:
    if found.is_dir():
        return any(path.suffix[1:] in _WEIGHTS for path in found.rglob("*"))
    return found.is_file()


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _why_not_fetched() -> str:
    if _offline():
        return "HF_HUB_OFFLINE is set: unset it to fetch it once"
    return "the hub can't be reached: check the network"
