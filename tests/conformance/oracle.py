"""The truth about a transformers model's sites, by plain hooks: it shares no code with steer.

For every block it says which tensor each kind of hookpoint is, or why there is no such tensor, and
it runs the model with something added there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tests.conformance.stream import Addition, Stream, children, is_norm, reads, stream_of
from tests.conformance.trace import Call, Graph, Key, Node, recording

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
class Run:
    """logits [s, V] and what goes into every block [s, d], and out of the last."""

    logits: Tensor
    entries: list[Tensor]


class Oracle:
    """A model read on one prompt, ids [1, s]."""

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.model, self.ids = model, ids
        with torch.no_grad(), recording(model) as recorder:
            output = model(input_ids=ids, use_cache=False)
        self.graph: Graph = recorder.graph
        self.clean: Tensor = output.logits[0].detach()
        self.stack = _stack(model, self.graph)
        self.blocks: list[nn.Module] = (
            [] if self.stack is None else list(model.get_submodule(self.stack))
        )

    def call(self, layer: int) -> Call | None:
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
        found = {"resid_pre": self._pre(call), "resid_post": self._post(layer, call)}
        if stream is None:
            none = Truth(why="the block's output is not its input plus what is added to it")
            return {kind: found.get(kind, none) for kind in KINDS}
        return {kind: found.get(kind) or _inside(self, kind, stream, call, block) for kind in KINDS}

    def _pre(self, call: Call) -> Truth:
        if not call.inputs:
            return Truth(why="the block reads no tensor")
        return self._residual(call.inputs[0], Place("input", paths=(call.path,)))

    def _post(self, layer: int, call: Call) -> Truth:
        after = self.call(layer + 1) if layer + 1 < len(self.blocks) else None
        if not call.outputs:
            return Truth(why="the block gives no tensor")
        post = call.outputs[0]
        if after is not None and after.inputs:
            following = after.inputs[0]
            if following.value.shape != post.value.shape or not torch.allclose(
                following.value, post.value, atol=1e-5
            ):
                return Truth(why="what the block gives is not what the next one reads")
        return self._residual(post, Place("output", paths=(call.path,)))

    def _residual(self, node: Node, place: Place) -> Truth:
        value = _rows(node.value, self.ids.shape[1])
        if value is None:
            shape = list(node.value.shape)
            return Truth(why=f"the stream has shape {shape}, not one vector a token")
        return Truth(value, place)

    def run(
        self, edits: Sequence[tuple[Truth, Tensor]] = (), ids: Tensor | None = None
    ) -> Run:
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
            output = self.model(input_ids=self.ids if ids is None else ids, use_cache=False)
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
        rows = _rows(slope.detach(), self.ids.shape[1])
        assert rows is not None
        return rows


def _inside(oracle: Oracle, kind: str, stream: Stream, call: Call, block: nn.Module) -> Truth:
    """A site inside a block."""
    attention = [a for a in stream.additions if "attention" in a.parts]
    mlp = [a for a in stream.additions if "mlp" in a.parts]
    length = oracle.ids.shape[1]
    if kind in ("attn_z", "mlp_in", "mlp_hidden"):
        who = "attention" if kind == "attn_z" else "mlp"
        owners = attention if who == "attention" else mlp
        if len(owners) != 1:
            return Truth(why=f"{who} adds to the stream {len(owners)} times")
        return _module_site(oracle, kind, owners[0].parts[who], call, block, stream)
    if kind == "resid_mid":
        return _between(oracle, stream, attention, mlp)
    who, owners = ("attention", attention) if kind == "attn_out" else ("mlp", mlp)
    if len(owners) != 1:
        return Truth(why=f"{who} adds to the stream {len(owners)} times")
    changed = _changed(stream, owners[0], mlp if who == "attention" else [])
    if changed:
        return Truth(why=f"after {who} has added, the stream goes through {', '.join(changed)}")
    value = _rows(owners[0].parts[who].value, length)
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
        f"another addition ({who})" for each in others for who in each.parts if who == "other"
    ]


def _between(
    oracle: Oracle, stream: Stream, attention: list[Addition], mlp: list[Addition]
) -> Truth:
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
    value = _rows(middle.value, oracle.ids.shape[1])
    if value is None:
        return Truth(why="the stream is not one vector a token")
    source = middle.origin()
    return Truth(value, Place("operation", key=source.key))


def _module_site(
    oracle: Oracle, kind: str, part: Node, call: Call, block: nn.Module, stream: Stream
) -> Truth:
    """mlp_in: what the MLP's outermost module reads; the others: what its last linear map reads."""
    whole = {id(node) for node in stream.nodes} | {id(n.origin()) for n in stream.nodes}
    if kind == "mlp_in":
        owners = _readers(oracle.graph, part, call, block, whole)
        if not owners:
            return Truth(why="no module of the block is the MLP")
        first = owners[0].inputs[0].origin()
        paths = tuple(o.path for o in owners if o.inputs and o.inputs[0].origin() is first)
        value = _rows(owners[0].inputs[0].value, oracle.ids.shape[1])
        if value is None:
            return Truth(why="the MLP does not read one vector a token")
        return Truth(value, Place("input", paths=paths, stream=False))
    last = _last_linear(oracle, part, call, whole)
    if last is None:
        return Truth(why="what is added is not one linear map's output")
    value = _rows(last.inputs[0].value, oracle.ids.shape[1])
    if value is None:
        return Truth(why="the last linear map does not read one vector a token")
    return Truth(value, Place("input", paths=(last.path,), stream=False))


