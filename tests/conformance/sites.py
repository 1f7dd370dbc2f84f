"""Which tensor each kind of site is, in one block, read from what a forward pass really did."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tests.conformance.stream import Addition, Stream, children, is_norm, kind_of, reads, stream_of
from tests.conformance.trace import Call, Graph, Key, Node

KINDS = (
    "resid_pre",
    "attn_z",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "mlp_hidden",
    "mlp_out",
    "resid_post",
)


@dataclass(frozen=True, eq=False)
class Place:
    """Where to add something: an operation's output, or a module's first input or output."""

    how: Literal["operation", "input", "output"]
    key: Key = ("", "", 0)
    paths: tuple[str, ...] = ()
    stream: bool = True


@dataclass(frozen=True, eq=False)
class Truth:
    """A site: its tensor [s, d] and where to write it, or why there is none."""

    value: Tensor | None = None
    place: Place | None = None
    why: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether writing there moves the residual stream itself."""
        return self.place is not None and self.place.stream


@dataclass(eq=False)
class Reading:
    """What one pass of a model over a prompt of `length` tokens did.

    stack: path of its list of blocks; None if no list passes a stream on.
    """

    model: Any
    graph: Graph
    length: int

    def __post_init__(self) -> None:
        self.stack = _stack(self.model, self.graph)
        self.blocks: list[nn.Module] = (
            [] if self.stack is None else list(self.model.get_submodule(self.stack))
        )

    def call(self, layer: int) -> Call | None:
        """The one call of a block; None if it has none or several, or there is no such block."""
        return self.graph.only(f"{self.stack}.{layer}")

    def layers(self) -> list[int]:
        """One block of each kind of structure, inner ones first choice; at most three."""
        kinds: dict[str, int] = {}
        last = len(self.blocks) - 1
        order = sorted(range(last + 1), key=lambda n: (n in (0, last), n))
        for number in order:
            names = sorted(
                f"{path}:{type(module).__name__}"
                for path, module in self.blocks[number].named_modules()
                if path.count(".") < 2 and not path.split(".")[-1].isdigit()
            )
            kinds.setdefault(" ".join(names), number)
        return sorted(kinds.values())[:3]

    def truths(self, layer: int) -> dict[str, Truth]:
        """Each kind of site in a block."""
        call, path = self.call(layer), f"{self.stack}.{layer}"
        if call is None:
            times = len(self.graph.calls.get(path, []))
            return dict.fromkeys(KINDS, Truth(why=f"the block runs {times} times in one pass"))
        block = self.blocks[layer]
        stream = stream_of(self.graph, call, block)
        found = {"resid_pre": self._pre(layer, call), "resid_post": self._post(layer, call)}
        for kind in ("attn_z", "mlp_in", "mlp_hidden"):
            found[kind] = _module_site(self, kind, call, block, stream)
        if stream is None:
            none = Truth(why="the block's output is not its input plus what is added to it")
            return {kind: found.get(kind, none) for kind in KINDS}
        return {kind: found.get(kind) or _inside(self, kind, stream) for kind in KINDS}

    def _pre(self, layer: int, call: Call) -> Truth:
        if not call.inputs:
            return Truth(why="the block reads no tensor")
        before = self.call(layer - 1)
        if before is not None and not _goes_on(before, call):
            return Truth(why="what the block reads is not what the one before it gives")
        return self._residual(call.inputs[0], Place("input", paths=(call.path,)))

    def _post(self, layer: int, call: Call) -> Truth:
        if not call.outputs:
            return Truth(why="the block gives no tensor")
        after = self.call(layer + 1)
        if after is not None and not _goes_on(call, after):
            return Truth(why="what the block gives is not what the next one reads")
        return self._residual(call.outputs[0], Place("output", paths=(call.path,)))

    def _residual(self, node: Node, place: Place) -> Truth:
        value = rows_of(node.value, self.length)
        if value is None:
            shape = list(node.value.shape)
            return Truth(why=f"the stream has shape {shape}, not one vector a token")
        return Truth(value, place)


