"""What an intervention would do, before anything is generated.

The plan is run once on a neutral text without generating, so that doses are measured rather than
guessed: how far each edit would move the residual stream relative to its norm. What that says of
other texts is the forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.edits import Edit, Intervention
from steer.edits.conflicts import conflicts, named
from steer.edits.rows import of_row, row_count
from steer.lm.language_model import LanguageModel
from steer.lm.prompts import read_prompt
from steer.runs.forecast import Forecast, forecast
from steer.runs.forecast_maps import Maps, maps_of
from steer.splice.build_receipt import build
from steer.splice.edited import edited_logits
from steer.splice.plan import LoweredEdit, SitePlan
from steer.splice.receipt import EditReceipt
from steer.splice.resolve import by_name, dictionary_of, plans

NEUTRAL = "The committee met on Tuesday to discuss the plans for the new library in the town."
FLUENT_DOSE = 0.6
"""‖Δ‖/‖x‖ per token beyond which text falls apart on the default model: there the continuation
costs the untouched model 2 nats per token more than its own does (`steer calibrate`; README)."""

SOURCE_BYTES = 200_000
"""About what our source takes in a remote payload, beside the plans' tensors."""


@dataclass(frozen=True)
class EditPlan:
    """One edit as it will run.

    when, schedule: its condition and its strength over decoding steps, None if it has none.
    value: in activation units (None if it differs by token, or the edit has none).
    in_max: the value in multiples of the feature's max, if statistics are there.
    relative_dose: median ‖Δ‖/‖x‖ over the neutral text's tokens that it acts on.
    silent: why it would do nothing on the neutral text, if so.
    """

    kind: str
    feature: int | None
    positions: str
    when: str | None
    schedule: str | None
    value: float | None
    in_max: float | None
    relative_dose: float | None
    silent: str | None


@dataclass(frozen=True)
class InterventionPlan:
    """One intervention: where it reads and writes, its edits, and its cost a token.

    writes: of a cross-layer transcoder the first site and the last, `mlp_out.3 to mlp_out.9`.
    conflicts: edits that can touch the same token of one feature, each starting from what the one
        before it left; without conflicts='in_order' they are refused.
    flops_share: multiply-adds per token over those of the model.
    payload_bytes: of the tensors that a remote run carries: the edited rows, or the whole
        dictionary where it can't be split.
    """

    dictionary: str
    reads: str
    writes: str
    error: str
    edits: tuple[EditPlan, ...]
    conflicts: tuple[str, ...]
    flops_share: float
    payload_bytes: int


@dataclass(frozen=True, repr=False)
class Explanation:
    """Plans in the order of the forward pass, and what to be warned of."""

    model: str
    dtype: str
    plans: tuple[InterventionPlan, ...]
    warnings: tuple[str, ...]
    forecast: Forecast | None = None
    """What to expect on other texts; None if nothing moves on the neutral one."""

    @property
    def payload_bytes(self) -> int:
        """About what a remote run sends: the plans' tensors and our source."""
        return SOURCE_BYTES + sum(plan.payload_bytes for plan in self.plans)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"payload_bytes": self.payload_bytes}

    def __str__(self) -> str:
        lines = [f"{self.model}, {self.dtype}"]
        for plan in self.plans:
            where = plan.reads if plan.reads == plan.writes else f"{plan.reads} -> {plan.writes}"
            lines.append(
                f"{where}  {plan.dictionary}, error {plan.error}, "
                f"+{plan.flops_share:.3%} compute, {plan.payload_bytes:,} bytes of tensors"
            )
            lines += [f"  {_line(edit)}" for edit in plan.edits]
            lines += [f"  in order: {conflict}" for conflict in plan.conflicts]
        lines += [] if self.forecast is None else self.forecast.lines()
        lines.append(
            f"a remote run sends about {self.payload_bytes / 1e6:.1f} MB, our source included"
        )
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    __repr__ = __str__


def _line(edit: EditPlan) -> str:
    what = f"{edit.kind} {'' if edit.feature is None else edit.feature}".strip()
    parts = [f"{what} at {edit.positions}"]
    parts += [f"when {edit.when}"] if edit.when else []
    parts += [f"strength {edit.schedule}"] if edit.schedule else []
    if edit.value is not None:
        parts.append(f"value {edit.value:.4g}")
    if edit.in_max is not None:
        parts.append(f"{edit.in_max:.3g}x max")
    if edit.relative_dose is not None:
        parts.append(f"relative dose {edit.relative_dose:.2g}")
    if edit.silent:
        parts.append(f"silent on the neutral text: {edit.silent}")
    return ", ".join(parts)


