"""A language model with the verbs: read features, edit, generate, explain, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Literal

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention, as_tuple
from steer.edits.rows import of_row
from steer.errors import DictionaryError
from steer.features.activations import FeatureActivations, features
from steer.features.fit import load_dictionary, site_of
from steer.lm.language_model import LanguageModel
from steer.lm.prompts import Message, read_prompt
from steer.lm.remote import Remote
from steer.quality.check import Check, check
from steer.runs import generate as runs
from steer.runs.explain import NEUTRAL, Explanation, explain
from steer.runs.generate import Request, Run, pair_up, refuse_one
from steer.runs.sampling import OnStep, Sampling, sampling_from
from steer.runs.stream import Stream
from steer.splice.plan import SitePlan
from steer.splice.receipt import check_if_silent
from steer.splice.resolve import dictionary_of, plans

IfSilent = Literal["warn", "raise", "ignore"]


@dataclass(frozen=True, eq=False, repr=False)
class Model(LanguageModel):
    """What `steer.load` returns. One run at a time: every method queues behind `lock`."""

    def __repr__(self) -> str:
        config = self.module.config.get_text_config()
        return (
            f"Model {self.name}: {type(self.module).__name__}, {self.anatomy.depth} blocks, width "
            f"{config.hidden_size}, {self.precision} on {self.device}, "
            f"fingerprint {self.fingerprint}"
        )

    def dictionary(self, name: str | PathLike[str]) -> Dictionary:
        """A dictionary by catalogue name or folder, checked against this model.

        Raises `DictionaryError` for an unknown name (with near ones) or one that does not fit;
        warns if its card names another model.
        """
        if not isinstance(name, str | PathLike):
            raise DictionaryError(f"a dictionary is asked for by name or folder, not by {name!r}")
        return load_dictionary(self, fspath(name))

    def site_of(self, dictionary: Dictionary) -> str:
        """The hookpoint that a dictionary reads, checked to exist and to have its width.

        Raises `DictionaryError` if the dictionary does not say where it belongs (a transcoder: also
        where it writes) or has another width.
        """
        return site_of(self, dictionary)

    def plans(
        self,
        interventions: Sequence[Intervention],
        dictionaries: Sequence[Dictionary] = (),
        rows: slice = slice(None),
        clean: slice | None = None,
    ) -> list[SitePlan]:
        """Interventions lowered to tensors for these batch rows: see `steer.splice.resolve`."""
        return plans(self, interventions, dictionaries, rows, clean)

    def dictionary_of(
        self, intervention: Intervention, given: Mapping[str, Dictionary]
    ) -> Dictionary | None:
        """The dictionary that an intervention names, or None where it names a hookpoint."""
        return dictionary_of(self, intervention, given)

    def features(self, text: str, dictionary: Dictionary | str) -> FeatureActivations:
        """Activations of every feature at every token of a text."""
        named = self.dictionary(dictionary) if isinstance(dictionary, str) else dictionary
        return features(self, text, named)

    def check(self, dictionary: Dictionary | str, texts: Sequence[str] | None = None) -> Check:
        """Whether a dictionary was read right and belongs here: see `steer.quality.check.check`."""
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
        watch: str | int | Sequence[str | int] = (),
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
        watch: token or tokens whose log-probability under both texts to keep.
        dictionaries: to look names up in before the catalogue.
        if_silent: what to do when an edit changed nothing: warn, raise or ignore.
        on_step: called after each token with ids [2, so far], baseline first; True stops.
        on_first: called with the edited text's first token, ids [1, s + 1], before the baseline is
            begun, which on_step waits for; True stops.
        remote: True runs it on NDIF through nnsight, "local" rehearses that, a string is a server's
            address.
        options: of transformers' generate, see `steer.runs.sampling.GENERATE_OPTIONS`.
        """
        check_if_silent(if_silent)
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
        watch: str | int | Sequence[str | int] = (),
        if_silent: IfSilent = "warn",
        remote: Remote = False,
        **sampling: Any,
    ) -> list[Run]:
        """A different intervention for each row, in one batch; each run as it would be alone.

        prompts, interventions: as many of one as of the other, or one for all; each in a list.
        watch, remote: as for `generate`; sampling: its other options.
        """
        check_if_silent(if_silent)
        refuse_one(prompts)
        rows = [interventions] if isinstance(interventions, Intervention) else interventions
        requests = pair_up(
            [read_prompt(self, prompt) for prompt in prompts], [as_tuple(row) for row in rows]
        )
        answers = runs.generate(
            self,
            requests,
            max_new_tokens=max_new_tokens,
            sampling=sampling_from(sampling),
            dictionaries=dictionaries,
            watch=watch,
            remote=remote,
        )
        for run in answers:
            run.receipt.enforce(if_silent)
        return answers

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
