"""The truth about a transformers model's sites, by plain hooks: it shares no code with steer.

For every block it says which tensor each kind of hookpoint is, or why there is no such tensor, and
it runs the model with something added there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.sites import Reading, Truth, rows_of
from tests.conformance.trace import Key, recording


@dataclass(eq=False)
class Run:
    """logits [s, V] and what goes into every block [s, d], and out of the last."""

    logits: Tensor
    entries: dict[int, Tensor]


class Oracle:
    """A model read on one prompt, ids [1, s]."""

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.model, self.ids = model, ids
        with torch.no_grad(), recording(model) as recorder:
            output = model(input_ids=ids, use_cache=False)
        self.reading = Reading(model, recorder.graph, ids.shape[1])
        self.clean: Tensor = output.logits[0].detach()

    @property
    def stack(self) -> str | None:
        return self.reading.stack

    @property
    def blocks(self) -> list[nn.Module]:
        return self.reading.blocks

    def layers(self) -> list[int]:
        """One block of each kind of structure."""
        return self.reading.layers()

    def truths(self, layer: int) -> dict[str, Truth]:
        """Each kind of site in a block."""
        return self.reading.truths(layer)

    def run(self, edits: Sequence[tuple[Truth, Tensor]] = ()) -> Run:
        """One pass with something [s, d] added at places."""
        operations: dict[Key, Tensor] = {}
        with torch.no_grad(), ExitStack() as hooks:
            for truth, delta in edits:
                place = truth.place
                assert place is not None
                if place.how == "operation":
                    operations[place.key] = delta
                    continue
                for path in place.paths:
                    hooks.callback(_add(self.model.get_submodule(path), place.how, delta).remove)
            entries = hooks.enter_context(kept_entries(self.model, self.stack))
            if operations:
                hooks.enter_context(recording(self.model, operations))
            output = self.model(input_ids=self.ids, use_cache=False)
        return Run(output.logits[0].detach(), entries)

    def head(self, truth: Truth, x: Tensor) -> Tensor:
        """What the unembedding gives [V] at the last token, with x [d] for the last stream."""
        place, seen = truth.place, []
        assert place is not None
        module = self.model.get_output_embeddings()
        with torch.no_grad(), ExitStack() as hooks:
            for path in place.paths:
                handle = _replace(self.model.get_submodule(path), x)
                hooks.callback(handle.remove)
            handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
            hooks.callback(handle.remove)
            self.model(input_ids=self.ids, use_cache=False)
        return seen[-1].reshape(-1, seen[-1].shape[-1])[-1].detach().clone()

    def gradient(self, truth: Truth, tokens: tuple[int, int]) -> Tensor:
        """Gradient [s, d] of logit a minus logit b at the last token."""
        place = truth.place
        assert place is not None
        assert truth.value is not None
        with torch.enable_grad(), ExitStack() as hooks:
            if place.how == "operation":
                recorder = hooks.enter_context(recording(self.model))
            else:
                point = torch.zeros_like(truth.value, requires_grad=True)
                for path in place.paths:
                    hooks.callback(_add(self.model.get_submodule(path), place.how, point).remove)
            logits = self.model(input_ids=self.ids, use_cache=False).logits[0, -1]
            if place.how == "operation":
                point = next(n.live for n in recorder.graph.nodes if n.key == place.key)
        (slope,) = torch.autograd.grad(logits[tokens[0]] - logits[tokens[1]], point)
        rows = rows_of(slope.detach(), self.ids.shape[1])
        assert rows is not None
        return rows


@contextmanager
def adding(model: nn.Module, truth: Truth, vector: Tensor) -> Iterator[None]:
    """While entered, the site of a module has vector [d] added at every token of every pass."""
    assert truth.place is not None
    with ExitStack() as hooks:
        for path in truth.place.paths:
            hooks.callback(_add(model.get_submodule(path), truth.place.how, vector).remove)
        yield


def _add(module: nn.Module, how: str, delta: Tensor) -> Any:
    """delta: [s, d], or [d] for any number of tokens."""

    def fitted(x: Tensor) -> Tensor:
        return delta if delta.dim() == 1 else delta.view(x.shape)

    def before(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0] + fitted(args[0]), *args[1:]), kwargs
        name = next(key for key, value in kwargs.items() if isinstance(value, Tensor))
        return args, {**kwargs, name: kwargs[name] + fitted(kwargs[name])}

    def after(_: Any, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output + fitted(output)
        first = output[0] + fitted(output[0])
        return type(output)((first, *output[1:]))

    if how == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _replace(module: nn.Module, x: Tensor) -> Any:
    """The module's first output is x [d] at every token."""

    def after(_: Any, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return x.expand_as(output).clone()
        return type(output)((x.expand_as(output[0]).clone(), *output[1:]))

    return module.register_forward_hook(after)


@contextmanager
def kept_entries(model: nn.Module, stack: str | None) -> Iterator[dict[int, Tensor]]:
    """What went into each block [s, d] in the latest pass, and out of the last one."""
    entries: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        blocks: Any = () if stack is None else model.get_submodule(stack)
        for number, block in enumerate(blocks):
            handle = block.register_forward_pre_hook(_keep(entries, number), with_kwargs=True)
            hooks.callback(handle.remove)
        if blocks:
            handle = blocks[-1].register_forward_hook(_keep_output(entries, len(blocks)))
            hooks.callback(handle.remove)
        yield entries


def _keep(entries: dict[int, Tensor], number: int) -> Any:
    def hook(_: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        first = next(t for t in (*args, *kwargs.values()) if isinstance(t, Tensor))
        entries[number] = first.detach().flatten(0, -2).clone()

    return hook


def _keep_output(entries: dict[int, Tensor], number: int) -> Any:
    def hook(_: Any, args: Any, output: Any) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        entries[number] = first.detach().flatten(0, -2).clone()

    return hook
