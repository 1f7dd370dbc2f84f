"""What is published of a dictionary, as one JSON file: figures, facts and recorded activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from dictionaries.files.keys import Keys
from dictionaries.files.tensors import read_json
from dictionaries.sites import from_transformer_lens
from steer.certificates.figures import Stated, stated
from steer.certificates.recorded import Recorded, recorded
from steer.errors import FormatError

SHIPPED = Path(str(files("dictionaries"))) / "published"
DTYPES = ("float32", "float16", "bfloat16")
_FACTS = ("source", "model", "site", "site_out", "kind", "prepend_bos", "dtype", "model_dtype")
_KEYS = Keys(
    used=(*_FACTS, "figures", "massive_tokens", "texts", "activations", "activation_tolerance"),
    harmless=("comment",),
)
_KINDS = {
    "relu": "standard",
    "jump_relu": "jumprelu",
    "batch_topk": "jumprelu",
    "batchtopk": "jumprelu",
    "top_k": "topk",
}
"""Other names of an architecture; BatchTopK is read through a threshold, as JumpReLU is."""


@dataclass(frozen=True, eq=False)
class Published:
    """A published file.

    source: where its figures are stated. model: name of the model that they are of.
    site, site_out: our hookpoints, or None. kind: an architecture, or None.
    prepend_bos: whether texts began with a BOS; None if it isn't said.
    dtype: of the weights. model_dtype: of the model that was read.
    figures: by name. massive_tokens: whether first and massive tokens count in them.
    texts: what the figures are of; without it they are of other texts than those read here.
    activations: recorded ones. activation_tolerance: share of a feature's largest one; or None.
    """

    path: Path
    source: str | None
    model: str | None
    site: str | None
    site_out: str | None
    kind: str | None
    prepend_bos: bool | None
    dtype: str | None
    model_dtype: str | None
    figures: Mapping[str, Stated]
    massive_tokens: bool
    texts: tuple[str, ...] | None
    activations: tuple[Recorded, ...]
    activation_tolerance: float | None


def names() -> list[str]:
    """Published files that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def read_published(file: str | Path) -> Published:
    """Parse a file, or one that comes with the package, by name.

    Raises `FormatError` for a key or a value that is not known, or no such file.
    """
    path = SHIPPED / f"{file}.json" if str(file) in names() else Path(file)
    if not path.is_file():
        raise FormatError(
            f"there is no file {file} that says what is published; those that come with the "
            f"package: {', '.join(names())}"
        )
    said = read_json(path)
    _KEYS.check(said, path)
    texts = said.get("texts")
    if texts is not None and not (
        isinstance(texts, list) and all(isinstance(t, str) for t in texts)
    ):
        raise FormatError(f"{path} says texts = {type(texts).__name__}, expected a list of texts")
    tolerance = said.get("activation_tolerance")
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 < tolerance < 1):
        raise FormatError(
            f"{path} says activation_tolerance = {tolerance!r}, expected a share of a feature's "
            "largest activation, between 0 and 1"
        )
    return Published(
        path=path,
        source=_of(said, "source", str, path),
        model=_of(said, "model", str, path),
        site=from_transformer_lens(_of(said, "site", str, path)),
        site_out=from_transformer_lens(_of(said, "site_out", str, path)),
        kind=_of(said, "kind", str, path),
        prepend_bos=_of(said, "prepend_bos", bool, path),
        dtype=_dtype(said, "dtype", path),
        model_dtype=_dtype(said, "model_dtype", path),
        figures=stated(said.get("figures", {}), path, exact=texts is not None),
        massive_tokens=bool(_of(said, "massive_tokens", bool, path)),
        texts=None if texts is None else tuple(texts),
        activations=recorded(said.get("activations", []), path),
        activation_tolerance=tolerance,
    )


def same_kind(stated_kind: str, architecture: str) -> bool:
    """Whether both are names of one rule of activation."""
    one, other = (_KINDS.get(name.lower(), name.lower()) for name in (stated_kind, architecture))
    return one == other


def _of(said: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    value = said.get(key)
    if value is not None and not isinstance(value, kind):
        raise FormatError(f"{path} says {key} = {value!r}, expected a {kind.__name__}")
    return value


def _dtype(said: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = _of(said, key, str, path)
    if value is not None and value.removeprefix("torch.") not in DTYPES:
        raise FormatError(f"{path} says {key} = {value!r}; allowed: {', '.join(DTYPES)}")
    return value and value.removeprefix("torch.")