def _readers(
    graph: Graph, part: Node, call: Call, block: nn.Module, whole: set[int]
) -> list[Call]:
    """Calls of the block's children that are no norms, of which the MLP's part is made."""
    names = {name.split(".")[0] for name in children(part, call.path, whole, block)}
    owners = []
    for name in names:
        module = block.get_submodule(name)
        if is_norm(module) or isinstance(module, nn.Dropout | nn.Identity):
            continue
        if re.search("hyper|connection|residual|scale|conv", name):
            continue
        inner = graph.calls.get(f"{call.path}.{name}", [])
        owners += [c for c in inner if c.inputs]
    return sorted(owners, key=lambda each: each.started)


def _last_linear(oracle: Oracle, part: Node, call: Call, whole: set[int]) -> Call | None:
    """The linear map whose output is the part, but for norms, scales and gates of one token."""
    linear = {
        id(c.outputs[0].origin()): c
        for path, calls in oracle.graph.calls.items()
        if path.startswith(f"{call.path}.") and _is_linear(oracle.model.get_submodule(path))
        for c in calls
        if c.outputs and c.inputs
    }
    norms = {
        id(c.outputs[0]): c
        for path, calls in oracle.graph.calls.items()
        if path.startswith(f"{call.path}.")
        and is_norm(oracle.model.get_submodule(path))
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


def _rows(value: Tensor, length: int) -> Tensor | None:
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


def _add(module: nn.Module, how: str, delta: Tensor) -> Any:
    def before(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0] + delta.view(args[0].shape), *args[1:]), kwargs
        name = next(key for key, value in kwargs.items() if isinstance(value, Tensor))
        return args, {**kwargs, name: kwargs[name] + delta.view(kwargs[name].shape)}

    def after(_: Any, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output + delta.view(output.shape)
        first = output[0] + delta.view(output[0].shape)
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
def kept_entries(model: nn.Module, stack: str | None) -> Iterator[list[Tensor]]:
    """What goes into every block [s, d], pass by pass, and out of the last."""
    entries: list[Tensor] = []
    with ExitStack() as hooks:
        blocks: list[nn.Module] = [] if stack is None else list(model.get_submodule(stack))  # type: ignore[call-overload]
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(_keep(entries), with_kwargs=True).remove)
        if blocks:
            hooks.callback(blocks[-1].register_forward_hook(_keep_output(entries)).remove)
        yield entries


def _keep(entries: list[Tensor]) -> Any:
    def hook(_: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        first = next(t for t in (*args, *kwargs.values()) if isinstance(t, Tensor))
        entries.append(first.detach().flatten(0, -2).clone())

    return hook


def _keep_output(entries: list[Tensor]) -> Any:
    def hook(_: Any, args: Any, output: Any) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        entries.append(first.detach().flatten(0, -2).clone())

    return hook
