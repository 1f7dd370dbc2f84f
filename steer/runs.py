"""What a generation returns: baseline and edited text, and the receipt of the edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine, receipt
from steer.edits import Intervention
from steer.errors import PromptError, SteerError
from steer.plan import SitePlan
from steer.receipt import Receipt
from steer.sampling import OnStep, Sampling
from steer.splice import Record

if TYPE_CHECKING:
    from steer.model import Model


@dataclass(frozen=True)
class Text:
    """A continuation. text: without the prompt; ids: its tokens, the end token included."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Baseline and edited continuations of one prompt, decoded in one batch.

    text, ids: the edited continuation; `baseline` the same without the edits.
    receipt: what every edit did.
    sampling, dtype, model: what is needed to repeat it.
    """

    prompt: str
    text: str
    ids: tuple[int, ...]
    baseline: Text
    receipt: Receipt
    interventions: tuple[Intervention, ...]
    sampling: Sampling
    dtype: str
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; `intervention` is a list only if there are several."""
        edits = [intervention.to_dict() for intervention in self.interventions]
        return {
            "prompt": self.prompt,
            "baseline": self.baseline.text,
            "steered": self.text,
            "intervention": edits[0] if len(edits) == 1 else edits,
            "receipt": self.receipt.to_list(),
            "model": self.model,
            "dtype": self.dtype,
            "seed": self.sampling.seed,
            "temperature": self.sampling.temperature,
        }


def generate(
    model: Model,
    prompt: str,
    interventions: Sequence[Intervention],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    dictionaries: Sequence[Dictionary],
    on_step: OnStep | None = None,
) -> Run:
    """One prompt, baseline in row 0 and edited in row 1."""
    if max_new_tokens < 1:
        raise SteerError(f"max_new_tokens={max_new_tokens} is not allowed: it must be 1 or more")
    plans = model.plans(interventions, dictionaries, rows=slice(1, 2))
    ids, mask = model.tokenize([prompt, prompt])
    length = ids.shape[1]
    if length + max_new_tokens > model.context:
        raise PromptError(
            f"{length} prompt tokens and {max_new_tokens} new ones are more than the "
            f"{model.context} that {model.name} can read"
        )
    options = {
        **sampling.options(on_step),
        "max_new_tokens": max_new_tokens,
        "pad_token_id": model.tokenizer.pad_token_id,
    }
    with model.lock:
        sequences, steps = engine.generate(model.nn, ids, mask, plans, options)
    baseline, edited = (_text(model, row[length:]) for row in sequences)
    # The last token was never read, so nothing could act on it.
    read = [*sequences[1, :length].tolist(), *edited.ids[:-1]]
    return Run(
        prompt=prompt,
        text=edited.text,
        ids=edited.ids,
        baseline=baseline,
        receipt=receipt.build(
            interventions, reorder(steps, plans), [model.token(token) for token in read]
        ),
        interventions=tuple(interventions),
        sampling=sampling,
        dtype=model.dtype,
        model=model.name,
    )


def reorder(steps: Sequence[list[Record]], plans: list[SitePlan]) -> list[list[Record]]:
    """Records come in the order of the forward pass; give them in the order of the plans."""
    visited = engine.in_order(plans)
    places = [next(i for i, each in enumerate(visited) if each is plan) for plan in plans]
    return [[records[place] for place in places] for records in steps]


def _text(model: Model, ids: Tensor) -> Text:
    kept = ids.tolist()
    ends = _end_tokens(model)
    for number, token in enumerate(kept):
        if token in ends:
            kept = kept[: number + 1]
            break
    return Text(model.tokenizer.decode(kept, skip_special_tokens=True), tuple(kept))


def _end_tokens(model: Model) -> set[int]:
    ends = model.module.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [ends]) if ends is not None else set()
