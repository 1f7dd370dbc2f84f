"""Where a named model is, and whether one of the hub can be had: asked once, not waited for."""

from __future__ import annotations

import difflib
from pathlib import Path

from dictionaries.hub import why_not_fetched
from steer.errors import ModelError
from steer.lm import default_model
from steer.progress import Progress

_SECONDS = 10


def source_of(name: str, progress: Progress | None = None) -> Path | str:
    """The folder of a model, which the default model is fetched into, or its id on the hub.

    Raises `ModelError` for a name that is neither, `FetchError` if the default model can't be had.
    """
    if name == default_model.NAME:
        return default_model.fetch(progress)
    if name and (path := Path(name).expanduser()).is_dir():
        return path
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
        return name
    near = difflib.get_close_matches(name, [default_model.NAME], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "."
    if Path(name).expanduser().is_file():
        hint = ": it is a file."
    raise ModelError(
        f"model {name!r} is unknown{hint} Give {default_model.NAME}, a folder, or a hub id org/name"
    )


def reachable(source: Path | str, name: str) -> bool:
    """Whether files may be asked of the hub; False where those in its cache have to do.

    One request of at most ten seconds: transformers itself would ask six times, for most of a
    minute. Raises `ModelError` for a model that is neither there nor in the cache.
    """
    if isinstance(source, Path):
        return False
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(source, timeout=_SECONDS)
    except HFValidationError as error:
        raise ModelError(f"{name} is no name of the hub, org/name: {error}") from error
    except RepositoryNotFoundError as error:  # a gated one's error too
        raise ModelError(
            f"{name} can't be fetched: there is no such model on the hub, or it is not open to "
            "everyone: ask for access on its page and log in with `hf auth login`"
        ) from error
    except Exception as error:  # of whichever library the hub is asked through
        if not isinstance(try_to_load_from_cache(source, "config.json"), str):
            raise ModelError(f"{name} is not in the cache, and {why_not_fetched()}") from error
        return False
    return True
