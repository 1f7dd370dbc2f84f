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

from dictionaries.files.whole import write_whole
from steer.disk.cache import cache_folder
from steer.errors import ModelError, SteerError
from steer.lm.anatomy.around import resumes, without_shared_inputs
from steer.lm.anatomy.calls import (
    TOKENS,
    BlockCalls,
    argument,
    first_tensor,
    run,
    watched,
)
from steer.lm.anatomy.identities import find_sites
from steer.lm.anatomy.rows import rows_alone
from steer.lm.anatomy.structure import norms_outside, stack_paths
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
        write_whole(file, json.dumps(anatomy.to_dict()))
    except (OSError, SteerError):  # a cache that can't be written costs the next start a second
        pass
    return anatomy


def measure(module: nn.Module) -> Anatomy:
    """`anatomy_of`, measured now."""
    try:
        return _measured(module, _running_stack(module))
    except ModelError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{type(module).__name__} can't be run on token ids alone: {first}; load a model that "
            "reads text by its input_ids"
        ) from error


def _running_stack(module: nn.Module) -> str:
    """The list of blocks that runs on text; another, of images, may be as long or larger."""
    paths = stack_paths(module)
    if len(paths) == 1:
        return paths[0]
    ran: set[str] = set()
    with ExitStack() as hooks:
        for path in paths:
            block = module.get_submodule(f"{path}.0")
            hooks.callback(block.register_forward_hook(lambda *_, path=path: ran.add(path)).remove)
        run(module, TOKENS)
    return next((path for path in paths if path in ran), paths[0])


def _measured(module: nn.Module, stack: str) -> Anatomy:
    modules: Any = module.get_submodule(stack)
    blocks: list[nn.Module] = list(modules)
    by_number: dict[int, BlockAnatomy] = {}
    behind = _Behind(module)
    streams: dict[int, Tensor] = {}
    last: list[Tensor] = []

    def done(number: int, calls: BlockCalls) -> None:
        behind.restart(calls.block.gives)
        if number in by_number:
            by_number[number] = _no_sites("the block runs more than once in a pass")
        elif last and not torch.equal(last[-1], calls.block.reads):
            by_number[number] = _no_sites(
                "what the block reads is not what the one before it gives"
            )
        else:
            by_number[number] = find_sites(calls)
        streams[number] = calls.block.gives
        last[:] = [calls.block.gives]

    with watched(blocks, done), ExitStack() as hooks:
        behind.watch(stack, hooks)
        run(module, TOKENS)
    missing = _no_sites("the block does not run on text alone")
    in_order = [by_number.get(number, missing) for number in range(len(blocks))]
    checked = without_shared_inputs(module, blocks, check_writing(module, blocks, in_order))
    resume = resumes(module, blocks, checked, streams)
    norm = behind.norm()
    batches, pads = rows_alone(module)
    return Anatomy(type(module).__name__, stack, tuple(checked), norm, batches, pads, resume)


class _Behind:
    """What runs behind the last block: the norm that reads the stream, and that the head reads."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.stream = torch.empty(0)
        self.norms: list[tuple[str, Tensor, Tensor]] = []
        self.head = torch.empty(0)

    def restart(self, stream: Tensor) -> None:
        """A block has run: what came before it is not behind the last one."""
        self.stream = stream
        self.norms.clear()

    def watch(self, stack: str, hooks: ExitStack) -> None:
        """Note what runs outside the blocks."""
        for path, norm in norms_outside(self.module, stack).items():

            def ran(_: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                x, y = argument(args, kwargs), first_tensor(output)
                if x is not None and y is not None:
                    self.norms.append((path, x.clone(), y.clone()))

            hooks.callback(norm.register_forward_hook(ran, with_kwargs=True).remove)
        get_head: Any = getattr(self.module, "get_output_embeddings", lambda: None)
        if (head := get_head()) is not None:

            def reads(_: nn.Module, args: Any, kwargs: Any) -> None:
                x = argument(args, kwargs)
                self.head = torch.empty(0) if x is None else x.clone()

            hooks.callback(head.register_forward_pre_hook(reads, with_kwargs=True).remove)

    def norm(self) -> str | None:
        """Path of the norm between the stream and the head, if that is all that is there."""
        for path, x, y in self.norms:
            if _alike(x, self.stream) and _alike(y, self.head):
                return path
        return None


def _alike(one: Tensor, other: Tensor) -> bool:
    """Equal, or one a multiple of the other: a head may read a scaled stream."""
    if one.shape != other.shape or not one.numel():
        return False
    a, b = one.double().flatten(), other.double().flatten()
    return (a @ b / (a.norm() * b.norm()).clamp(min=1e-30)).item() > 1 - 1e-6


def _no_sites(why: str) -> BlockAnatomy:
    return BlockAnatomy({}, dict.fromkeys(KINDS, why))


def _digest(module: nn.Module) -> str:
    """Of what the anatomy depends on: classes and places of modules, config, how it is measured."""
    import transformers

    config: Any = module.config
    parts = [f"{path} {type(part).__name__}" for path, part in module.named_modules()]
    measure = [file.read_text("utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    kernels = getattr(config, "_attn_implementation", None), getattr(module, "dtype", None)
    versions = transformers.__version__, torch.__version__
    tensors = (*module.named_parameters(), *module.named_buffers())
    here = [(name, tensor) for name, tensor in tensors if tensor.device.type != "meta"]
    scalars = [f"{name} {tensor.tolist()}" for name, tensor in here if tensor.numel() == 1]
    about = [*versions, *kernels, str(config.to_dict()), *parts, *scalars, *measure]
    return hashlib.sha256("\n".join(map(str, about)).encode()).hexdigest()[:24]
