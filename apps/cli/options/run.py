"""What a command runs, and how it reports: --model, --dtype, --json, and progress without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from apps.cli.options.single import (
    DICTIONARY,
    EARLY,
    MODEL,
    DeviceMap,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    Quantize,
    StatedDtype,
    StatedModel,
)
from apps.cli.output import emit
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from apps.cli.output import View
    from steer.model import Model
    from steer.progress import Progress


class _Reports:
    json_output: bool

    def progress(self) -> AbstractContextManager[Progress | None]:
        """Bars while something is done, except with --json."""
        return progress_bars(not self.json_output)

    def emit(self, document: Any, view: View) -> None:
        """Print the document with --json, and what `view()` gives without."""
        emit(self.json_output, document, view)


class _Loads(_Reports):
    model: str
    dtype: str
    device_map: str | None = None
    quantize: str | None = None

    @contextmanager
    def loaded(self) -> Iterator[tuple[Model, Progress | None]]:
        """The model, and the progress of what is done with it."""
        from steer.loading import load

        with self.progress() as progress:
            model = load(
                self.model,
                dtype=self.dtype,
                device_map=self.device_map,
                quantization=self.quantize,
                progress=progress,
            )
            yield model, progress


@dataclass(frozen=True)
class Output(_Reports):
    """A command without a model."""

    _: KW_ONLY
    json_output: Json = False


@dataclass(frozen=True)
class DefaultRun(_Loads):
    """The default model."""

    model = MODEL
    json_output: Json = False
    dtype: Dtype = "float32"


@dataclass(frozen=True)
class Float32(_Loads):
    """A model in float32, or its name alone."""

    dtype = "float32"
    model: ModelName = MODEL
    _: KW_ONLY
    json_output: Json = False


@dataclass(frozen=True)
class Run(_Loads):
    """A model."""

    model: ModelName = MODEL
    _: KW_ONLY
    dtype: Dtype = "float32"
    device_map: DeviceMap = None
    quantize: Quantize = None
    json_output: Json = False


@dataclass(frozen=True)
class Stated(_Reports):
    """A model that a file names, unless these do."""

    _: KW_ONLY
    model: StatedModel = None
    dtype: StatedDtype = None
    json_output: Json = False

    def run(self, model: str | None, dtype: str | None) -> Run:
        """With what the file names; the default model where nothing does."""
        named = self.model or model or MODEL
        return Run(named, dtype=self.dtype or dtype or "float32", json_output=self.json_output)


@dataclass(frozen=True)
class Reading(_Loads):
    """A model and a dictionary that reads it."""

    dictionary: DictionaryName = DICTIONARY
    model: ModelName = MODEL
    _: KW_ONLY
    dtype: Dtype = "float32"
    device_map: DeviceMap = None
    quantize: Quantize = None
    json_output: Json = False


@dataclass(frozen=True)
class EarlyReading(Reading):
    """The same; by default the dictionary of an early site, of which later ones are left."""

    dictionary: DictionaryName = EARLY
