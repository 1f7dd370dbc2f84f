"""Whether a model of the hub can be had, asked once instead of waited for."""

from __future__ import annotations

from pathlib import Path

from dictionaries.hub import why_not_fetched
from steer.errors import ModelError

_SECONDS = 10


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
