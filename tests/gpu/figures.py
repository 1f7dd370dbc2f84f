"""What editing costs and how fast work goes on a device, in five minutes at most.

Ratios are of two things timed in turn, in pairs whose order alternates; rates are of one run, after
a small one that is not timed. All times are until the device has done what it was told.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import ActivationStore, Contexts
from dictionaries.training.config import TrainConfig
from dictionaries.training.train import train
from steer.edits import Clamp, Intervention
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.jobs.harvest import harvest
from steer.model import Model
from steer.splice import passes

ROWS = (1, 32, 128)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    tokens: written a text; pairs: of a ratio; features: swept; contexts, length: harvested; width,
    samples, batch: of the training.
    """

    tokens: int = 64
    pairs: int = 3
    features: int = 1024
    contexts: int = 512
    length: int = 256
    width: int = 16_384
    samples: int = 262_144
    batch: int = 4096


TINY = Size(4, 1, 8, 4, 16, 64, 256, 64)
"""To see that it works."""


def figures(
    model: Model, dictionary: Dictionary, prompt: str, size: Size
) -> Iterator[tuple[str, Any]]:
    """Names and figures as they are measured; of what fails, the error's first line."""
    wait = torch.cuda.synchronize if model.device.type == "cuda" else _nothing
    for rows in ROWS:
        yield (
            f"clamp over plain generate, {rows} rows",
            _tried(lambda rows=rows: _clamp(model, dictionary, prompt, rows, size, wait)),
        )
    yield "sweep, features a second", _tried(lambda: _sweep(model, dictionary, prompt, size, wait))
    yield "training, samples a second", _tried(lambda: _training(model, size, wait))
    yield "harvest, tokens a second", _tried(lambda: _harvest(model, size, wait))


def _nothing() -> None:
    """A CPU has done what it was told."""


def _tried(measure: Callable[[], Any]) -> Any:
    """A figure that can't be had costs the others nothing, and is not left out."""
    try:
        return measure()
    except Exception as error:  # whatever a device says: it is what the reader has to know
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _clamp(
    model: Model,
    dictionary: Dictionary,
    prompt: str,
    rows: int,
    size: Size,
    wait: Callable[[], None],
) -> dict[str, Any]:
    """Greedy texts of equal length, all edited by one clamp at every token, over transformers'."""
    ids, mask = model.tokenize([prompt] * rows)
    options = {
        "do_sample": False,
        "max_new_tokens": size.tokens,
        "min_new_tokens": size.tokens,
        "pad_token_id": model.tokenizer.pad_token_id,
        "return_dict_in_generate": True,
    }
    edit = Intervention(dictionary.name, [Clamp(1, 1.0)])
    span = model.span(ids, mask)

    def edited() -> None:
        plans = model.plans([edit], [dictionary])
        passes.generate(model.nn, ids, span, plans, options)

    def plain() -> None:
        with torch.inference_mode():
            model.module.generate(input_ids=ids, attention_mask=mask, **options)

    edited(), plain()
    ratios, plainly = [], []
    for number in range(size.pairs):
        seconds = {}
        for run in (edited, plain) if number % 2 == 0 else (plain, edited):
            seconds[run] = _seconds(run, wait)
        ratios.append(seconds[edited] / seconds[plain])
        plainly.append(rows * size.tokens / seconds[plain])
    return {
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "plain_tokens_a_second": round(statistics.median(plainly), 1),
    }


def _seconds(run: Callable[[], Any], wait: Callable[[], None]) -> float:
    wait()
    begun = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - begun


def _sweep(
    model: Model, dictionary: Dictionary, prompt: str, size: Size, wait: Callable[[], None]
) -> float:
    """Features clamped one at a time, so that none is left out for being silent."""

    def edit(feature: int, /, *, positions: Any) -> Clamp:
        return Clamp(feature, 1.0, positions=positions)

    def swept(count: int) -> None:
        ablation_sweep(model, prompt, dictionary, range(count), edit=edit)

    count = min(size.features, dictionary.width)
    swept(min(8, count))
    return round(count / _seconds(lambda: swept(count), wait), 1)


def _training(model: Model, size: Size, wait: Callable[[], None]) -> float:
    """Of random activations that lie on the device."""
    drawn = torch.Generator().manual_seed(0)
    count = min(size.samples, 16 * size.batch)
    activations = torch.randn(count, model.d, generator=drawn).to(model.device)

    def trained(samples: int) -> None:
        config = TrainConfig(width=size.width, k=8, samples=samples, batch=size.batch)
        dictionary = train(activations, config, DictionaryConfig(model.d, size.width))
        assert dictionary.W_dec.device.type == model.device.type

    trained(2 * size.batch)
    return round(size.samples / _seconds(lambda: trained(size.samples), wait), 1)


def _harvest(model: Model, size: Size, wait: Callable[[], None]) -> float:
    """One site in the middle, written to a disk."""
    drawn = torch.Generator().manual_seed(0)
    most = model.module.get_input_embeddings().weight.shape[0]
    tokens = torch.randint(most, (size.contexts, size.length), generator=drawn, dtype=torch.int32)
    site = f"resid_post.{model.depth // 2}"

    def harvested(count: int) -> None:
        none = torch.zeros(count, dtype=torch.int32)
        contexts = Contexts(tokens[:count], none, none.bool(), ("random",))
        with tempfile.TemporaryDirectory() as folder:
            harvest(model, contexts, ActivationStore(Path(folder) / "x", {site: model.d}))

    harvested(min(2, size.contexts))
    return round(tokens.numel() / _seconds(lambda: harvested(size.contexts), wait), 1)


def name_of(device: torch.device) -> str:
    """The card's, or `cpu` and the processor's: a figure of one never stands under the other."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    told = next(islice(names, 1), "unknown")
    return f"cpu: {told}, {torch.get_num_threads()} of {os.cpu_count()} threads"
