"""`hf://org/repo/path@revision#block`: dictionaries on the Hugging Face hub, through its own cache.

Only what a reader may want of the folder is fetched; an interrupted download is taken up again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dictionaries.beside.labels import FILE as LABELS
from dictionaries.errors import DictionaryError
from dictionaries.files.numbered import block_file, blocks_in

SCHEME = "hf://"
_WEIGHTS = ("safetensors", "npz", "pt", "pth", "pkl")
_KINDS = (*_WEIGHTS, "json", "yaml", "yml")
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)((?:/[^/@#\\]+)*)(?:@([\w./-]+))?(?:#(\d{1,4}))?")


@dataclass(frozen=True)
class Address:
    """A folder or file of a repository.

    path: empty for its root; revision: None for the newest; block: of a folder with a file a block.
    """

    repo: str
    path: str
    revision: str | None = None
    block: int | None = None


def parse(text: str) -> Address:
    """Raises `DictionaryError` for what is no address, or leads out of its repository."""
    match = _ADDRESS.fullmatch(text)
    if match is None or ".." in re.split("[/@]", text):
        raise DictionaryError(
            f"{text!r} is no address of the hub; expected hf://org/repo/path@revision, the path "
            "and @revision being optional, and #5 for block 5 of a folder that holds many"
        )
    block = None if match[4] is None else int(match[4])
    return Address(match[1], match[2].removeprefix("/"), match[3], block)


@lru_cache(maxsize=64)
def fetch(text: str) -> Path:
    """Where the folder or file is on this disk, once a process; downloaded if need be.

    Raises `DictionaryError` if it does not exist, or is not in the cache while offline.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    address = parse(text)
    try:
        for allowed, ignored in _patterns(address):
            snapshot = snapshot_download(
                address.repo,
                revision=address.revision,
                allow_patterns=allowed,
                ignore_patterns=ignored,
            )
            place = Path(snapshot) / address.path
            if _holds_weights(place, address.block):
                break
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise DictionaryError(f"{text} is not in the cache, and {why_not_fetched()}") from error
    except RepositoryNotFoundError as error:  # a gated one's error too
        raise DictionaryError(
            f"{text} can't be fetched: there is no repository {address.repo}, or it is not open to "
            "everyone: ask for access on its page and log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise DictionaryError(
            f"{text} can't be fetched: {address.repo} has no revision {address.revision}"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DictionaryError(f"{text} can't be fetched: {first_line}") from error
    if not _holds_weights(place, address.block):
        if _offline():
            raise DictionaryError(f"{text} is not in the cache, and {why_not_fetched()}")
        missing = (
            f"no file ends in {', '.join(_WEIGHTS)}" if address.block is None else "no such block"
        )
        raise DictionaryError(f"{text} holds no weights: {missing}")
    return place if address.block is None else block_file(place, address.block)


def _patterns(address: Address) -> list[tuple[list[str], list[str] | None]]:
    """Which files to fetch, and not; what to try next where that holds no weights.

    A file's own folder brings its config.
    """
    path = address.path
    suffix = path.rpartition(".")[2]
    folder = path.rpartition("/")[0] if suffix in _WEIGHTS else path
    inside = f"{folder}/" if folder else ""
    if suffix in _WEIGHTS:
        other = path.replace("W_enc_", "W_dec_")  # a block of circuit-tracer's is two files
        beside = [f"{inside}*.{kind}" for kind in _KINDS if kind not in _WEIGHTS]
        return [([path, other, f"{inside}{LABELS}", *beside], None)]
    stem = "*" if address.block is None else f"*_{address.block}"
    wanted = [f"{inside}{stem if kind in _WEIGHTS else '*'}.{kind}" for kind in _KINDS]
    first = ([*wanted, f"{inside}{LABELS}", "config.json"], None if folder else ["*/*"])
    if address.block is None:
        return [first]
    modules = [f"{inside}{kind}.{address.block}" for kind in ("layers", "h", "*.layers", "*.h")]
    parts = [f"{module}{end}" for module in modules for end in ("/*", ".*/*")]
    return [first, ([*parts, f"{inside}config.json", "config.json"], None)]


def _holds_weights(place: Path, block: int | None) -> bool:
    if block is not None:
        return block in blocks_in(place)
    if place.is_dir():
        return any(path.suffix[1:] in _WEIGHTS for path in place.rglob("*"))
    return place.is_file()


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def why_not_fetched() -> str:
    """In words, for a sentence that begins with what is not in the cache."""
    if _offline():
        return "HF_HUB_OFFLINE is set: unset it to fetch it once"
    return "the hub can't be reached: check the network"
