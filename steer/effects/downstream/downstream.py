"""Which features of a later dictionary an edit changes, by how much, and at which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.disk.remembered import digest
from steer.edits import Intervention
from steer.edits.positions import Positions, canonical
from steer.effects.controls.compared import Equals
from steer.effects.defaults import TEXT
from steer.effects.downstream.result import Downstream
from steer.effects.downstream.units import Reading, read
from steer.effects.passes.edited import silent, written_site
from steer.errors import InterventionError
from steer.jobs.executors import Executor, executor_of
from steer.jobs.run import Spread, run
from steer.lm.anatomy import Site
from steer.lm.prompts import as_texts
from steer.maths.precision import compute_dtype
from steer.model import Model
from steer.progress import Progress
from steer.splice.resolve import edited_contents


def downstream(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention,
    other: Dictionary,
    *,
    at: Positions = TEXT,
    dictionaries: Sequence[Dictionary] = (),
    draws: int = 8,
    seed: int = 0,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> Downstream:
    """What an intervention does to the features of a dictionary that reads a later site.

    at: which tokens count; by default all but the first, whose massive activation sets off
        thousands of features. Tokens before the first edited one cannot change.
    dictionaries: to look the intervention's up in before the catalogue.
    draws: controls of each kind a prompt, see `steer.effects.controls.compared`; 0 for none.
    file, shard, executor: as `ablation_sweep` has them; a shard has its own prompts alone.

    The edited run starts at the first edited token and the clean one at the first token, so that
    changes of a millionth of an activation are rounding.

    Raises `InterventionError` if `other` reads no later site than the intervention writes,
    `SilentEditError` if nothing is changed on any prompt, `SteerError` for a file of something
    else, and what `Model.plans` raises.
    """
    texts = as_texts(prompts)
    site = model.site(model.site_of(other))
    _check_order(written_site(model, intervention, dictionaries, len(texts)), site, other)
    Equals.of(model, intervention, dictionaries, draws, seed)  # refused before anything runs
    spread = Spread.of(file, shard, executor_of(executor))
    given = tuple(dictionaries)
    job = Reading(texts, intervention, given, other, at, draws, seed)
    rows = run(job, model, spread, _header(model, job), progress)
    if spread.whole and not any(row["acted"] for row in rows):
        raise silent(intervention, len(texts))
    dtype = compute_dtype(model.module.dtype)
    prompted = [read(row, other.width, dtype) for row in rows]
    return Downstream(
        changed=tuple(changed for changed, _ in prompted),
        prompts=tuple(texts[row["prompt"]] for row in rows),
        dictionary=other.name,
        intervention=intervention.to_json(),
        at=str(at),
        dtype=model.precision,
        matched=next((matched for _, matched in prompted if matched), None),
        shard=shard or "",
    )


def _header(model: Model, job: Reading) -> dict[str, Any]:
    """What is read: a file of something else is refused."""
    other = job.other
    return {
        "downstream": 1,
        "model": model.fingerprint,
        "dtype": model.precision,
        "dictionary": dictionary_content(other),
        "intervention": job.intervention.to_dict(),
        "edited": edited_contents(model, [job.intervention], job.dictionaries),
        "prompts": digest(job.prompts),
        "at": repr(canonical(job.at)),
        "draws": [job.draws, job.seed],
    }


def _check_order(written: Site, read: Site, other: Dictionary) -> None:
    if read.hookpoint.order <= written.hookpoint.order:
        raise InterventionError(
            f"{other.name or 'the other dictionary'} reads {read.hookpoint}, and the intervention "
            f"writes {written.hookpoint}: name a dictionary of a later site"
        )
