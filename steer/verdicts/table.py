"""Many edits, each with a verdict of its own: in one process, in shards, or on a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Row
from steer.edits import Intervention
from steer.errors import SilentEditError, SteerError
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Each
from steer.jobs.run import Spread, run
from steer.model import Model
from steer.progress import Progress
from steer.shown import Shown
from steer.splice.resolve import edited_contents
from steer.verdicts.claim import Claim
from steer.verdicts.protocol import RANDOM, Protocol
from steer.verdicts.register import register
from steer.verdicts.result import registered
from steer.verdicts.verify import run_protocol

if TYPE_CHECKING:
    import pandas

SILENT = "changes nothing"
"""The verdict of an edit that acts nowhere, and so has no effect to be compared."""


@dataclass(frozen=True, eq=False, repr=False)
class VerdictTable(Shown):
    """Verdicts on several edits.

    rows: one an edit: its name, and what `Verdict.to_dict` gives, the protocol with it.
    shard: such as `2/3` where these are a part of the edits; empty for all.
    """

    rows: tuple[Row, ...]
    shard: str = ""

    _columns: ClassVar = ("name", "verdict", "effect", "low", "high", "bound", "cost")

    def _title(self) -> str:
        part = f"shard {self.shard} of a " if self.shard else ""
        words = Counter(row["verdict"].partition(":")[0] for row in self.rows)
        counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
        return f"{part}VerdictTable of {len(self.rows)} edits: {counts}"

    def to_frame(self) -> pandas.DataFrame:
        """A row an edit: its verdict, its effect in logits with the interval over prompts, the
        bound of random directions and how far beyond it is, cost in nats, and what it harms."""
        import pandas

        return pandas.DataFrame([_summary(row) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"verdicts": list(self.rows)}


def verify_table(
    model: Model,
    edits: Mapping[str, Intervention],
    claims: Claim | Mapping[str, Claim] | None = None,
    *,
    dictionaries: Sequence[Dictionary] = (),
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> VerdictTable:
    """`verify` of each of several edits, by name. All are registered before one runs.

    claims: one for all, or by the names of edits; an edit without one claims its tokens itself.
    file, shard, executor: as `ablation_sweep` has them; a unit is an edit.
    settings: as `verify` has them, the same for all.

    An edit that changes nothing is a row that says so. The level of error is that of each verdict:
    of a hundred edits that do nothing of their own, so many may be called `steers`.
    Raises what `register` raises, with the edit's name, and `SteerError` for no edits and for
    claims of others.
    """
    if not edits:
        raise SteerError("no edits were given: one or more, by name")
    stated = dict.fromkeys(edits, claims) if isinstance(claims, Claim) else dict(claims or {})
    if unknown := stated.keys() - edits.keys():
        raise SteerError(f"claims of {', '.join(sorted(unknown))}, which are no edits given")
    spread = Spread.of(file, shard, executor_of(executor))
    asked = Asked(
        tuple(edits),
        tuple(
            _registered(model, name, edit, stated.get(name), dictionaries, settings)
            for name, edit in edits.items()
        ),
        tuple(dictionaries),
    )
    header = {
        "verdicts": 1,
        "model": model.fingerprint,
        "dictionaries": edited_contents(model, edits.values(), dictionaries),
        "protocols": {
            name: protocol.digest
            for name, protocol in zip(asked.names, asked.protocols, strict=True)
        },
    }
    job = Each("verdicts", "verifying", "edit", len(edits), asked.rows)
    return VerdictTable(tuple(run(job, model, spread, header, progress)), shard or "")


@dataclass(frozen=True, eq=False)
class Asked:
    """A protocol of each edit, in their order."""

    names: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    dictionaries: tuple[Dictionary, ...]

    def rows(self, model: Model, number: int) -> list[Row]:
        name, protocol = self.names[number], self.protocols[number]
        try:
            told = run_protocol(model, protocol, self.dictionaries).to_dict()
        except SilentEditError as error:
            told = {"verdict": SILENT, "why": str(error), **registered(protocol)}
        return [{"name": name, **told}]


def _registered(
    model: Model,
    name: str,
    edit: Intervention,
    claim: Claim | None,
    dictionaries: Sequence[Dictionary],
    settings: Mapping[str, Any],
) -> Protocol:
    try:
        return register(model, edit, claim, dictionaries=dictionaries, **settings)
    except SteerError as error:
        raise SteerError(f"{name}: {error}") from error


def _summary(row: Row) -> Row:
    effect: dict[str, Any] = row.get("effect", {})
    whole = effect.get("whole", {})
    controls = {control["control"]: control for control in row.get("controls", ())}
    random = controls.get(RANDOM, {})
    return {
        "name": row["name"],
        "verdict": row["verdict"],
        "why": row["why"],
        "more": row.get("claim", {}).get("more"),
        "effect": whole.get("mean"),
        "low": whole.get("low"),
        "high": whole.get("high"),
        "wrong_way": effect.get("wrong_way"),
        "cost": effect.get("cost"),
        "bound": random.get("bound"),
        "beyond": random.get("advantage", {}).get("mean"),
        "beyond_low": random.get("advantage", {}).get("low"),
        "harms": [harm["behaviour"] for harm in row.get("panel", ()) if harm["harmed"]],
        "protocol": row["digest"],
    }
