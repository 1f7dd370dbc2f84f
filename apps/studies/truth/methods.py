"""Every method of `steer.effects` that names features or edges, beside a control that asks nothing.

`dose_response` and `error_split` name none, and are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from apps.studies.truth import between_sites, to_outputs
from apps.studies.truth.asked import Asked
from apps.studies.truth.score import Tally

EXACT, SET, ESTIMATE, CONTROL = "exact", "set", "estimate", "control"


@dataclass(frozen=True)
class Method:
    """kind: `exact`, each feature's effect is measured; `set`, a set that is enough is searched
    for, which need not hold all that matters; `estimate`, from gradients; `control`."""

    name: str
    names: str
    kind: str
    ask: Callable[[Asked], Tally]


METHODS = (
    Method("ablation_sweep", "features that reach a logit", EXACT, to_outputs.sweep),
    Method("node_effects", "features that reach a logit, patched", EXACT, to_outputs.patched),
    Method("downstream", "edges from a feature", EXACT, between_sites.later),
    Method("causal_tree", "edges to a feature", EXACT, between_sites.tree),
    Method("path_effects", "parts on the way to a logit", EXACT, between_sites.routes),
    Method("pair_sweep", "pairs that interact", EXACT, to_outputs.together),
    Method("logit_effect", "logits that a feature reaches", EXACT, to_outputs.promoted),
    Method("direct_logit_effect", "logits that read a feature", EXACT, to_outputs.direct),
    Method("minimal_set", "features that carry a difference", SET, to_outputs.minimal),
    Method("flat_acdc", "features that reach any logit", SET, to_outputs.acdc),
    Method("attribution, atp", "features that reach a logit", ESTIMATE,
           partial(to_outputs.estimate, "atp")),
    Method("attribution, ig", "features that reach a logit", ESTIMATE,
           partial(to_outputs.estimate, "ig")),
    Method("activation alone", "features that reach a logit", CONTROL, to_outputs.activation),
)  # fmt: skip
