"""From a name, a folder or a transformers model to a `Model` that is ready to be edited."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from steer.errors import ModelError
from steer.lm import default_model
from steer.lm.anatomy import anatomy_of, device_of
from steer.lm.fingerprint import fingerprint_of
from steer.lm.placement import Placement
from steer.lm.published import reachable, source_of
from steer.model import Model
from steer.progress import Progress

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def load(
    model: Any = default_model.NAME,
    *,
    tokenizer: Any = None,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    quantization: str | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model ready to be edited.

    model: `smollm2-135m` (fetched from a package registry once), a local folder, a hub id, or a
        transformers model (then with its `tokenizer`, and `dtype` is the model's own).
    dtype: float32 for measurement (the default), bfloat16 or float16 for speed, float64 for
        derivatives and checks; edits are computed in fp32 or wider (`steer.maths`). On a CPU
        without bf16 in hardware only single prompts' tokens come faster; all else is slower.
    device: such as `cuda`; by default a GPU if there is one.
    device_map: `auto` for as much on GPUs as fits, then in memory, then on the disk; `disk`, or a
        device of each module, as accelerate has it. Edits and dictionaries go where their site is.
    quantization: `4bit` or `8bit` weights (extra `quantize`); edits stay in fp32.
    progress: called with (what, done, total) while the default model is fetched.

    Raises `ModelError` for an unknown name or weights that can't be read, `FetchError` if the
    default model can't be fetched.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown; allowed: {', '.join(DTYPES)}")
    placement = Placement(device, device_map, quantization)
    if not isinstance(model, str | Path):
        if device_map is not None or quantization is not None:
            raise ModelError(
                "a transformers model lies where it was loaded: give device_map and quantization "
                "to its from_pretrained, or a name to load"
            )
        if tokenizer is None:
            raise ModelError("a transformers model needs its tokenizer: load(model, tokenizer=…)")
        return _wrap(model, tokenizer, type(model).__name__)
    name = str(model)
    source = source_of(name, progress)
    module, read_tokenizer = _read(source, DTYPES[dtype], name, placement)
    placed = module.to(placement.chosen) if placement.moves else module
    return _wrap(
        placed, tokenizer or read_tokenizer, name, placement if tokenizer is None else None
    )


def load_tokenizer(name: str = default_model.NAME, progress: Progress | None = None) -> Any:
    """Only a model's tokenizer. Raises as `load` does."""
    from transformers import AutoTokenizer

    source = source_of(name, progress)
    local = {"local_files_only": True} if not reachable(source, name) else {}
    try:
        return AutoTokenizer.from_pretrained(source, **local)
    except Exception as error:  # as in `_read`
        raise ModelError(
            f"{name} has no readable tokenizer: {_first(error)}{_remedy(source)}"
        ) from error


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(": .")


def _remedy(source: Path | str) -> str:
    """What to do about files that can't be read; only what we made is ours to throw away."""
    if isinstance(source, str):
        return "; look at its page on the hub"
    if source == default_model.folder():
        return f"; it is steer's own copy: delete {source}, and it is fetched again"
    wanted = ("config.json", "tokenizer.json or another tokenizer", "*.safetensors")
    return f"; {source} should hold {', '.join(wanted)}, as save_pretrained writes them"


def _read(
    source: Path | str, dtype: torch.dtype, name: str, placement: Placement
) -> tuple[Any, Any]:
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    quiet = not transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    local = {"local_files_only": True} if not reachable(source, name) else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **local)
        kind = _auto(source, **local)
        options = {**placement.options(dtype), **local}
        with _unwarned():
            return kind.from_pretrained(source, dtype=dtype, **options), tokenizer
    except Exception as error:  # a damaged folder makes transformers raise anything at all
        raise ModelError(f"{name} can't be read: {_first(error)}{_remedy(source)}") from error
    finally:
        if not quiet:
            transformers_logging.enable_progress_bar()


def _auto(source: Path | str, **local: bool) -> Any:
    """The class that reads a model: for text, or for images too where there is none for text."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING as OF_TEXT
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING as OF_IMAGES
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    kind = type(AutoConfig.from_pretrained(source, **local))
    images = kind not in OF_TEXT and kind in OF_IMAGES
    return AutoModelForImageTextToText if images else AutoModelForCausalLM


def _wrap(module: Any, tokenizer: Any, name: str, placement: Placement | None = None) -> Model:
    from nnsight.modeling.transformers import TransformersModel

    module = _unwrapped(module)
    if getattr(module.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is an encoder-decoder; only decoder-only models can be edited")
    if not (hasattr(module, "generate") and module.get_output_embeddings()):
        raise ModelError(
            f"{type(module).__name__} does not write text: load a causal language model, such as "
            "AutoModelForCausalLM gives"
        )
    module.eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    _refuse_caches(module)
    fingerprint = fingerprint_of(module)  # before a pass: bitsandbytes lays packed weights anew
    offloaded = any(weight.device.type == "meta" for weight in module.parameters())
    with _placed(module) if offloaded else nullcontext(), _unwarned():
        cls = _offloaded() if offloaded else TransformersModel
        nn = cls(module, tokenizer=tokenizer, task="text-generation")
    anatomy_of(module)  # before any run holds the model
    return Model(nn, tokenizer, name, fingerprint, placement)


def _unwrapped(module: Any) -> Any:
    """The model inside torch.compile's wrapper, or with an adapter's layers in place.

    Raises `ModelError` for an adapter that is not made of layers: its prompt would be lost.
    """
    module = getattr(module, "_orig_mod", module)
    adapters = getattr(module, "peft_config", None)
    if not isinstance(adapters, dict) or not hasattr(module, "get_base_model"):
        return module
    if any(adapter.is_prompt_learning for adapter in adapters.values()):
        raise ModelError(
            "an adapter that learns a prompt can't be edited: its virtual tokens are no tokens of "
            "the text; use one of layers, such as LoRA, or merge it"
        )
    return module.get_base_model()


def _refuse_caches(module: Any) -> None:
    """Raise `ModelError` for a cache of its own in which rows were not tried."""
    kind = getattr(module.generation_config, "cache_implementation", None)
    if kind is not None and (kind == "quantized" or kind.startswith("offloaded")):
        raise ModelError(
            f"the model's generation_config asks for a cache that is {kind}, which can't hold "
            "edited and unedited rows: set model.generation_config.cache_implementation = None"
        )


@contextmanager
def _unwarned() -> Iterator[None]:
    """While entered, nobody tells what is taken care of here.

    transformers lists all its classes for one that reads images too, accelerate says that weights
    are on a disk which were asked to be there, and nnsight where a module called `output` is.
    """
    names = ("transformers.pipelines.base", "accelerate.big_modeling")
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*which nnsight already serves")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def _placed(module: Any) -> Iterator[None]:
    """While entered, a model whose weights are offloaded says so, lest somebody move them; and one
    that is on a disk alone names a device, which a pipeline asks for."""
    there = getattr(module, "hf_device_map", None)
    if there is not None and set(there.values()) != {"disk"}:
        yield
        return
    module.hf_device_map = {"": "cpu"}
    try:
        yield
    finally:
        if there is None:
            del module.hf_device_map
        else:
            module.hf_device_map = there


def _offloaded() -> Any:
    """nnsight's class, whose inputs go where weights are that are not offloaded."""
    from nnsight.modeling.transformers import TransformersModel

    class Offloaded(TransformersModel):  # type: ignore[misc]  # nnsight is untyped
        @property
        def device(self) -> torch.device:
            return device_of(self._module)

    return Offloaded