def _inside(reading: Reading, kind: str, stream: Stream) -> Truth:
    """What attention or the MLP adds, or the stream between them."""
    attention = [a for a in stream.additions if "attention" in a.parts]
    mlp = [a for a in stream.additions if "mlp" in a.parts]
    if kind == "resid_mid":
        return _between(reading, stream, attention, mlp)
    who, owners = ("attention", attention) if kind == "attn_out" else ("mlp", mlp)
    if len(owners) != 1:
        return Truth(why=f"{who} adds to the stream {len(owners)} times")
    changed = _changed(stream, owners[0], mlp if who == "attention" else [])
    if changed:
        return Truth(why=f"after {who} has added, the stream goes through {', '.join(changed)}")
    value = rows_of(owners[0].parts[who].value, reading.length)
    if value is None:
        return Truth(why="what is added is not one vector a token")
    return Truth(value, Place("operation", key=owners[0].node.key))


def _changed(stream: Stream, owner: Addition, later: Sequence[Addition]) -> list[str]:
    """What else happens to the stream around an addition, up to the MLP's or the block's end."""
    index = stream.additions.index(owner)
    until = min((stream.additions.index(a) for a in later), default=len(stream.additions))
    start = index if index == 0 else index + 1
    what = [what for what, at in stream.changed if start <= at <= max(until, index + 1)]
    others = stream.additions[index + 1 : until]
    return what + [
        f"another addition ({who})" for other in others for who in other.parts if who == "other"
    ]


def _between(
    reading: Reading, stream: Stream, attention: list[Addition], mlp: list[Addition]
) -> Truth:
    """The stream that the MLP reads and is added to; none where those are two."""
    if len(attention) != 1 or not mlp:
        return Truth(why="the block has not attention once and then an MLP")
    first, second = attention[0], mlp[0]
    if first is second or stream.additions.index(first) > stream.additions.index(second):
        return Truth(why="attention and MLP are parallel")
    position = stream.nodes.index(second.node)
    middle = stream.nodes[position - 1]
    whole = {id(node): node for node in stream.nodes}
    used = reads(second.parts["mlp"], set(whole))
    start = stream.nodes.index(first.node)
    if not any(stream.nodes.index(whole[each]) >= start for each in used):
        return Truth(why="attention and MLP are parallel")
    if not any(whole[each].origin() is middle.origin() for each in used):
        return Truth(why="the MLP and the residual branch read different tensors")
    value = rows_of(middle.value, reading.length)
    if value is None:
        return Truth(why="the stream is not one vector a token")
    source = middle.origin()
    return Truth(value, Place("operation", key=source.key))


def _module_site(
    reading: Reading, kind: str, call: Call, block: nn.Module, stream: Stream | None
) -> Truth:
    """mlp_in: what the MLP's outermost module reads; the others: what its last linear map reads."""
    who = "attention" if kind == "attn_z" else "mlp"
    names, part = _names(who, call, block, stream)
    owners = _outermost(reading.graph, call, block, names)
    if not owners:
        return Truth(why=f"no module of the block is the {who}, or there are several")
    if kind == "mlp_in":
        first = owners[0].inputs[0].origin()
        paths = tuple(o.path for o in owners if o.inputs[0].origin() is first)
        value = rows_of(owners[0].inputs[0].value, reading.length)
        if value is None:
            return Truth(why="the MLP does not read one vector a token")
        return Truth(value, Place("input", paths=paths, stream=False))
    ends = [part, *(owner.outputs[0] for owner in owners if owner.outputs)]
    found = (_last_linear(reading, end, call) for end in ends if end is not None)
    last = next((linear for linear in found if linear is not None), None)
    value = None if last is None else rows_of(last.inputs[0].value, reading.length)
    if last is None or value is None:
        return Truth(why=f"what the {who} gives is not one linear map's output")
    return Truth(value, Place("input", paths=(last.path,), stream=False))


