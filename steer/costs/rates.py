"""Rates of this machine, from a small sample of the very work.

On a processor they are of the time that it worked for us: neighbours on the same cores make a job
longer, and its cost not larger.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.config import TrainConfig
from dictionaries.training.learnable import CALIBRATED_ON
from dictionaries.training.train import train
from steer.edits import Ablate
from steer.effects.defaults import BUDGET, TEXT
from steer.effects.metric import as_metrics
from steer.effects.sweep.units import Asked, Effects
from steer.model import Model

_STEPS = (4, 24)
"""Of two trainings, whose difference is timed."""
TEXTS = (
    "The committee met on Tuesday to discuss the plans for the new library in the town, and after "
    "two hours nobody could say whether the money that had been promised was really there. ",
    "When the rain stopped she walked down to the harbour, where three boats were being painted "
    "blue, and asked an old man with a dog how far it was to the next village along the coast. ",
)
"""Neutral prose: it is repeated and cut to the length that is asked for."""


@dataclass(frozen=True)
class Rate:
    """machine: in words; units_a_second: as measured on `sample` units in `seconds`.

    once: seconds that the work takes beside that, however many its units are.
    """

    machine: str
    units_a_second: float
    sample: float
    seconds: float
    once: float = 0.0

    def hours(self, units: float) -> float:
        """Of so many units."""
        return (self.once + units / self.units_a_second) / 3600


def sweep_rate(
    model: Model, dictionary: Dictionary, tokens: int, *, budget: int = BUDGET, features: int = 256
) -> Rate:
    """Rows of a sweep a second, prompts' own passes included, on prompts of so many tokens."""
    prompts = tuple(_cut(model, text, tokens) for text in TEXTS)
    (metric,) = as_metrics(model, "kl", 1)
    measures = (metric,) * len(prompts)
    asked = Asked(prompts, measures, dictionary, "active", Ablate, TEXT, budget, features)
    job = Effects(asked)

    def work(part: int) -> float:
        # Units of a prompt run from its first tokens to its last, so that later ones are shorter.
        opened = job.open(model, part)
        some = sorted({0, opened.units // 2, opened.units - 1}) if opened.units else []
        return float(sum(len(opened.rows(unit)) for unit in some))

    job.open(model, 0)
    return _timed(model, work, range(len(prompts)))


def harvest_rate(model: Model, hookpoints: Sequence[str], context: int, batch: int = 16) -> Rate:
    """Tokens a second through the blocks below the last of these sites."""
    ids = model.tokenize_each([_cut(model, TEXTS[0], context)])[0][:context]
    rows = ids.repeat(batch, 1)
    mask = torch.ones_like(rows)

    def work(part: int) -> float:
        values = model.collect(rows, mask, list(hookpoints)).values()
        [value.to(torch.bfloat16).cpu() for value in values]
        return float(rows.numel())

    work(0)
    return _timed(model, work, range(3))


def train_rate(d: int, config: TrainConfig, activations: int | None = None) -> Rate:
    """Samples a second of training on random activations of width d: the steps of a longer run
    less those of a shorter one. The rest is done once: BatchTopK's threshold is set on as many
    activations as there are, up to 65,536.

    activations: distinct ones that the work has; by default as many as its samples.
    """
    seconds = []
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4 * config.batch, d, generator=generator)
    for steps in (1, *_STEPS):  # the first warms up
        begun = _processor()
        short = replace(config, samples=steps * config.batch)
        train(drawn, short, DictionaryConfig(d, config.width, "resid_post.0"))
        seconds.append(_processor() - begun)
    samples = float((_STEPS[1] - _STEPS[0]) * config.batch)
    spent = max(seconds[2] - seconds[1], 1e-9)
    first = max(seconds[1] - _STEPS[0] * config.batch * spent / samples, 0.0)
    judged = min(CALIBRATED_ON, activations or config.samples)
    once = first * judged / min(CALIBRATED_ON, len(drawn))
    return Rate(_threads(), samples / spent, samples, spent, once)


def fits(needed: float) -> bool:
    """Whether a quarter of this machine's memory holds so many bytes: if not, no sample is made."""
    return needed < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 4


def _timed(model: Model, work: Callable[[int], float], parts: Sequence[int]) -> Rate:
    """The rate of all parts together."""
    begun = _clock(model)
    units = sum(work(part) for part in parts)
    seconds = max(_clock(model) - begun, 1e-9)
    return Rate(machine(model), units / seconds, units, seconds)


def machine(model: Model) -> str:
    """Such as `this machine, 2 threads`."""
    if model.device.type == "cuda":
        return f"this machine, {torch.cuda.get_device_name(model.device)}"
    return _threads()


def _threads() -> str:
    threads = torch.get_num_threads()
    return f"this machine, {threads} thread{'s' if threads > 1 else ''}"


def _clock(model: Model) -> float:
    """Seconds: of work a thread on a processor, on the wall with a GPU."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
        return time.perf_counter()
    return _processor()


def _processor() -> float:
    return time.process_time() / torch.get_num_threads()


def _cut(model: Model, text: str, tokens: int) -> str:
    whole = model.tokenizer(text * (1 + tokens // 20), add_special_tokens=False)["input_ids"]
    return str(model.tokenizer.decode(whole[:tokens]))
