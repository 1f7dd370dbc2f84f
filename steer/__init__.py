"""Change a language model through the features of a sparse dictionary, and prove what changed.

    import steer

    model = steer.load("smollm2-135m")
    sae = model.dictionary("smollm2-135m/resid_post.20")
    edit = steer.Intervention("smollm2-135m/resid_post.20", [steer.Clamp(123, "5x max")])
    run = model.generate("The old bridge", edit)

Names are imported when they are first used, so that `import steer` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dictionaries.base import Dictionary as Dictionary
    from steer.conditions import Active as Active
    from steer.conditions import Seen as Seen
    from steer.directions import DecoderRow as DecoderRow
    from steer.directions import Difference as Difference
    from steer.directions import Random as Random
    from steer.directions import Vector as Vector
    from steer.edits import Ablate as Ablate
    from steer.edits import Add as Add
    from steer.edits import AddDirection as AddDirection
    from steer.edits import Cap as Cap
    from steer.edits import Clamp as Clamp
    from steer.edits import ClampProjection as ClampProjection
    from steer.edits import Edit as Edit
    from steer.edits import Floor as Floor
    from steer.edits import Intervention as Intervention
    from steer.edits import Patch as Patch
    from steer.edits import ProjectOut as ProjectOut
    from steer.edits import Resample as Resample
    from steer.edits import Scale as Scale
    from steer.effects.acdc import flat_acdc as flat_acdc
    from steer.effects.attribution import attribution as attribution
    from steer.effects.attribution_result import compare as compare
    from steer.effects.direct_effect import direct_logit_effect as direct_logit_effect
    from steer.effects.dose import dose_response as dose_response
    from steer.effects.downstream import downstream as downstream
    from steer.effects.error_split import error_split as error_split
    from steer.effects.logit_result import LogitEffect as LogitEffect
    from steer.effects.logits import logit_effect as logit_effect
    from steer.effects.metric import Divergence as Divergence
    from steer.effects.metric import LogitDifference as LogitDifference
    from steer.effects.metric import LogProbability as LogProbability
    from steer.effects.metric import Loss as Loss
    from steer.effects.minimal import minimal_set as minimal_set
    from steer.effects.patching import completeness as completeness
    from steer.effects.patching import faithfulness as faithfulness
    from steer.effects.patching import node_effects as node_effects
    from steer.effects.patching import patch_curve as patch_curve
    from steer.effects.paths import Freeze as Freeze
    from steer.effects.paths import path_effects as path_effects
    from steer.effects.prompt_pairs import prompt_pairs as prompt_pairs
    from steer.effects.sweep import ablation_sweep as ablation_sweep
    from steer.effects.sweep import pair_sweep as pair_sweep
    from steer.effects.sweep_controls import Against as Against
    from steer.effects.tree import causal_tree as causal_tree
    from steer.errors import DictionaryError as DictionaryError
    from steer.errors import FetchError as FetchError
    from steer.errors import HookpointError as HookpointError
    from steer.errors import InterventionError as InterventionError
    from steer.errors import ModelError as ModelError
    from steer.errors import PromptError as PromptError
    from steer.errors import SilentEditError as SilentEditError
    from steer.errors import SteerError as SteerError
    from steer.explain import Explanation as Explanation
    from steer.features import FeatureActivations as FeatureActivations
    from steer.loading import load as load
    from steer.model import Model as Model
    from steer.phrases import parse_condition as parse_condition
    from steer.phrases import parse_schedule as parse_schedule
    from steer.positions import Rows as Rows
    from steer.positions import Tokens as Tokens
    from steer.receipt import Receipt as Receipt
    from steer.receipt import SilentEditWarning as SilentEditWarning
    from steer.runs import Run as Run
    from steer.schedules import After as After
    from steer.schedules import Decay as Decay
    from steer.schedules import First as First
    from steer.schedules import Ramp as Ramp
    from steer.stream import Stream as Stream

_HOMES = {
    "Ablate": "steer.edits",
    "Active": "steer.conditions",
    "Add": "steer.edits",
    "AddDirection": "steer.edits",
    "After": "steer.schedules",
    "Against": "steer.effects.sweep_controls",
    "Cap": "steer.edits",
    "Clamp": "steer.edits",
    "ClampProjection": "steer.edits",
    "Decay": "steer.schedules",
    "DecoderRow": "steer.directions",
    "Dictionary": "dictionaries.base",
    "DictionaryError": "steer.errors",
    "Difference": "steer.directions",
    "Divergence": "steer.effects.metric",
    "Edit": "steer.edits",
    "Explanation": "steer.explain",
    "FeatureActivations": "steer.features",
    "FetchError": "steer.errors",
    "First": "steer.schedules",
    "Floor": "steer.edits",
    "Freeze": "steer.effects.paths",
    "HookpointError": "steer.errors",
    "Intervention": "steer.edits",
    "InterventionError": "steer.errors",
    "LogProbability": "steer.effects.metric",
    "LogitDifference": "steer.effects.metric",
    "LogitEffect": "steer.effects.logit_result",
    "Loss": "steer.effects.metric",
    "Model": "steer.model",
    "ModelError": "steer.errors",
    "Patch": "steer.edits",
    "ProjectOut": "steer.edits",
    "PromptError": "steer.errors",
    "Ramp": "steer.schedules",
    "Random": "steer.directions",
    "Receipt": "steer.receipt",
    "Resample": "steer.edits",
    "Rows": "steer.positions",
    "Run": "steer.runs",
    "Scale": "steer.edits",
    "Seen": "steer.conditions",
    "SilentEditError": "steer.errors",
    "SilentEditWarning": "steer.receipt",
    "SteerError": "steer.errors",
    "Stream": "steer.stream",
    "Tokens": "steer.positions",
    "Vector": "steer.directions",
    "ablation_sweep": "steer.effects.sweep",
    "attribution": "steer.effects.attribution",
    "causal_tree": "steer.effects.tree",
    "compare": "steer.effects.attribution_result",
    "completeness": "steer.effects.patching",
    "direct_logit_effect": "steer.effects.direct_effect",
    "dose_response": "steer.effects.dose",
    "downstream": "steer.effects.downstream",
    "error_split": "steer.effects.error_split",
    "faithfulness": "steer.effects.patching",
    "flat_acdc": "steer.effects.acdc",
    "load": "steer.loading",
    "logit_effect": "steer.effects.logits",
    "minimal_set": "steer.effects.minimal",
    "node_effects": "steer.effects.patching",
    "pair_sweep": "steer.effects.sweep",
    "parse_condition": "steer.phrases",
    "parse_schedule": "steer.phrases",
    "patch_curve": "steer.effects.patching",
    "path_effects": "steer.effects.paths",
    "prompt_pairs": "steer.effects.prompt_pairs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'steer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
