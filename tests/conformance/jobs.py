"""One family: every job at every site of one block of each kind, against the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

import steer
from dictionaries.architectures import ReLU
from dictionaries.dictionary import Dictionary, DictionaryConfig
from steer.edits.directions import Vector
from tests.conformance.build import UNREADABLE, build
from tests.conformance.oracle import Oracle, kept_entries
from tests.conformance.outcome import NONE, RIGHT, WRONG, Outcome, cell, same, worst
from tests.conformance.sites import KINDS, Truth
from tests.conformance.whole import MODEL_JOBS
from tests.support.tiny import tokenizer

PROMPT = "w7 w31 w12 w55 w40 w9 w66"
WIDTH, DOSE = 48, 10.0
TOKENS = (5, 9)
FEATURES = (1, 2, 5)
JUMPS = Outcome(NONE, "the model jumps under a change of a millionth: nothing to compare")
"""Routers whose choice is a tie."""


@dataclass
class Report:
    """All cells of a family: of the whole model, and by block and kind of site."""

    family: str
    built: str = ""
    model: str = ""
    whole: dict[str, dict[str, str]] = field(default_factory=dict)
    sites: dict[str, dict[str, dict[str, dict[str, str]]]] = field(default_factory=dict)
    why: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0.0


def run_family(family: str, *, given_context: bool = False) -> Report:
    """Every cell; given_context: see `build`.

    Raises `NotBuiltError` for a family that can't be made tiny.
    """
    warnings.simplefilter("ignore")
    plain, report = build(family), Report(family)
    report.model = type(plain).__name__
    ids = torch.tensor([tokenizer()(PROMPT)["input_ids"]])
    loaded: list[steer.Model] = []

    def load() -> Outcome:
        ours = build(family, given_context=given_context)
        loaded.append(steer.load(ours, tokenizer=tokenizer()))
        return Outcome(RIGHT)

    report.whole["load"] = asdict(cell(load))
    try:
        oracle = Oracle(plain, ids)
    except UNREADABLE as error:
        if loaded:
            report.whole["load"] = asdict(Outcome(WRONG, f"loaded, and can't be run: {error}"))
        return report
    if not loaded:
        return report
    (model,) = loaded
    for name, job in MODEL_JOBS.items():
        report.whole[name] = asdict(cell(lambda job=job: job(model, oracle)))  # type: ignore[misc]
    for layer in oracle.layers():
        block = f"{layer} {type(oracle.blocks[layer]).__name__}"
        truths = oracle.truths(layer)
        report.why[block] = {kind: truth.why for kind, truth in truths.items() if truth.why}
        report.sites[block] = {
            kind: {name: asdict(outcome) for name, outcome in site_cells(model, oracle, at).items()}
            for kind in KINDS
            for at in (At(kind, layer, truths[kind]),)
        }
    if oracle.stack is None:
        report.sites["no block"] = {
            kind: {"collect": asdict(cell(lambda kind=kind: _no_block(model, kind)))}  # type: ignore[misc]
            for kind in KINDS
        }
    return report


def _no_block(model: steer.Model, kind: str) -> Outcome:
    collect(model, f"{kind}.1")
    return Outcome(WRONG, "answered, and the model has no list of blocks that pass a stream on")


@dataclass(frozen=True, eq=False)
class At:
    """A site: its kind, its block, and the truth about it."""

    kind: str
    layer: int
    truth: Truth

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.layer}"


@dataclass(frozen=True, eq=False)
class Added:
    """A vector of norm 10 added at a site through steer, at every token.

    effect: the logit effect; entries: what went into every block then; delta [s, d]: the vector.
    """

    effect: Any
    entries: dict[int, Tensor]
    delta: Tensor


Job = Callable[[steer.Model, Oracle, At, Callable[[], Added]], Outcome]


def site_cells(model: steer.Model, oracle: Oracle, at: At) -> dict[str, Outcome]:
    """The cells of one site. Where there is no such tensor, only reading it is tried."""
    cells = {"collect": cell(lambda: collected(model, at))}
    if at.truth.value is None:
        return cells
    added = cache(lambda: add(model, oracle, at))
    for name, job in SITE_JOBS.items():
        cells[name] = cell(lambda job=job: job(model, oracle, at, added))  # type: ignore[misc]
    return cells


def collect(model: steer.Model, name: str) -> Tensor:
    ids, mask = model.tokenize([PROMPT])
    return model.collect(ids, mask, [name])[name]


def collected(model: steer.Model, at: At) -> Outcome:
    """`model.collect` gives the tensor of this name."""
    value = collect(model, at.name)
    if at.truth.value is None:
        return Outcome(WRONG, f"answered, and there is none: {at.truth.why}")
    return same(value[0] if value.dim() == 3 else value, at.truth.value, what="the tensor is ")


def written(model: steer.Model, oracle: Oracle, at: At, added: Callable[[], Added]) -> Outcome:
    """A known vector added at the site moves the stream and the logits as a plain hook does."""
    found = added()
    wanted, clean = oracle.run([(at.truth, found.delta)]), oracle.run()
    logits = same(
        found.effect.delta_logit[0],
        wanted.logits[-1] - clean.logits[-1],
        noise=_noise(clean.logits[-1]),
        what="the logits' change is ",
    )
    if logits.status == WRONG and _jumps(oracle, at, found.delta):
        return JUMPS
    after = at.layer + 1
    if not at.truth.is_stream or after not in found.entries or after not in clean.entries:
        return logits
    moved = found.entries[after] - clean.entries[after]
    right = wanted.entries[after] - clean.entries[after]
    noise = _noise(clean.entries[after])
    stream = same(moved, right, noise=noise, what="resid_post's move is ")
    if stream.status == WRONG and at.kind in ("mlp_out", "resid_post"):
        size = moved.norm(dim=-1).mean().item()
        stream = Outcome(WRONG, f"asked for {DOSE:g}, resid_post moved by {size:.3g}")
    return worst(stream, logits)


def receipt(model: steer.Model, oracle: Oracle, at: At, added: Callable[[], Added]) -> Outcome:
    """The receipt's dose is the stream's real change, at every token."""
    (entry,) = added().effect.receipts[0].entries
    assert at.truth.value is not None
    wanted = DOSE / at.truth.value.norm(dim=-1)
    if len(entry.tokens) != len(wanted):
        return Outcome(WRONG, f"acted on {len(entry.tokens)} of {len(wanted)} tokens")
    said = torch.tensor([token.relative_dose for token in entry.tokens])
    outcome = same(said, wanted, what="relative doses are ")
    really = written(model, oracle, at, added)
    if really.status == WRONG:
        return Outcome(WRONG, f"says {DOSE:g}, and {really.detail}")
    return outcome


def clamped(model: steer.Model, oracle: Oracle, at: At, _: object) -> Outcome:
    """`steer.logit_effect` of a clamp is what a plain hook gives."""
    sae = dictionary(at)
    f = features(sae, at)
    assert at.truth.value is not None
    value = 2 * at.truth.value.pow(2).mean().sqrt().item()
    effect = steer.logit_effect(
        model,
        [PROMPT],
        steer.Intervention("tiny", [steer.Clamp(5, value)]),
        dictionaries=[sae],
        draws=0,
        if_silent="ignore",
    )
    delta = (value - f[:, 5:6]) * sae.W_dec[5]
    wanted = oracle.run([(at.truth, delta)]).logits[-1] - oracle.clean[-1]
    outcome = same(effect.delta_logit[0], wanted, noise=_noise(oracle.clean[-1]), what="Δ logits ")
    if outcome.status == WRONG and _jumps(oracle, at, delta):
        return JUMPS
    return outcome


def swept(model: steer.Model, oracle: Oracle, at: At, _: object) -> Outcome:
    """`steer.ablation_sweep` gives the KL of ablations made one by one."""
    sae = dictionary(at)
    f = features(sae, at)
    sweep = steer.ablation_sweep(model, [PROMPT], sae, list(FEATURES))
    effect_of = {row["feature"]: row["effect"] for row in sweep.rows}
    clean = oracle.clean[-1].double().log_softmax(-1)
    effects = []
    for feature in FEATURES:
        delta = -f[:, feature : feature + 1] * sae.W_dec[feature]
        delta[0] = 0
        logits = oracle.run([(at.truth, delta)]).logits[-1].double().log_softmax(-1)
        effects.append((clean.exp() * (clean - logits)).sum())
    wanted = torch.stack(effects)
    values = torch.tensor(
        [effect_of.get(feature, 0.0) for feature in FEATURES], dtype=torch.float64
    )
    return same(values, wanted, 5e-3, 2e-5, "KL ")


def attributed(model: steer.Model, oracle: Oracle, at: At, _: object) -> Outcome:
    """`steer.attribution` by atp is −activation × gradient."""
    sae = dictionary(at)
    attribution = steer.attribution(
        model, [PROMPT], sae, steer.LogitDifference(*TOKENS), method="atp", error="keep"
    )
    slope = oracle.gradient(at.truth, TOKENS)
    wanted = -features(sae, at) * (slope @ sae.W_dec.T)
    wanted[0] = 0
    return same(attribution.values[0].float(), wanted, 5e-3, 1e-5, "values ")


SITE_JOBS: dict[str, Job] = {
    "write": written,
    "receipt": receipt,
    "logit_effect": clamped,
    "sweep": swept,
    "attribution": attributed,
}


def _jumps(oracle: Oracle, at: At, delta: Tensor) -> bool:
    """Whether a router's ties make the model's own answer depend on rounding."""
    one, *others = (
        oracle.run([(at.truth, delta * (1 + share))]).logits[-1]
        for share in (0.0, 1e-6, -1e-6, 4e-6, -4e-6)
    )
    return any(same(other, one, noise=_noise(one)).status == WRONG for other in others)


def add(model: steer.Model, oracle: Oracle, at: At) -> Added:
    """Add the vector."""
    assert at.truth.value is not None
    vector = torch.randn(at.truth.value.shape[1], generator=torch.Generator().manual_seed(9))
    vector *= DOSE / vector.norm()
    edit = steer.AddDirection(Vector(vector.tolist()), DOSE)
    with kept_entries(model.module, oracle.stack) as entries:
        effect = steer.logit_effect(
            model, [PROMPT], steer.Intervention(at.name, [edit]), draws=0, if_silent="ignore"
        )
    return Added(effect, entries, vector.expand(oracle.ids.shape[1], -1))


def dictionary(at: At) -> Dictionary:
    """A random ReLU dictionary named `tiny` at the site, about a half of it active."""
    assert at.truth.value is not None
    d = at.truth.value.shape[1]
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(WIDTH, d, generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    return ReLU(
        W_enc=rows.T.contiguous(),
        b_enc=0.1 * torch.randn(WIDTH, generator=generator),
        W_dec=rows,
        b_dec=torch.zeros(d),
        config=DictionaryConfig(d, WIDTH, at.name),
        name="tiny",
    )


def features(sae: Dictionary, at: At) -> Tensor:
    """[s, width], by the formula."""
    assert at.truth.value is not None
    return (at.truth.value @ sae.W_enc + sae.b_enc).relu()


def _noise(clean: Tensor) -> float:
    return 2e-5 * clean.norm().item()
