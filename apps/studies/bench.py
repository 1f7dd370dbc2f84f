"""`steer bench`: what editing costs and what the effects save, on the machine at hand.

Every figure is a ratio of two things timed in turn, in interleaved pairs whose order alternates, so
that a machine that slows down, or a cache that is warm, favours neither; the median of the pairs is
given, beside what the floating-point operations alone would allow.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.edits import Edit
    from steer.model import Model
    from steer.progress import Progress

PROMPT = (
    "When Mary and John went to the store, John gave a drink to the man who had been waiting for "
    "them near the old door of the house with a red"
)
"""32 tokens of the default model."""
DICTIONARIES = ("smollm2-135m/resid_post.20", "smollm2-135m/resid_post.10")
_MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """A ratio: the median of `runs`, and the bound that operations alone set."""

    ratio: float
    bound: float
    runs: tuple[float, ...]


def bench(
    model: Model,
    *,
    pairs: int = 7,
    new_tokens: int = 24,
    progress: Progress | None = None,
) -> dict[str, Figure]:
    """All figures."""
    late, early = (model.dictionary(name).to(model.device) for name in DICTIONARIES)
    late_cost, early_cost = _Operations.of(model, late), _Operations.of(model, early)
    tasks: dict[str, Callable[[], Figure]] = {
        "clamp_over_plain": lambda: _edited(model, late, 1, False, pairs, new_tokens),
        "ten_clamps_over_plain": lambda: _edited(model, late, 10, False, pairs, new_tokens),
        "condition_over_plain": lambda: _edited(model, late, 1, True, pairs, new_tokens),
        "panel_over_plain": lambda: _panel(model, late, pairs, new_tokens),
        "pair_over_plain": lambda: _pair(model, late, pairs, new_tokens),
        "sweep_speedup_block20": lambda: _sweep(model, late, late_cost, pairs),
        "sweep_speedup_block10": lambda: _sweep(model, early, early_cost, pairs),
        "sweep_over_hooks_block20": lambda: _over_hooks(model, late, late_cost, pairs),
        "sweep_over_batched_block20": lambda: _over_batched(model, late, late_cost, pairs),
        "ig10_forward_backwards": lambda: _ig(model, late, late_cost, pairs),
        "sweep_peak_over_budget": lambda: _peak(model, late),
    }
    figures = {}
    for number, (name, task) in enumerate(tasks.items()):
        if progress:
            progress("measuring", number, len(tasks))
        figures[name] = task()
    return figures


def to_dict(figures: dict[str, Figure]) -> dict[str, Any]:
    """`{machine: …, figures: {name: {ratio, bound, runs}}}`."""
    by_name = {name: asdict(figure) for name, figure in figures.items()}
    return {"machine": machine(), "figures": by_name}


def machine() -> dict[str, Any]:
    """What the figures are of: processors by name, and how many threads compute."""
    import torch

    described = {"processor": _processor(), "threads": torch.get_num_threads()}
    return described | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    """As the system names it; Linux says so only in a file."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


@dataclass(frozen=True)
class _Operations:
    """Multiply-adds a token: of a block, of the unembedding, and how many blocks stay above."""

    block: int
    unembedding: int
    blocks: int
    above: int

    @classmethod
    def of(cls, model: Model, dictionary: Dictionary) -> _Operations:

        from steer.lm.hookpoints import parse

        stack = model.module.get_submodule(model.anatomy.stack)
        layer = parse(model.site_of(dictionary)).layer
        return cls(
            block=sum(p.numel() for p in stack[0].parameters() if p.dim() > 1),
            unembedding=model.module.get_output_embeddings().weight.numel(),
            blocks=len(stack),
            above=len(stack) - layer - 1,
        )

    @property
    def token(self) -> int:
        return self.blocks * self.block + self.unembedding


def _interleaved(one: Callable[[], Any], other: Callable[[], Any], pairs: int) -> tuple[float, ...]:
    """Time of `one` over time of `other`, pair by pair, after one unmeasured run of each.

    Which goes first alternates.
    """
    one(), other()
    ratios = []
    for number in range(pairs):
        first, second = (one, other) if number % 2 == 0 else (other, one)
        times = {first: _seconds(first), second: _seconds(second)}
        ratios.append(times[one] / times[other])
    return tuple(ratios)


