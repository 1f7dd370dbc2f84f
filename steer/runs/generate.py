"""Generation: baseline and edited text of one or many prompts, in one batch, with receipts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.edits.rows import of_row
from steer.errors import InterventionError, PromptError, SteerError
from steer.lm.language_model import LanguageModel
from steer.lm.prompts import Prompt
from steer.lm.remote import Remote, check_remote, ran_at
from steer.lm.remote_answers import answers
from steer.lm.remote_jobs import one_call
from steer.maths.precision import exact
from steer.runs.prefill import Batch, decode, decoding
from steer.runs.sampling import OnStep, Sampling
from steer.runs.settings import Inherited, inherited
from steer.shown import at, beside
from steer.splice.build_receipt import build
from steer.splice.finite import any_overflow, blame
from steer.splice.receipt import Receipt
from steer.splice.resolve import plans


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of one watched token at every generated token, before any penalty."""

    token: str
    id: int
    baseline: tuple[float, ...]
    edited: tuple[float, ...]


@dataclass(frozen=True)
class Text:
    """A continuation. text: without the prompt; ids: its tokens, the end token included."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Run:
    """Baseline and edited continuations of one prompt, decoded in one batch.

    prompt: as the model read it; a chat is rendered.
    text, ids: the edited continuation; `baseline` the same without the edits.
    receipt: what every edit did.
    interventions, sampling, dtype, model: what is needed to repeat it.
    logprobs: of the tokens that the caller asked to watch.
    inherited: what the model's own generation_config asked for: what acted, and what was left out.
    remote: the server that wrote it, or `local` if that was rehearsed; empty if none did.
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
    logprobs: tuple[TokenLogprobs, ...] = field(default=())
    inherited: Inherited = field(default_factory=Inherited)
    remote: str = ""

    def __repr__(self) -> str:
        return "\n".join(
            (
                f"Run of {self.model}, decoded in {self.dtype}, seed {self.sampling.seed}"
                f"{at(self.remote)}",
                f"prompt    {_cut(self.prompt)}",
                f"baseline  {_cut(self.baseline.text)}",
                f"{'edited' if self.interventions else 'no edits':<9} {_cut(self.text)}",
                *self._errors,
                str(self.receipt),
            )
        )

    @property
    def _errors(self) -> list[str]:
        """Of interventions that change nothing but the error term, which no edit's entry tells."""
        return [
            f"{one.dictionary}: no edits; error {one.error}"
            for one in self.interventions
            if not one.edits
        ]

    def _repr_html_(self) -> str:
        texts = {"baseline": self.baseline.text, "edited": self.text}
        written = {name: html.escape(f"{self.prompt}{text}") for name, text in texts.items()}
        return beside(written) + self.receipt._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; `intervention` is a list only if there are several."""
        edits = [intervention.to_dict() for intervention in self.interventions]
        return {
            "prompt": self.prompt,
            "baseline": self.baseline.text,
            "steered": self.text,
            "intervention": edits[0] if len(edits) == 1 else edits,
            "error": [intervention.error for intervention in self.interventions],
            "receipt": self.receipt.to_list(),
            "model": self.model,
            "dtype": self.dtype,
            **({"remote": self.remote} if self.remote else {}),
            "seed": self.sampling.seed,
            "temperature": self.sampling.temperature,
            "settings": {
                **asdict(self.sampling),
                "inherited": dict(self.inherited.acting),
                "left_out": dict(self.inherited.left_out),
            },
        }


def _cut(text: str, most: int = 80) -> str:
    return repr(text if len(text) <= most else f"{text[:most]}…")


@dataclass(frozen=True)
class Request:
    """What to generate: one prompt with its interventions, a row of the batch."""

    prompt: Prompt
    interventions: tuple[Intervention, ...]


@one_call()
def generate(
    model: LanguageModel,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    dictionaries: Sequence[Dictionary] = (),
    watch: str | int | Sequence[str | int] = (),
    on_step: OnStep | None = None,
    on_first: OnStep | None = None,
    remote: Remote = False,
) -> list[Run]:
    """All requests in one batch: a baseline row for each different prompt, then the edited rows.

    Rows share the sampling noise, so each comes out as it would alone. Positions by row are for
    the requests, in their order; each run has its own row's.
    """
    requests = [
        replace(request, interventions=of_row(request.interventions, row, len(requests)))
        for row, request in enumerate(requests)
    ]
    baselines = list(dict.fromkeys(request.prompt for request in requests))
    prompts = [*baselines, *(request.prompt for request in requests)]
    _check_length(model, prompts, max_new_tokens)
    check_remote(model.nn, remote)
    if remote and (on_step or on_first):
        raise SteerError("a remote run can't call on_step or on_first here; leave them out")
    several = (watch,) if isinstance(watch, str | int) else watch
    watched = list(dict.fromkeys(model.token_id(token) for token in several))
    first = len(baselines)
    by_request = [
        plans(model, request.interventions, dictionaries, rows=slice(row, row + 1))
        for row, request in enumerate(requests, start=first)
    ]
    ids, mask = model.pad([prompt.ids for prompt in prompts])

    brought = inherited(model.module, sampling.options)

    def options(listen: OnStep | None) -> dict[str, Any]:
        return {
            **brought.options,
            **sampling.generate_options(listen),
            "max_new_tokens": max_new_tokens,
            "pad_token_id": model.tokenizer.pad_token_id,
            "return_dict_in_generate": True,
            "output_logits": bool(watched),
        }

    batch = Batch(ids, model.span(ids, mask), [plan for row in by_request for plan in row], first)
    if remote:
        (decoded,) = answers(model, remote, [decoding(batch, options)])
    else:
        with model.lock:
            decoded = decode(model.nn, batch, options, on_step, on_first)
    sequences, logits, steps, failed = decoded
    if failed or any_overflow(steps):
        # The token chosen from what is not finite is no part of a text.
        starts = (mask == 0).sum(1).tolist()
        known = [row[start:-1] for row, start in zip(sequences, starts, strict=True)]
        raise blame(model, batch.plans, steps, known.__getitem__, failed[0] if failed else None)
    texts = [_text(model, row[ids.shape[1] :]) for row in sequences]
    runs, taken = [], 0
    for number, request in enumerate(requests):
        own = [records[taken : taken + len(by_request[number])] for records in steps]
        taken += len(by_request[number])
        text, baseline = texts[first + number], texts[baselines.index(request.prompt)]
        # The last token was never read, so nothing could act on it.
        read = [model.token(token) for token in (*request.prompt.ids, *text.ids[:-1])]
        rows = (baselines.index(request.prompt), first + number)
        runs.append(
            Run(
                prompt=request.prompt.text,
                text=text.text,
                ids=text.ids,
                baseline=baseline,
                receipt=build(request.interventions, own, read),
                interventions=request.interventions,
                sampling=sampling,
                dtype=model.precision,
                model=model.name,
                logprobs=_logprobs(model, logits, watched, rows, (baseline, text)),
                inherited=brought,
                remote=ran_at(remote),
            )
        )
    return runs


def refuse_one(prompts: object) -> None:
    """Raise `PromptError` for a single prompt where several are expected."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise PromptError(f"prompts is a list, not {prompts!r}; for a single text, use generate")


