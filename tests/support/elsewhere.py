"""An executor as a cluster's is: what a worker gets and gives is pickled, the last unit first."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from steer.jobs.run import Finished, Todo


def elsewhere(job: Any, model: Any, todo: Todo) -> Iterator[Finished]:
    """Run the units that are to be run, in this process."""
    sent = pickle.loads(pickle.dumps(job))
    for part in reversed(range(sent.parts)):
        opened = sent.open(model, part)
        for unit in reversed(range(opened.units)):
            if todo.has(part, unit):
                rows = pickle.loads(pickle.dumps(opened.rows(unit)))
                yield Finished(part, unit, opened.units, rows)