def _seconds(run: Callable[[], Any]) -> float:
    """Until a GPU has done it, too, and not until it was told."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def _figure(runs: tuple[float, ...], bound: float) -> Figure:
    return Figure(statistics.median(runs), bound, runs)


def _plain(model: Model, new_tokens: int) -> tuple[Callable[[], Any], dict[str, Any], Any]:
    """transformers' own greedy generate of one row, its options, and the inputs."""
    import torch

    ids, mask = model.tokenize([PROMPT])
    options = {
        "do_sample": False,
        "max_new_tokens": new_tokens,
        "min_new_tokens": new_tokens,
        "pad_token_id": model.tokenizer.pad_token_id,
        "return_dict_in_generate": True,
    }

    def run() -> None:
        with torch.inference_mode():
            model.module.generate(input_ids=ids, attention_mask=mask, **options)

    return run, options, (ids, mask)


def _edited(
    model: Model, dictionary: Dictionary, edits: int, condition: bool, pairs: int, new_tokens: int
) -> Figure:
    from steer.edits import Clamp, Intervention
    from steer.edits.conditions import Active
    from steer.splice import passes
    from steer.splice.build_receipt import build

    plain, options, (ids, mask) = _plain(model, new_tokens)
    when = Active(0) if condition else None
    clamps: list[Edit] = [Clamp(f, 1.0, when=when) for f in range(1, edits + 1)]
    intervention = Intervention(dictionary.name, clamps)
    span = model.span(ids, mask)

    def steered() -> None:
        """With what a caller waits for: the plan before, and the receipt behind."""
        plans = model.plans([intervention], [dictionary])
        output, steps = passes.generate(model.nn, ids, span, plans, options)
        build([intervention], steps, [model.token(i) for i in output.sequences[0, :-1].tolist()])

    runs = _interleaved(steered, plain, pairs)
    width = edits + condition
    # Each edited feature is read before and after, and written once.
    return _figure(runs, 1 + 3 * width * dictionary.config.d_in / _token(model, dictionary))


def _panel(model: Model, dictionary: Dictionary, pairs: int, new_tokens: int) -> Figure:
    from steer.lm.passes import resumed

    plain, options, (ids, mask) = _plain(model, new_tokens)
    site = model.site(model.site_of(dictionary))

    def look(x: Any) -> Any:
        features = dictionary.encode(x[:, -1].float())[0]
        return features.topk(min(50, dictionary.width))

    runs = _interleaved(
        lambda: resumed.watch(model.nn, ids, mask, site, look, options), plain, pairs
    )
    encode = dictionary.config.d_in * dictionary.width
    return _figure(runs, 1 + encode / _token(model, dictionary))


def _pair(model: Model, dictionary: Dictionary, pairs: int, new_tokens: int) -> Figure:
    """Baseline and edited text by `Model.generate`, receipt included, over plain text of one."""
    from steer.edits import Clamp, Intervention

    plain, _, _ = _plain(model, new_tokens)
    edit = Intervention(dictionary.name, [Clamp(1, 1.0)])

    def both() -> None:
        model.generate(
            PROMPT, edit, max_new_tokens=new_tokens, min_new_tokens=new_tokens, temperature=0
        )

    return _figure(_interleaved(both, plain, pairs), 2.0)