def explain(
    model: LanguageModel,
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary] = (),
    prompt: str = NEUTRAL,
) -> Explanation:
    """The plan of interventions applied together. Raises whatever a run of them would raise.

    Positions by row are measured on as many copies of the prompt.
    """
    read = read_prompt(model, prompt)
    rows = row_count(interventions) or 1
    ids, mask = model.pad([read.ids] * (1 + rows))
    lowered = plans(model, interventions, dictionaries, rows=slice(1, 1 + rows), clean=slice(0, 1))
    logits, records = edited_logits(model, ids, model.span(ids, mask), lowered)
    tokens = [model.token(token) for token in read.ids]
    receipts = [
        build(of_row(interventions, row, rows), [records], tokens, row=row) for row in range(rows)
    ]
    entries, described = zip(*receipts, strict=True), []
    maps: list[Maps] = []
    given = by_name(dictionaries)
    for intervention, plan in zip(interventions, lowered, strict=True):
        known = dictionary_of(model, intervention, given)
        edits = tuple(_edit_plan(edit, known, next(entries)) for edit in plan.edits)
        maps.append(maps_of(model, plan, known))
        described.append((plan, _describe(model, intervention, plan, edits)))
    described.sort(key=lambda pair: pair[0].site.hookpoint.order)
    ordered = tuple(edit for _, edit in described)
    expected = forecast(model, logits, lowered, records, maps)
    return Explanation(model.name, model.precision, ordered, tuple(_warnings(ordered)), expected)


def _describe(
    model: LanguageModel, intervention: Intervention, plan: SitePlan, edits: tuple[EditPlan, ...]
) -> InterventionPlan:
    tensors = [plan.W_dec, *(place.W_dec for place in plan.later)]
    if plan.dictionary is not None:
        tensors += [getattr(plan.dictionary, name) for name in plan.dictionary.tensor_names()]
    numbers = sum(tensor.numel() for tensor in tensors)
    return InterventionPlan(
        dictionary=intervention.dictionary,
        reads=str(plan.site.hookpoint),
        writes=" to ".join(dict.fromkeys(str(plan.outs[end].hookpoint) for end in (0, -1))),
        error=plan.error,
        edits=edits,
        conflicts=tuple(
            f"{one.kind} at {one.positions!r}, then {other.kind} at {other.positions!r} of "
            f"{named(one)}"
            for one, other in conflicts(plan.edits)
        ),
        flops_share=numbers / sum(p.numel() for p in model.module.parameters()),
        payload_bytes=plan.nbytes,
    )


def _edit_plan(
    lowered: LoweredEdit, dictionary: Dictionary | None, by_row: Sequence[EditReceipt]
) -> EditPlan:
    edit = lowered.edit
    valued = edit.numbers.adds or edit.numbers.floors or edit.numbers.caps
    fixed = valued and lowered.table is None and not lowered.per_norm
    doses = [token.relative_dose for row in by_row for token in row.tokens if token.position > 0]
    return EditPlan(
        kind=edit.kind,
        feature=by_row[0].feature,
        positions=str(edit.positions),
        when=None if edit.when is None else str(edit.when),
        schedule=None if edit.schedule is None else str(edit.schedule),
        value=lowered.amount if fixed else None,
        in_max=_in_max(edit, lowered, dictionary) if fixed else None,
        relative_dose=median(doses) if doses else None,
        silent=_silent([row.reason for row in by_row]),
    )


def _silent(reasons: Sequence[str | None]) -> str | None:
    if len(reasons) == 1:
        return reasons[0]
    named = [f"row {row}: {reason}" for row, reason in enumerate(reasons) if reason]
    return "; ".join(named) or None


def _in_max(edit: Edit, lowered: LoweredEdit, dictionary: Dictionary | None) -> float | None:
    feature = getattr(edit, "feature", None)
    if dictionary is None or dictionary.statistics is None or feature is None:
        return None
    largest = dictionary.statistics.maximum[feature].item()
    return lowered.amount / largest if largest > 0 else None


def _warnings(plans: Sequence[InterventionPlan]) -> list[str]:
    warnings = []
    for plan in plans:
        for edit in plan.edits:
            if edit.relative_dose is not None and edit.relative_dose > FLUENT_DOSE:
                warnings.append(
                    f"{edit.kind} {edit.feature} moves the residual by {edit.relative_dose:.2g} of "
                    f"its norm; beyond {FLUENT_DOSE} text fell apart on the default model"
                )
            if edit.silent:
                warnings.append(f"{edit.kind} {edit.feature} may do nothing: {edit.silent}")
    return warnings
