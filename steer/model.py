"""A language model ready to be edited: the nnsight model, its tokenizer and its lock."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention, as_tuple
from steer.edits.conflicts import refuse_conflicts_between
from steer.edits.rows import of_row
from steer.features.activations import FeatureActivations, features
from steer.features.fit import read_dictionary, site_of, width_of
from steer.features.norm_gain import after_gain
from steer.lm.hookpoints import Site, is_hookpoint, locate
from steer.lm.passes import plain
from steer.lm.prompts import Message, check_padding, read_prompt, token_id, tokenize
from steer.lm.remote import Remote
from steer.lm.span import Span
from steer.runs import generate as runs
from steer.runs.explain import NEUTRAL, Explanation, explain
from steer.runs.generate import Request, Run, pair_up
from steer.runs.sampling import OnStep, Sampling, sampling_from
from steer.runs.stream import Stream
from steer.splice.plan import SitePlan
from steer.splice.resolve import plan_of

if TYPE_CHECKING:
    from nnsight.modeling.transformers import TransformersModel

    from steer.quality.result import Check

IfSilent = Literal["warn", "raise", "ignore"]


@dataclass(frozen=True, eq=False)
class Model:
    """What `steer.load` returns. One run at a time: every method queues behind `lock`.

    nn: the nnsight model; `nn._module` is the transformers model itself.
    tokenizer: its tokenizer.
    name: what it was loaded as.
    fingerprint: of its weights; a dictionary's card says which model it was trained on.
    """

    nn: TransformersModel
    tokenizer: Any
    name: str
    fingerprint: str
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def module(self) -> Any:
        """The transformers model, shared with nnsight."""
        return self.nn._module

    @property
    def dtype(self) -> str:
        """Such as `float32` or `bfloat16`: stands in every result."""
        return str(self.module.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return self.module.device

    @property
    def context(self) -> int:
        """Most tokens the model can read."""
        return self.module.config.get_text_config().max_position_embeddings

    def site(self, hookpoint: str) -> Site:
        """Where a hookpoint is. Raises `HookpointError` if the model has no such site."""
        return locate(self.module, hookpoint)

    def tokenize(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and mask, each [b, s] on the model's device.

        Raises `PromptError` for an empty prompt or one longer than the context.
        """
        return tokenize(self, prompts)

    def token(self, token_id: int) -> str:
        """A token's own text, with its leading space."""
        return self.tokenizer.decode([token_id])

    def token_id(self, token: str | int) -> int:
        """The id of a text that is exactly one token, or an id that the model has.

        Raises `InterventionError` for anything else.
        """
        return token_id(self, token)

    def span(self, ids: Tensor, mask: Tensor) -> Span:
        """The tokens of a left-padded batch, for the splice."""
        return Span.prefill(ids, mask, self.tokenizer.all_special_ids)

    def collect(self, ids: Tensor, mask: Tensor, hookpoints: list[str]) -> dict[str, Tensor]:
        """Activations [b, s, d] at each hookpoint; the model is run no further than the last."""
        check_padding(self, mask)
        sites = [self.site(name) for name in hookpoints]
        with self.lock:
            values = plain.collect(self.nn, ids, mask, sites)
        return {str(site.hookpoint): value for site, value in values.items()}

    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [b, s, V] of one forward pass without edits."""
        check_padding(self, mask)
        with self.lock:
            return plain.logits(self.nn, ids, mask)

    def dictionary(self, name: str) -> Dictionary:
        """A dictionary by catalogue name or folder, checked against this model.

        Raises `DictionaryError` for an unknown name (with near ones) or one that does not fit;
        warns if its card names another model.
        """
        dictionary = after_gain(self, read_dictionary(name))
        self.site_of(dictionary)
        trained_on = (dictionary.card or {}).get("fingerprint")
        if trained_on and trained_on != self.fingerprint:
            warnings.warn(
                f"{name} was trained on a model with fingerprint {trained_on} and "
                f"{self.name} has {self.fingerprint}: its features may mean nothing here",
                stacklevel=2,
            )
        return dictionary

    def site_of(self, dictionary: Dictionary) -> str:
        """The hookpoint that a dictionary reads, checked to exist and to have its width.

        Raises `DictionaryError` if the dictionary does not say where it belongs (a transcoder: also
        where it writes) or has another width.
        """
        return site_of(self, dictionary)

    def width(self, site: Site) -> int:
        """d of a site."""
        return width_of(self, site)

    def plans(
        self,
        interventions: Sequence[Intervention],
        dictionaries: Sequence[Dictionary] = (),
        rows: slice = slice(None),
        clean: slice | None = None,
    ) -> list[SitePlan]:
        """Interventions lowered to tensors for these batch rows, in the order given.

        Dictionaries are looked up by name, first among `dictionaries`, then in the catalogue.
        Positions by row need `rows` with a stop, and as many of them.
        clean: the rows of the same texts without edits, if the batch has them.
        """
        given = {dictionary.name: dictionary for dictionary in dictionaries}
        plans = [plan_of(self, each, given, rows, clean) for each in interventions]
        refuse_conflicts_between(interventions, plans)
        return plans

    def dictionary_of(
        self, intervention: Intervention, given: Mapping[str, Dictionary]
    ) -> Dictionary | None:
        """The dictionary that an intervention names, or None where it names a hookpoint."""
        name = intervention.dictionary
        if name in given:
            return given[name]
        return None if is_hookpoint(name) else self.dictionary(name)

    def features(self, text: str, dictionary: Dictionary | str) -> FeatureActivations:
        """Activations of every feature at every token of a text."""
        found = self.dictionary(dictionary) if isinstance(dictionary, str) else dictionary
        return features(self, text, found)

    def check(self, dictionary: Dictionary | str, texts: Sequence[str] | None = None) -> Check:
        """Whether a dictionary was read right and belongs here: see `steer.quality.check.check`."""
        from steer.quality.check import check

        return check(self, dictionary, texts)

    def generate(
        self,
        prompt: str | Sequence[Message],
        intervention: Intervention | Sequence[Intervention],
        *,
        max_new_tokens: int = 40,
        seed: int = 0,
        temperature: float = 0.7,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        watch: Sequence[str | int] = (),
        dictionaries: Sequence[Dictionary] = (),
        if_silent: IfSilent = "warn",
        on_step: OnStep | None = None,
        on_first: OnStep | None = None,
        remote: Remote = False,
        **options: Any,
    ) -> Run:
        """Continue a prompt with and without edits, in one batch, with one stream of noise.

        The edits act in the prefill and at every decoding step, where their positions say.

        prompt: text, or a chat as a list of messages.
        temperature: 0 is greedy; see `steer.runs.sampling.Sampling` for the other choices.
        watch: tokens whose log-probability under both texts to keep.
        dictionaries: to look names up in before the catalogue.
        if_silent: what to do when an edit changed nothing: warn, raise or ignore.
        on_step: called after each token with ids [2, so far], baseline first; True stops.
        on_first: called with the edited text's first token, ids [1, s + 1], before the baseline is
            begun, which on_step waits for; True stops.
        remote: True runs it on NDIF through nnsight, "local" rehearses that, a string is a server's
            address.
        options: of transformers' generate, see `steer.runs.sampling.GENERATE_OPTIONS`.
        """
        sampling = Sampling(
            temperature, top_p, top_k, min_p, repetition_penalty, seed, options=options
        )
        (run,) = runs.generate(
            self,
            [Request(read_prompt(self, prompt), as_tuple(intervention))],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            dictionaries=dictionaries,
            watch=watch,
            on_step=on_step,
            on_first=on_first,
            remote=remote,
        )
        run.receipt.enforce(if_silent)
        return run

    def generate_batch(
        self,
        prompts: Sequence[str | Sequence[Message]],
        interventions: Intervention | Sequence[Intervention | Sequence[Intervention]],
        *,
        max_new_tokens: int = 40,
        dictionaries: Sequence[Dictionary] = (),
        watch: Sequence[str | int] = (),
        if_silent: IfSilent = "warn",
        remote: Remote = False,
        **sampling: Any,
    ) -> list[Run]:
        """A different intervention for each row, in one batch; each run as it would be alone.

        prompts, interventions: as many of one as of the other, or one for all.
        watch, remote: as for `generate`; sampling: its other options.
        """
        rows = [interventions] if isinstance(interventions, Intervention) else interventions
        requests = pair_up(
            [read_prompt(self, prompt) for prompt in prompts], [as_tuple(each) for each in rows]
        )
        found = runs.generate(
            self,
            requests,
            max_new_tokens=max_new_tokens,
            sampling=sampling_from(sampling),
            dictionaries=dictionaries,
            watch=watch,
            remote=remote,
        )
        for run in found:
            run.receipt.enforce(if_silent)
        return found

    def stream(
        self,
        prompt: str | Sequence[Message],
        intervention: Intervention | Sequence[Intervention],
        **options: Any,
    ) -> Stream:
        """`generate`, token by token; takes the same options. Bad input raises at once."""
        read_prompt(self, prompt)
        self.plans(of_row(as_tuple(intervention), 0, 1), options.get("dictionaries", ()))

        def start(on_step: OnStep, on_first: OnStep) -> Run:
            return self.generate(
                prompt, intervention, on_step=on_step, on_first=on_first, **options
            )

        return Stream(start, lambda ids: self.tokenizer.decode(ids, skip_special_tokens=True))

    def explain(
        self,
        intervention: Intervention | Sequence[Intervention],
        *,
        dictionaries: Sequence[Dictionary] = (),
        prompt: str = NEUTRAL,
    ) -> Explanation:
        """Sites, positions, doses in all units as measured on `prompt`, cost, warnings."""
        return explain(self, as_tuple(intervention), dictionaries, prompt)
