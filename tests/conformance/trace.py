"""What one forward pass really computes: every operation, and every module's inputs and outputs.

A dispatch mode sees each tensor operation with its inputs, and plain hooks see the modules; so
where something is added to the residual stream is read from the addition itself, by no name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = {
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "transpose", "permute", "t", "squeeze"),
    *("unsqueeze", "expand", "alias", "detach", "clone", "copy", "contiguous", "lift_fresh"),
    *("_to_copy", "dropout", "native_dropout", "slice", "select"),
}
"""Operations whose output is their first input again, if it has as many numbers."""


Key = tuple[str, str, int]
"""Path of a module, name of an operation, and how many of that name the module did before."""


@dataclass(eq=False)
class Node:
    """One tensor that the pass made or was given.

    name: of the operation, "" for what was there before; inputs: the tensors it is made of.
    scalars: numbers among its arguments. modules: paths of the modules that were running.
    number: how many operations came before it; key: which operation of its module it is.
    value: a copy of what it held when it was made; live: the tensor itself.
    """

    name: str
    inputs: tuple[Node, ...]
    scalars: tuple[float, ...]
    modules: tuple[str, ...]
    number: int
    value: Tensor
    live: Tensor
    key: Key = ("", "", 0)

    @property
    def same_as(self) -> Node | None:
        """The tensor that this one only looks at in another shape or dtype, or copies."""
        if self.name in VIEWS and self.inputs and _size(self.inputs[0]) == _size(self):
            return self.inputs[0]
        return None

    def origin(self) -> Node:
        """Through all views and copies."""
        node = self
        while (below := node.same_as) is not None:
            node = below
        return node


def _size(node: Node) -> int:
    return node.value.numel()


@dataclass(eq=False)
class Call:
    """One call of a module: tensors that it read, in the order of its arguments, and gave."""

    path: str
    inputs: list[Node]
    outputs: list[Node]
    started: int
    ended: int = -1


@dataclass(eq=False)
class Graph:
    """All that a forward pass did. logits [b, s, V]."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def only(self, path: str) -> Call | None:
        """The one call of a module; None if there were none or several."""
        calls = self.calls.get(path, [])
        return calls[0] if len(calls) == 1 else None


class Recorder(TorchDispatchMode):
    """Keeps a node for every tensor, and adds `edits` to what chosen operations give.

    edits: an operation -> what is added in place to its output.
    """

    def __init__(self, edits: Mapping[Key, Tensor] | None = None) -> None:
        super().__init__()
        self.graph = Graph()
        self.edits = edits or {}
        self.stack: list[str] = []
        self._at: dict[int, Node] = {}
        self._bases: dict[int, Tensor] = {}
        self._done: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [t for t in _flat((args, kwargs)) if isinstance(t, Tensor)]
        inputs = tuple(self.node(tensor) for tensor in given)
        scalars = tuple(
            float(x)
            for x in _flat((args, kwargs))
            if isinstance(x, int | float) and not isinstance(x, bool)
        )
        output = func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        plain, path = name.rstrip("_"), self.stack[-1] if self.stack else ""
        key = (path, plain, self._done[path, plain])
        self._done[path, plain] += 1
        for tensor in _flat(output):
            if isinstance(tensor, Tensor):
                if key in self.edits and self.edits[key].numel() == tensor.numel():
                    tensor.add_(self.edits[key].view(tensor.shape))
                self._made(name, key, inputs, scalars, tensor, given)
        return output

    def node(self, tensor: Tensor) -> Node:
        """The node of a tensor as it stands now."""
        if id(tensor) not in self._at:
            self._at[id(tensor)] = Node("", (), (), (), -1, tensor.detach().clone(), tensor)
        return self._at[id(tensor)]

    def _made(
        self,
        name: str,
        key: Key,
        inputs: tuple[Node, ...],
        scalars: tuple[float, ...],
        tensor: Tensor,
        given: list[Tensor],
    ) -> None:
        number = len(self.graph.nodes)
        place = tuple(self.stack)
        in_place = any(tensor is other for other in given)
        plain = name.rstrip("_") if in_place else name
        value = tensor.detach().clone()
        node = Node(plain, inputs, scalars, place, number, value, tensor, key)
        self.graph.nodes.append(node)
        self._at[id(tensor)] = node
        if not in_place and name in VIEWS and given and tensor._is_view():
            self._bases[id(tensor)] = self._bases.get(id(given[0]), given[0])
        elif in_place and id(tensor) in self._bases:
            base = self._bases[id(tensor)]
            below = self.node(base)
            again = base.detach().clone()
            self._at[id(base)] = Node("inner_write", (below, node), (), place, number, again, base)


@contextmanager
def recording(model: nn.Module, edits: Mapping[Key, Tensor] | None = None) -> Iterator[Recorder]:
    """While entered, every operation of the model is recorded."""
    recorder = Recorder(edits)

    def before(path: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any) -> None:
            recorder.stack.append(path)
            tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
            call = Call(path, [recorder.node(t) for t in tensors], [], len(recorder.graph.nodes))
            recorder.graph.calls.setdefault(path, []).append(call)

        return hook

    def after(path: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any, output: Any) -> None:
            recorder.stack.pop()
            call = next(c for c in reversed(recorder.graph.calls[path]) if c.ended < 0)
            call.outputs = [recorder.node(t) for t in _flat(output) if isinstance(t, Tensor)]
            call.ended = len(recorder.graph.nodes)

        return hook

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            for handle in (
                module.register_forward_pre_hook(before(path), with_kwargs=True),
                module.register_forward_hook(after(path), with_kwargs=True),
            ):
                hooks.callback(handle.remove)
        hooks.enter_context(recorder)
        yield recorder


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _flat(inner)
    else:
        yield value
