"""What the folder of every experiment offers: who has read one knows all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from apps.reproduce.result import Claim, Table
from apps.reproduce.settings import Settings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@runtime_checkable
class ExperimentModule(Protocol):
    """`eN_word/experiment.py`, which measures.

    run: everything, for `tabulate` of the table beside it.
    """

    run: Callable[[Settings], Table]


@runtime_checkable
class TableModule(Protocol):
    """`eN_word/table.py`, which computes no more than what is said of the findings.

    COLUMNS: name -> what it is, with its unit.
    tabulate: the findings -> their table, with `claims` and `figure` in it.
    claims: the findings -> what papers say of them, and whether it holds here.
    figure: the table -> its plot.
    """

    COLUMNS: dict[str, str]
    tabulate: Callable[..., Table]
    claims: Callable[..., Sequence[Claim]]
    figure: Callable[[Table], Figure]
