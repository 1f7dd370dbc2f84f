"""A verdict on an edit by a protocol that is registered before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.errors import SteerError
from steer.model import Model
from steer.progress import Progress
from steer.verdicts.arms import Arms
from steer.verdicts.claim import Claim
from steer.verdicts.compare import comparisons, effect_of, harms
from steer.verdicts.cost import prices
from steer.verdicts.decide import decide
from steer.verdicts.frozen import frozen_weights
from steer.verdicts.measure import measure
from steer.verdicts.protocol import Protocol
from steer.verdicts.register import contents, differences, register, testable_plan, weights
from steer.verdicts.result import Verdict, read, registered, write


def verify(
    model: Model,
    intervention: Intervention,
    claim: Claim | None = None,
    *,
    dictionaries: Sequence[Dictionary] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Verdict:
    """Whether an edit moves the claimed tokens more than its controls do, at the same cost.

    claim: None if the edit is to claim its tokens itself, on prompts that are then not used again.
        Tokens that were read off this very edit are no claim: leave it out.
    out: a file that gets the protocol before anything runs, and the verdict when it is there.
    settings: see `steer.verdicts.register.register`: prompts, seed, draws, frozen, …

    Raises what `register` raises, and `SilentEditError` for an edit that changes nothing.
    """
    protocol = register(model, intervention, claim, dictionaries=dictionaries, **settings)
    if out is not None:
        write(out, registered(protocol))
    verdict = run_protocol(model, protocol, dictionaries, progress=progress)
    if out is not None:
        verdict.save(out)
    return verdict


def run_protocol(
    model: Model,
    protocol: Protocol,
    dictionaries: Sequence[Dictionary] = (),
    *,
    progress: Progress | None = None,
) -> Verdict:
    """Do what a protocol says.

    Raises `SteerError` for another model or dictionary than those it was written for.
    """
    now: dict[str, object] = {
        "fingerprint": model.fingerprint,
        "dtype": model.precision,
        "weights": weights(model, protocol.intervention, dictionaries),
    }
    if protocol.contents is not None:
        now["contents"] = contents(model, protocol.intervention, dictionaries)
    if protocol.frozen is not None:
        plan = testable_plan(model, protocol.intervention, dictionaries)
        now["frozen_weights"] = frozen_weights(model, protocol.frozen, plan, dictionaries)
    if other := differences(protocol, now):
        raise SteerError(f"protocol {protocol.digest} is of something else: {'; '.join(other)}")
    arms = Arms.of(model, protocol, dictionaries)
    if progress:
        progress("cost", 0, 1)
    priced = prices(arms)
    measured = measure(arms, priced, progress)
    effect = effect_of(measured, priced, protocol)
    controls = tuple(comparisons(arms, measured, priced))
    panel = tuple(harms(measured, protocol))
    return Verdict(
        decision=decide(effect, controls, panel, protocol),
        claim=protocol.claim or measured.sides.named(model),
        chosen=protocol.claim is None,
        effect=effect,
        controls=controls,
        panel=panel,
        untested=measured.untested,
        by_norm=priced.by_norm,
        protocol=protocol,
    )


@dataclass(frozen=True)
class Again:
    """A verdict from the protocol in a file, beside the one that the file holds.

    said: None for a protocol that was registered and not run.
    """

    verdict: Verdict
    said: str | None

    @property
    def same(self) -> bool:
        """Whether the words are the same; how many more prompts are asked for may differ."""
        said, now = (
            verdict.partition(":")[0] for verdict in (self.said or "", self.verdict.verdict)
        )
        return self.said is None or said == now


def verify_again(
    model: Model,
    path: str | Path,
    *,
    dictionaries: Sequence[Dictionary] = (),
    progress: Progress | None = None,
) -> Again:
    """Run the protocol that a file holds, as `verify(out=…)` wrote it; the file stays as it is.

    Raises `SteerError` for a file that is none or was changed, another model, or other weights.
    """
    protocol, said = read(path)
    return Again(run_protocol(model, protocol, dictionaries, progress=progress), said)
