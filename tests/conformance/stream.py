"""How the residual stream goes through a block: what is added to it, by whom, in what order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from tests.conformance.trace import Call, Graph, Node

_MLP = re.compile(r"mlp|ffn|ff|feed_?forward|moe|expert|fc\d|intermediate|dense|output", re.I)
_ATTENTION = re.compile(r"attn|attention|att$", re.I)
_MIXER = re.compile(r"mixer|mamba|ssm|conv|recurrent|temporal|lstm|delta|kda", re.I)
_NORM = re.compile(r"^(?!.*attention).*norm(1p|noscale|fp32)?$", re.I)
_PLAIN_MLP = re.compile(r"mlp|moe|ffn|feedforward", re.I)


@dataclass(eq=False)
class Addition:
    """One addition to the stream: `node` = the stream before + what is added.

    parts: what is added, by who made it: attention, mixer, mlp, both, other.
    """

    node: Node
    parts: dict[str, Node]


@dataclass(eq=False)
class Stream:
    """The way from what a block reads to what it gives.

    pre, post: the stream into the block and out of it. additions: in their order.
    changed: what else happens to the stream on its way: the operation, and after which addition.
    nodes: every tensor that is the stream at some moment.
    """

    pre: Node
    post: Node
    additions: list[Addition]
    changed: list[tuple[str, int]]
    nodes: list[Node]


@dataclass(frozen=True)
class Step:
    kind: str
    node: Node
    addend: Node | None = None


def stream_of(graph: Graph, call: Call, block: nn.Module) -> Stream | None:
    """The stream through one call of a block; None if what it gives is not what it read plus more.

    The first tensor that a block reads, and the first that it gives, are taken for the stream.
    """
    if not call.inputs or not call.outputs:
        return None
    pre, post = call.inputs[0].origin(), call.outputs[0]
    norms = {
        id(c.outputs[0]): c
        for path, module in block.named_modules()
        if path and is_norm(module)
        for c in graph.calls.get(f"{call.path}.{path}", [])
        if c.outputs and c.inputs and call.started <= c.started < call.ended
    }
    steps = _trail(post, pre, norms, {})
    if steps is None:
        return None
    additions: list[Addition] = []
    changed: list[tuple[str, int]] = []
    stream = [pre, *(step.node for step in steps)]
    whole = {id(node) for node in stream} | {id(node.origin()) for node in stream}
    for step in steps:
        if step.kind == "add" and step.addend is not None:
            parts = _parts(step.addend, call.path, block, whole)
            additions.append(Addition(step.node, parts))
        elif step.kind not in ("same",):
            changed.append((step.kind, len(additions)))
    if not any("attention" in addition.parts for addition in additions):
        for addition in additions:
            if "mixer" in addition.parts:
                addition.parts["attention"] = addition.parts.pop("mixer")
    return Stream(pre, post, additions, changed, stream)


def _trail(
    node: Node, pre: Node, norms: dict[int, Call], known: dict[int, list[Step] | None]
) -> list[Step] | None:
    """Steps from `pre` to `node`, or None if no way of adding and scaling leads there."""
    if node is pre:
        return []
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = None
    found: list[Step] | None = None
    for kind, below, addend in _ways(node, norms):
        if node.number <= pre.number and below is not pre:
            continue
        trail = _trail(below, pre, norms, known)
        if trail is not None:
            found = [*trail, Step(kind, node, addend)]
            break
    known[id(node)] = found
    return found


def _ways(node: Node, norms: dict[int, Call]) -> Iterator[tuple[str, Node, Node | None]]:
    """What a tensor may be the stream of, most likely first."""
    if (below := node.same_as) is not None:
        yield "same", below, None
        return
    if id(node) in norms:
        yield "norm", norms[id(node)].inputs[0], None
        return
    wide = [each for each in node.inputs if each.value.numel() == node.value.numel()]
    if node.name == "add" and len(wide) == 2 and node.scalars in ((), (1.0,)):
        yield "add", wide[0], wide[1]
        yield "add", wide[1], wide[0]
    elif node.name in ("add", "sub") and len(wide) == 1:
        yield "a constant", wide[0], None
    elif node.name in ("mul", "div") and wide:
        yield node.name, wide[0], None
        if len(wide) == 2:
            yield node.name, wide[1], None
    elif node.name in ("clamp", "where", "index_put", "inner_write", "stack", "cat") and wide:
        yield node.name, wide[0], None


def _parts(addend: Node, path: str, block: nn.Module, stream: set[int]) -> dict[str, Node]:
    """The terms of what is added, by who made them; a sum of one maker's terms is one part."""
    makers = maker(addend, path, block, stream)
    origin = addend.origin()
    if makers != "both" or origin.name != "add" or len(origin.inputs) != 2:
        return {makers: addend}
    parts: dict[str, Node] = {}
    for term in origin.inputs:
        for who, node in _parts(term, path, block, stream).items():
            if who in parts:
                return {"both": addend}
            parts[who] = node
    return parts


def maker(node: Node, path: str, block: nn.Module, stream: set[int]) -> str:
    """Who computed a tensor from the stream: attention, mixer, mlp, both or other."""
    kinds = {kind_of(name, block) for name in children(node, path, stream, block)} - {""}
    if len(kinds) > 1:
        return "both"
    return next(iter(kinds), "other")


def kind_of(name: str, block: nn.Module) -> str:
    """By name: attention proper, another way of mixing tokens, or an MLP; "" for norms and such."""
    module, first = block.get_submodule(name), name.split(".")[0]
    if re.match("(post_)?(mlp|ffn|feed_forward)", first):
        return "mlp"
    if is_norm(module) or isinstance(module, nn.Dropout | nn.Identity):
        return ""
    if _ATTENTION.search(first):
        return "attention"
    if _MIXER.search(first):
        if "mixer" in first and _PLAIN_MLP.search(type(module).__name__):
            return "mlp"
        return "attention" if _ATTENTION.search(type(module).__name__) else "mixer"
    return "mlp" if _MLP.search(first) else ""


def is_norm(module: nn.Module) -> bool:
    """Whether its class is called a norm and nothing else."""
    return bool(_NORM.search(type(module).__name__))


def children(node: Node, path: str, stream: set[int], block: nn.Module) -> set[str]:
    """Names of the block's own children that took part in making a tensor from the stream.

    What happens inside a norm is left out, wherever the norm is.
    """
    names: set[str] = set()

    def visit(each: Node) -> None:
        inside = [m.removeprefix(f"{path}.") for m in each.modules if m.startswith(f"{path}.")]
        if inside and not any(is_norm(block.get_submodule(name)) for name in inside):
            names.add(inside[0])

    ancestors(node, stream, visit)
    return names


def reads(node: Node, stream: set[int]) -> set[int]:
    """Which tensors of the stream a tensor is made of, by id."""
    met: set[int] = set()
    ancestors(node, stream, lambda _: None, met)
    return met


def ancestors(
    node: Node, stop: set[int], visit: Callable[[Node], None], met: set[int] | None = None
) -> None:
    """Visit everything that a tensor is made of, back to the stream."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if id(each) in stop:
            if met is not None:
                met.add(id(each))
            continue
        visit(each)
        todo.extend(each.inputs)