def _names(
    who: str, call: Call, block: nn.Module, stream: Stream | None
) -> tuple[set[str], Node | None]:
    """The block's children that make up attention or the MLP, and what they add to the stream.

    By the stream where they add to it once; else by their names, where there is one of them.
    """
    parts = [] if stream is None else [a.parts[who] for a in stream.additions if who in a.parts]
    if stream is not None and len(parts) == 1:
        whole = {id(node) for node in stream.nodes} | {id(n.origin()) for n in stream.nodes}
        return {n.split(".")[0] for n in children(parts[0], call.path, whole, block)}, parts[0]
    named = {
        name
        for name, module in block.named_children()
        if kind_of(name, block) == who
        and not _BESIDE.search(name)
        and next(module.parameters(), None) is not None
    }
    return (named if len(named) == 1 else set()), None


_BESIDE = re.compile("hyper|connection|residual|scale|conv|hc|_input$")
"""Names of a block's children that belong to its stream and not to attention or the MLP."""


def _outermost(graph: Graph, call: Call, block: nn.Module, names: set[str]) -> list[Call]:
    """The calls of these children that are no norms and such, in their order."""
    owners: list[Call] = []
    for name in names:
        module = block.get_submodule(name)
        if is_norm(module) or isinstance(module, nn.Dropout | nn.Identity) or _BESIDE.search(name):
            continue
        calls = [c for c in graph.calls.get(f"{call.path}.{name}", []) if c.inputs]
        if len(calls) > 1:
            return []
        owners += calls
    return sorted(owners, key=lambda each: each.started)


def _last_linear(reading: Reading, part: Node, call: Call) -> Call | None:
    """The linear map whose output is the part, but for norms, scales and gates of one token."""
    linear = {
        id(c.outputs[0].origin()): c
        for path, calls in reading.graph.calls.items()
        if path.startswith(f"{call.path}.") and _is_linear(reading.model.get_submodule(path))
        for c in calls
        if c.outputs and c.inputs
    }
    norms = {
        id(c.outputs[0]): c
        for path, calls in reading.graph.calls.items()
        if path.startswith(f"{call.path}.") and is_norm(reading.model.get_submodule(path))
        for c in calls
        if c.outputs and c.inputs
    }
    node = part
    for _ in range(64):
        if id(node.origin()) in linear:
            return linear[id(node.origin())]
        if id(node) in norms:
            node = norms[id(node)].inputs[0]
        elif node.same_as is not None:
            node = node.same_as
        elif node.name in ("mul", "div") and node.inputs:
            wide = [n for n in node.inputs if n.value.numel() == node.value.numel()]
            if len(wide) != 1 and not node.scalars:
                return None
            node = wide[0]
        else:
            return None
    return None


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in ("Conv1D",)


def rows_of(value: Tensor, length: int) -> Tensor | None:
    """[1, s, d] or [s, d] or [s, 1, d] -> [s, d]; None for any other shape."""
    if value.dim() == 3 and value.shape[:2] in ((1, length), (length, 1)):
        return value.reshape(length, -1).detach().clone()
    if value.dim() == 2 and value.shape[0] == length:
        return value.detach().clone()
    return None


def _stack(model: nn.Module, graph: Graph) -> str | None:
    """Path of the list of blocks: of lists whose members pass a stream on, the busiest one."""
    best, most = None, -1
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) < 2:
            continue
        calls = [graph.calls.get(f"{path}.{number}", []) for number in range(len(module))]
        calls = [each for each in calls if each]
        if 2 * len(calls) < len(module) or not _passes_on(calls):
            continue
        work = sum(call.ended - call.started for each in calls for call in each)
        if work > most:
            best, most = path, work
    return best


def _goes_on(before: Call, after: Call) -> bool:
    """Whether what one block gives is what the next one reads."""
    if not before.outputs or not after.inputs:
        return False
    given, read = before.outputs[0].value, after.inputs[0].value
    return given.shape == read.shape and bool(torch.allclose(given, read, atol=1e-5))


def _passes_on(calls: Sequence[Sequence[Call]]) -> bool:
    """Whether every member reads and gives tensors of one shape."""
    shapes = set()
    for each in calls:
        for call in each:
            if not call.inputs or not call.outputs:
                return False
            shapes |= {call.inputs[0].value.shape, call.outputs[0].value.shape}
    ended = [each[0].ended for each in calls]
    started = [each[0].started for each in calls]
    return len(shapes) == 1 and all(a <= b for a, b in zip(ended, started[1:], strict=False))
