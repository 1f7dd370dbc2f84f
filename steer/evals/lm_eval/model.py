"""Edited models inside EleutherAI's evaluation harness, as the model type `steer`.

    steer lm-eval run --model steer --tasks lambada_openai \\
        --model_args pretrained=smollm2-135m,intervention=edit.json

lm-eval 0.4.13 knows no model but its own: importing this module registers ours, which the command
above and `steer evaluate` do. Later versions find it through the entry point `lm_eval.models`.

Everything but the forward pass is lm-eval's own `hf` model: loading, tokens, chat templates, stop
sequences. Without an edit, and under one that changes nothing, every score is `hf`'s to the last
bit. Only where requests split the same text at different places do we differ: `hf` answers them
from one row and reads the shorter continuation's scores off the wrong positions.

What edits mean here. The prompt of a request is its context, as lm-eval tokenises it, and the
continuation is read as if the model had generated it: `generated` is the context's last position
and all but the last token of the continuation, since that one is never read. For rolling
likelihoods each window is a text of its own, whose prompt is what lm-eval puts before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils_hf import stop_sequences_criteria
from torch import Tensor
from tqdm import tqdm

from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.evals.files import Interventions, read_interventions
from steer.evals.lm_eval.rows import Row, TokenRequest, read_rows, right_padded, score
from steer.evals.lm_eval.tally import Tally
from steer.lm import default_model
from steer.loading import load
from steer.model import IfSilent, Model
from steer.runs.sampling import GENERATE_OPTIONS
from steer.runs.settings import DRAWING, IMPOSSIBLE, Inherited, inherited
from steer.splice import passes
from steer.splice.finite import Watch, any_overflow, blame, check
from steer.splice.passes import teacher_forced

_REFUSED = ("parallelize", "tp_plan", "peft", "delta", "autogptq", "gptqmodel")
_SAMPLING = {"do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p"}
_OPTIONS = {*_SAMPLING, "repetition_penalty", *GENERATE_OPTIONS}
_ONE = ("num_beams", "num_return_sequences")


@dataclass(frozen=True)
class Batch:
    """What goes through the model together.

    texts: token ids, a list a row. blank: answers of the right form that say nothing.
    ask: runs it; the answers are plain data, for JSON.
    """

    texts: list[list[int]]
    blank: list[Any]
    ask: Callable[[], list[Any]] = field(repr=False)

    def run(self) -> list[Any]:
        return self.ask()


@register_model("steer")
class SteerLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's `hf` model under edits.

    pretrained: `smollm2-135m`, a folder, a hub id, or a `Model` that is loaded already.
    intervention: files (several are joined by `:`, as in PATH), or interventions; all act together.
    dictionaries: to look names up in before the catalogue.
    if_silent: what to do when, after all requests of a kind, an edit has not acted on any so far:
        warn, raise or ignore.
    progress: whether to draw bars.
    options: those of `hf`. Refused is what would spread the model over processes or wrap it.

    Raises `SteerError` for a refused option, and as `Model.plans` does for the interventions.
    """

    def __init__(
        self,
        pretrained: str | Model = default_model.NAME,
        intervention: Interventions = (),
        dictionaries: Sequence[Dictionary] = (),
        if_silent: IfSilent = "warn",
        progress: bool = True,
        **options: Any,
    ) -> None:
        if refused := [name for name in _REFUSED if options.get(name)]:
            raise SteerError(f"{', '.join(refused)}: not possible with edits; leave it out")
        if options.get("mixed_precision_dtype"):
            raise SteerError("mixed_precision_dtype: not possible with edits; give dtype instead")
        if isinstance(pretrained, Model):
            super().__init__(pretrained.module, tokenizer=pretrained.tokenizer, **options)
            self.edited = pretrained
        else:
            given = str(pretrained)
            source = default_model.fetch() if given == default_model.NAME else given
            options.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
            super().__init__(str(source), **options)
            wrapped = load(self._model, tokenizer=self.tokenizer)
            self.edited = replace(wrapped, name=given)
        if self.world_size > 1:
            raise SteerError("edited models run in one process; leave `accelerate launch` out")
        self.interventions = read_interventions(intervention)
        self.if_silent, self.progress = if_silent, progress
        self.plans = self.edited.plans(self.interventions, dictionaries)
        self.tally = Tally.of(self.interventions)
        self.inherited = Inherited()
        self.answer: Callable[[Batch], list[Any]] = Batch.run
        self.tally.enforce(if_silent)

    # -- lm-eval's three kinds of request ----------------------------------------------------

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """(log-probability, whether greedy decoding gives it) of each continuation."""
        scores = super().loglikelihood(requests, disable_tqdm or not self.progress)
        self.tally.enforce(self.if_silent)
        return scores

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text."""
        scores = super().loglikelihood_rolling(requests, disable_tqdm or not self.progress)
        self.tally.enforce(self.if_silent)
        return scores

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Continuation of each context, cut at the first stop sequence."""
        texts = super().generate_until(requests, disable_tqdm or not self.progress)
        self.tally.enforce(self.if_silent)
        return texts

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into its results: with the interventions and what they did, and what
        the model's own generation_config asked of the generations so far."""
        ours = {
            "interventions": [intervention.to_dict() for intervention in self.interventions],
            "digests": [intervention.digest for intervention in self.interventions],
            "fingerprint": self.edited.fingerprint,
            "dtype": self.edited.precision,
            "receipt": self.tally.to_list(),
            "inherited": dict(self.inherited.acting),
            "left_out": dict(self.inherited.left_out),
        }
        return {**super().get_model_info(), "steer": ours}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """lm-eval's response cache knows a request by its text alone, so an edit would be given
        the unedited answers. Raises `SteerError` under an edit."""
        if self.interventions:
            raise SteerError("use_cache would mix up edited and unedited answers; leave it out")
        super().set_cache_hook(cache_hook)

    # -- the forward pass --------------------------------------------------------------------

    def _loglikelihood_tokens(
        self,
        requests: list[TokenRequest],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """As `hf` does it, batches included, with every row's prompt known to the edits."""
        rows = read_rows(
            requests, self.max_length, share=self.logits_cache, prompts_matter=bool(self.plans)
        )
        size = override_bs or self.batch_size
        if size == "auto":
            size = self._detect_batch_size([row.request for row in rows], 0)
        scored: dict[int, tuple[float, bool]] = {}
        quiet = disable_tqdm or not self.progress
        with tqdm(total=len(requests), disable=quiet, desc="loglikelihood") as bar:
            for start in range(0, len(rows), int(size)):
                batch = rows[start : start + int(size)]
                numbers = [number for row in batch for number in row.numbers]
                texts = [[row.prompt_length, *row.ids] for row in batch]
                blank = [(0.0, False)] * len(numbers)
                asked = Batch(texts, blank, partial(self._scores, requests, batch))
                for number, (value, greedy) in zip(numbers, self.answer(asked), strict=True):
                    scored[number] = value, greedy
                    key = requests[number][0]
                    if key is not None:
                        self.cache_hook.add_partial("loglikelihood", key, scored[number])
                bar.update(len(numbers))
        return [scored[number] for number in range(len(requests))]

    def _scores(
        self, requests: Sequence[TokenRequest], batch: Sequence[Row]
    ) -> list[tuple[float, bool]]:
        """The answers of each row's requests, one row after the other."""
        answers = []
        for row, logits in zip(batch, self._logits(batch), strict=True):
            scores = logits.log_softmax(-1, dtype=self.softmax_dtype)
            for number in row.numbers:
                continuation = requests[number][2]
                answers.append(score(scores[-len(continuation) :], continuation))
        return answers

    def _logits(self, batch: Sequence[Row]) -> list[Tensor]:
        """Logits [length of the continuation, V] of each row, one forward pass for all."""
        stop = torch.tensor([len(row.ids) for row in batch], device=self.device)
        ids = torch.zeros(len(batch), int(stop.max()), dtype=torch.long, device=self.device)
        for number, row in enumerate(batch):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
        prompts = torch.tensor([row.prompt_length for row in batch], device=self.device)
        span = right_padded(ids, stop, prompts, self.tokenizer.all_special_ids)
        with self.edited.lock:
            logits, records = teacher_forced(self.edited.nn, ids, span, self.plans)
        check(self.edited, ids, span, self.plans, records, logits)
        served = torch.tensor([len(row.numbers) for row in batch], device=self.device)
        self.tally = self.tally.plus([records], stop, served)
        lengths = [(len(row.ids), len(row.request[2])) for row in batch]
        return [one[n - m : n] for one, (n, m) in zip(logits, lengths, strict=True)]

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **options: Any
    ) -> Tensor:
        """Left-padded ids [b, s] continued, [b, up to max_length]; greedy unless told otherwise."""
        mask = options.pop("attention_mask", torch.ones_like(context))
        options = _checked(options)
        criteria = stop_sequences_criteria(self.tokenizer, stop, context.shape[1], context.shape[0])
        options |= {"max_length": max_length, "stopping_criteria": criteria, "use_cache": True}
        options["pad_token_id"] = self.tokenizer.pad_token_id
        drawn = {} if options.get("do_sample") else DRAWING
        self.inherited = inherited(self.edited.module, options, {**IMPOSSIBLE, **drawn})
        options = {**self.inherited.options, **options}
        texts = [row[real.bool()].tolist() for row, real in zip(context, mask, strict=True)]
        asked = Batch(texts, [[]] * len(texts), partial(self._generated, context, mask, options))
        answers = torch.tensor(self.answer(asked), dtype=torch.long, device=context.device)
        return torch.cat([context, answers], dim=1)

    def _generated(self, context: Tensor, mask: Tensor, options: dict[str, Any]) -> list[list[int]]:
        """The ids that follow each row of a context [b, s], as many for each."""
        span = self.edited.span(context, mask)
        watch = Watch()
        with self.edited.lock:
            (ids, _), steps = passes.generate(
                self.edited.nn, context, span, self.plans, watch.into(options)
            )
        if watch.rows or any_overflow(steps):
            starts = (mask == 0).sum(1).tolist()
            texts = [row[start:-1] for row, start in zip(ids, starts, strict=True)]
            failed = watch.rows[0] if watch.rows else None
            raise blame(self.edited, self.plans, steps, texts.__getitem__, failed)
        # The last token of a text was never read.
        read = self._lengths(ids[:, context.shape[1] :]) - 1
        self.tally = self.tally.plus(steps, span.prompt_length + read, torch.ones_like(read))
        generated: list[list[int]] = ids[:, context.shape[1] :].tolist()
        return generated

    def _lengths(self, generated: Tensor) -> Tensor:
        """How many of the generated ids [b, t] are a row's own: up to its end token, [b]."""
        ends = self.edited.module.generation_config.eos_token_id
        if ends is None:
            return torch.full_like(generated[:, 0], generated.shape[1])
        ended = torch.isin(generated, torch.tensor(ends, device=generated.device))
        before = (ended.long().cumsum(1) == 0).sum(1)
        return (before + 1).clamp(max=generated.shape[1])


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of transformers' generate; lm-eval's temperature 0 means greedy decoding.

    Raises `SteerError` for those that decode in a way that edits can't follow token by token.
    """
    several = [name for name in _ONE if options.get(name, 1) != 1]
    unknown = sorted(set(options) - _OPTIONS - set(_ONE))
    if several or unknown:
        raise SteerError(
            f"generation option {', '.join(several + unknown)} is not possible with edits; "
            f"allowed: {', '.join(sorted(_OPTIONS))}"
        )
    options = {"temperature": 0.0, **options}
    if options["temperature"] == 0.0 and not options.get("do_sample"):
        del options["temperature"]
        return {**options, "do_sample": False}
    return options
