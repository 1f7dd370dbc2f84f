"""The anatomy of a model: measured once, then kept for its architecture."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from steer.disk.cache import cache_folder
from steer.errors import ModelError
from steer.lm.anatomy.calls import TOKENS, BlockCalls, run, watched
from steer.lm.anatomy.identities import find_sites
from steer.lm.anatomy.rows import rows_alone
from steer.lm.anatomy.structure import norms_outside, stack_path
from steer.lm.anatomy.values import Anatomy, BlockAnatomy
from steer.lm.anatomy.written import check_writing
from steer.lm.hookpoints import KINDS

_KNOWN: WeakKeyDictionary[nn.Module, Anatomy] = WeakKeyDictionary()


def anatomy_of(module: nn.Module) -> Anatomy:
    """The sites of a transformers model, by two passes over a few tokens the first time.

    Raises `ModelError` for a model without a list of blocks, or that can't be run.
    """
    if module not in _KNOWN:
        _KNOWN[module] = _cached(module)
    return _KNOWN[module]


def _cached(module: nn.Module) -> Anatomy:
    file = cache_folder() / "anatomy" / f"{_digest(module)}.json"
    try:
        return Anatomy.from_dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged
        anatomy = measure(module)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".tmp")
        scratch.write_text(json.dumps(anatomy.to_dict()), "utf-8")
        scratch.replace(file)
    except OSError:  # a cache that can't be written costs the next start a second
        pass
    return anatomy


def measure(module: nn.Module) -> Anatomy:
    """`anatomy_of`, measured now."""
    stack = stack_path(module)
    blocks: Any = module.get_submodule(stack)
    found: dict[int, BlockAnatomy] = {}
    norms: list[str] = []
    stream: list[Tensor] = []

    def done(number: int, calls: BlockCalls) -> None:
        norms.clear()  # those before the last block
        if number in found:
            found[number] = _no_sites("the block runs more than once in a pass")
        elif stream and not torch.equal(stream[-1], calls.block.reads):
            found[number] = _no_sites("what the block reads is not what the one before it gives")
        else:
            found[number] = find_sites(calls)
        stream[:] = [calls.block.gives]

    try:
        with watched(list(blocks), done), ExitStack() as hooks:
            for path, norm in norms_outside(module, stack).items():
                handle = norm.register_forward_hook(lambda *_, path=path: norms.append(path))
                hooks.callback(handle.remove)
            run(module, TOKENS)
        missing = _no_sites("the block does not run on text alone")
        in_order = [found.get(number, missing) for number in range(len(blocks))]
        checked = check_writing(module, list(blocks), in_order)
        batches, pads = rows_alone(module)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{type(module).__name__} can't be run on token ids alone: {first}; load a model that "
            "reads text by its input_ids"
        ) from error
    last = norms[-1] if norms else None
    return Anatomy(type(module).__name__, stack, tuple(checked), last, batches, pads)


def _no_sites(why: str) -> BlockAnatomy:
    return BlockAnatomy({}, dict.fromkeys(KINDS, why))


def _digest(module: nn.Module) -> str:
    """Of what the anatomy depends on: classes and places of modules, config, how it is measured."""
    import transformers

    config: Any = module.config
    parts = [f"{path} {type(each).__name__}" for path, each in module.named_modules()]
    measure = [file.read_text("utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    kernels = getattr(config, "_attn_implementation", None), getattr(module, "dtype", None)
    versions = transformers.__version__, torch.__version__
    about = [*versions, *kernels, str(config.to_dict()), *parts, *measure]
    return hashlib.sha256("\n".join(map(str, about)).encode()).hexdigest()[:24]
