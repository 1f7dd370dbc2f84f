"""`steer explain`: an intervention before it acts."""

from __future__ import annotations

from apps.cli.command import command
from apps.cli.options.edits import Edits
from apps.cli.options.run import Reading


@command("steer explain --clamp 123=5x --dictionary smollm2-135m/resid_post.20")
def explain(*, edits: Edits, run: Reading) -> None:
    """What an intervention would do, before anything is generated."""
    interventions = edits.interventions(run.dictionary)
    with run.loaded() as (model, _):
        plan = model.explain(interventions)
    run.emit(plan.to_dict(), lambda: str(plan))