def pair_up(
    prompts: Sequence[Prompt], interventions: Sequence[tuple[Intervention, ...]]
) -> list[Request]:
    """One request a row. A single prompt or a single intervention serves all rows of the other."""
    n = max(len(prompts), len(interventions))
    if len(prompts) not in (1, n) or len(interventions) not in (1, n):
        raise InterventionError(
            f"{len(prompts)} prompts and {len(interventions)} interventions can't be paired: give "
            "as many of one as of the other, or one of either"
        )
    return [
        Request(prompts[i % len(prompts)], interventions[i % len(interventions)]) for i in range(n)
    ]


def _check_length(model: LanguageModel, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int):
        raise SteerError(f"max_new_tokens={max_new_tokens!r} is not a whole number")
    if max_new_tokens < 1:
        raise SteerError(f"max_new_tokens={max_new_tokens} is not allowed: it must be 1 or more")
    longest = max(len(prompt.ids) for prompt in prompts)
    if longest + max_new_tokens > model.context:
        raise PromptError(
            f"{longest} prompt tokens and {max_new_tokens} new ones are more than the "
            f"{model.context} that {model.name} can read"
        )


def _logprobs(
    model: LanguageModel,
    logits: Sequence[Tensor] | None,
    watched: list[int],
    rows: tuple[int, int],
    texts: tuple[Text, Text],
) -> tuple[TokenLogprobs, ...]:
    if not watched or not logits:
        return ()
    columns: list[list[list[float]]] = []
    for row, text in zip(rows, texts, strict=True):
        steps = [exact(step[row]).log_softmax(-1)[watched].tolist() for step in logits]
        columns.append(steps[: len(text.ids)])
    return tuple(
        TokenLogprobs(
            model.token(token),
            token,
            tuple(step[place] for step in columns[0]),
            tuple(step[place] for step in columns[1]),
        )
        for place, token in enumerate(watched)
    )


def _text(model: LanguageModel, ids: Tensor) -> Text:
    until_end = ids.tolist()
    ends = _end_tokens(model)
    for number, token in enumerate(until_end):
        if token in ends:
            until_end = until_end[: number + 1]
            break
    return Text(model.tokenizer.decode(until_end, skip_special_tokens=True), tuple(until_end))


def _end_tokens(model: LanguageModel) -> set[int]:
    ends = model.module.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [ends]) if ends is not None else set()
