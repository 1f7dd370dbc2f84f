"""Change a language model through the features of a sparse dictionary, and prove what changed.

    import steer

    model = steer.load("smollm2-135m")
    sae = model.dictionary("smollm2-135m/resid_post.20")
    edit = steer.Intervention("smollm2-135m/resid_post.20", [steer.Clamp(123, "5x max")])
    run = model.generate("The old bridge", edit)

Names are imported when they are first used, so that `import steer` costs nothing. The block for
type checkers is the one table of them: it is read for where each name is.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary as Dictionary
    from steer.certificates.certificate import Certificate as Certificate
    from steer.certificates.certify import certify as certify
    from steer.concepts.concept import concept as concept
    from steer.concepts.concept import concept_table as concept_table
    from steer.concepts.result import Concept as Concept
    from steer.edits import Ablate as Ablate
    from steer.edits import AblateSubspace as AblateSubspace
    from steer.edits import Add as Add
    from steer.edits import AddDirection as AddDirection
    from steer.edits import Cap as Cap
    from steer.edits import CapProjection as CapProjection
    from steer.edits import Clamp as Clamp
    from steer.edits import ClampProjection as ClampProjection
    from steer.edits import ClampSubspace as ClampSubspace
    from steer.edits import Edit as Edit
    from steer.edits import Floor as Floor
    from steer.edits import FloorProjection as FloorProjection
    from steer.edits import Intervention as Intervention
    from steer.edits import Patch as Patch
    from steer.edits import ProjectOut as ProjectOut
    from steer.edits import Resample as Resample
    from steer.edits import Scale as Scale
    from steer.edits import ScaleSubspace as ScaleSubspace
    from steer.edits import Subspace as Subspace
    from steer.edits.conditions import Active as Active
    from steer.edits.conditions import Seen as Seen
    from steer.edits.directions import DecoderRow as DecoderRow
    from steer.edits.directions import Difference as Difference
    from steer.edits.directions import Random as Random
    from steer.edits.directions import Vector as Vector
    from steer.edits.phrases import parse_condition as parse_condition
    from steer.edits.phrases import parse_schedule as parse_schedule
    from steer.edits.positions import Rows as Rows
    from steer.edits.positions import Tokens as Tokens
    from steer.edits.schedules import After as After
    from steer.edits.schedules import Decay as Decay
    from steer.edits.schedules import First as First
    from steer.edits.schedules import Ramp as Ramp
    from steer.effects.attribution.attribution import attribution as attribution
    from steer.effects.attribution.result import compare as compare
    from steer.effects.dose.dose_response import dose_response as dose_response
    from steer.effects.downstream.downstream import downstream as downstream
    from steer.effects.logits.error_split import error_split as error_split
    from steer.effects.logits.logit_effect import logit_effect as logit_effect
    from steer.effects.logits.result import LogitEffect as LogitEffect
    from steer.effects.metric import Divergence as Divergence
    from steer.effects.metric import LogitDifference as LogitDifference
    from steer.effects.metric import LogProbability as LogProbability
    from steer.effects.metric import Loss as Loss
    from steer.effects.patching.acdc import flat_acdc as flat_acdc
    from steer.effects.patching.minimal_set import minimal_set as minimal_set
    from steer.effects.patching.patching import completeness as completeness
    from steer.effects.patching.patching import faithfulness as faithfulness
    from steer.effects.patching.patching import node_effects as node_effects
    from steer.effects.patching.patching import patch_curve as patch_curve
    from steer.effects.patching.prompt_pairs import prompt_pairs as prompt_pairs
    from steer.effects.paths.direct import direct_logit_effect as direct_logit_effect
    from steer.effects.paths.path_effects import Freeze as Freeze
    from steer.effects.paths.path_effects import path_effects as path_effects
    from steer.effects.sweep.ablation_sweep import ablation_sweep as ablation_sweep
    from steer.effects.sweep.ablation_sweep import pair_sweep as pair_sweep
    from steer.effects.sweep.controls import Against as Against
    from steer.effects.sweep.screen import Screen as Screen
    from steer.effects.tree.causal_tree import causal_tree as causal_tree
    from steer.errors import DictionaryError as DictionaryError
    from steer.errors import FetchError as FetchError
    from steer.errors import HookpointError as HookpointError
    from steer.errors import InterventionError as InterventionError
    from steer.errors import ModelError as ModelError
    from steer.errors import NonFiniteError as NonFiniteError
    from steer.errors import PromptError as PromptError
    from steer.errors import SilentEditError as SilentEditError
    from steer.errors import SteerError as SteerError
    from steer.features.activations import FeatureActivations as FeatureActivations
    from steer.loading import load as load
    from steer.model import Model as Model
    from steer.runs.explain import Explanation as Explanation
    from steer.runs.generate import Run as Run
    from steer.runs.stream import Stream as Stream
    from steer.splice.receipt import Receipt as Receipt
    from steer.splice.receipt import SilentEditWarning as SilentEditWarning
    from steer.verdicts.claim import Claim as Claim
    from steer.verdicts.result import Verdict as Verdict
    from steer.verdicts.table import VerdictTable as VerdictTable
    from steer.verdicts.table import verify_table as verify_table
    from steer.verdicts.verify import verify as verify
    from steer.verdicts.verify import verify_again as verify_again


@cache
def _homes() -> dict[str, str]:
    """The module of each public name."""
    nodes = ast.walk(ast.parse(Path(__file__).read_text("utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {a.asname: node.module or "" for node in imports for a in node.names if a.asname}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_homes())
    if name not in _homes():
        raise AttributeError(f"module 'steer' has no attribute {name!r}")
    return getattr(import_module(_homes()[name]), name)


def __dir__() -> list[str]:
    return sorted(_homes())