def _sweep(model: Model, dictionary: Dictionary, cost: _Operations, pairs: int) -> Figure:
    """One whole forward pass a feature, over the sweep's time a feature."""
    from steer.edits import Ablate, Intervention
    from steer.effects.defaults import TEXT
    from steer.effects.passes.changes import clean_for, encode_clean
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.splice import passes

    ids, mask = model.tokenize([PROMPT])
    span, length = model.span(ids, mask), ids.shape[1]
    clean = clean_for(model, ids[0], dictionary, every=False)
    active = encode_clean(clean, dictionary)[1:] != 0
    features = active.any(0).nonzero().flatten().tolist()

    def one_trace(feature: int) -> float:
        edit = Intervention(dictionary.name, [Ablate(feature, positions=TEXT)])
        plans = model.plans([edit], [dictionary])
        return _seconds(lambda: passes.logits(model.nn, ids, span, plans))

    one_trace(features[0])
    runs = []

    def all_at_once() -> float:
        return _seconds(lambda: ablation_sweep(model, PROMPT, dictionary, positions=TEXT))

    for number in range(max(3, pairs // 2)):
        before = all_at_once() if number % 2 else None
        singles = [one_trace(feature) for feature in features[:6]]
        swept = all_at_once() if before is None else before
        runs.append(statistics.median(singles) * len(features) / swept)
    needed = cost.above * cost.block * _tail(model, dictionary) + cost.unembedding
    return _figure(tuple(runs), cost.token * length / needed)


def _over_hooks(model: Model, dictionary: Dictionary, cost: _Operations, pairs: int) -> Figure:
    """A loop of plain PyTorch hooks, a whole forward pass a feature, over the sweep's time."""
    from apps.studies.by_hand import one_hook
    from steer.effects.defaults import TEXT
    from steer.effects.sweep.ablation_sweep import ablation_sweep

    ids, _ = model.tokenize([PROMPT])
    layer = cost.blocks - cost.above - 1
    block = model.module.get_submodule(model.anatomy.stack)[layer]
    delta = dictionary.W_dec[0].expand(ids.shape[1], -1) * 0.01

    def hooked() -> None:
        one_hook(block, model.module, ids, delta)

    runs = []
    hooked()
    for number in range(max(3, pairs // 2)):
        timed: dict[str, float] = {}
        for which in ("hooks", "sweep") if number % 2 == 0 else ("sweep", "hooks"):
            if which == "hooks":
                timed[which] = statistics.median(_seconds(hooked) for _ in range(6))
            else:
                start = time.perf_counter()
                swept = ablation_sweep(model, PROMPT, dictionary, positions=TEXT)
                timed[which] = time.perf_counter() - start
        runs.append(timed["hooks"] * len(swept.features) / timed["sweep"])
    whole = cost.blocks * cost.block * ids.shape[1] + cost.unembedding
    return _figure(tuple(runs), whole / (cost.above * cost.block * _tail(model, dictionary)))


def _over_batched(model: Model, dictionary: Dictionary, cost: _Operations, pairs: int) -> Figure:
    """A batched tail written by hand for this prompt, over the sweep's time."""
    from apps.studies.by_hand import batched
    from steer.effects.defaults import TEXT
    from steer.effects.sweep.ablation_sweep import ablation_sweep

    ids, _ = model.tokenize([PROMPT])
    layer = cost.blocks - cost.above - 1
    runs = _interleaved(
        lambda: batched(model.module, ids, dictionary, layer),
        lambda: ablation_sweep(model, PROMPT, dictionary, positions=TEXT),
        max(3, pairs // 2),
    )
    return _figure(runs, ids.shape[1] / _tail(model, dictionary))


def _tail(model: Model, dictionary: Dictionary) -> float:
    """Tokens from the first that a feature's ablation changes, the mean over active features."""
    from steer.effects.passes.changes import clean_for, encode_clean

    ids, _ = model.tokenize([PROMPT])
    clean = clean_for(model, ids[0], dictionary, every=False)
    active = encode_clean(clean, dictionary)[1:] != 0
    first = active[:, active.any(0)].int().argmax(0) + 1
    return (len(ids[0]) - first).double().mean().item()


def _ig(model: Model, dictionary: Dictionary, cost: _Operations, pairs: int) -> Figure:
    """Attribution with 10 steps, in whole forward and backward passes of the same prompt."""
    import torch

    from steer.effects.attribution.attribution import attribution
    from steer.effects.metric import LogitDifference

    ids, mask = model.tokenize([PROMPT])
    metric = LogitDifference(" Mary", " John")

    def whole() -> None:
        embeddings = model.module.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model.module(inputs_embeds=embeddings, attention_mask=mask).logits
        torch.autograd.grad(logits[0, -1, 0], embeddings)

    runs = _interleaved(lambda: attribution(model, PROMPT, dictionary, metric), whole, pairs)
    share = cost.above * cost.block / cost.token
    return _figure(runs, 10 * share)


def _peak(model: Model, dictionary: Dictionary) -> Figure:
    """Largest number of bytes in tensors during a sweep, over its budget."""
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.maths.memory import measured

    runs = []
    for budget in (64 * _MIB, 128 * _MIB, 256 * _MIB):
        with measured(model.device) as peak:
            ablation_sweep(model, PROMPT, dictionary, budget=budget, most_tokens=2**20)
        runs.append(peak.bytes / budget)
    return _figure(tuple(runs), 1.0)


def _token(model: Model, dictionary: Dictionary) -> int:
    return _Operations.of(model, dictionary).token
