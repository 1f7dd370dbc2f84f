"""The public interface, name by name, and that importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import steer
from tests.support import ROOT

NAMES: list[str] = [
    "Ablate",
    "AblateSubspace",
    "Active",
    "Add",
    "AddDirection",
    "After",
    "Against",
    "Cap",
    "CapProjection",
    "Certificate",
    "Claim",
    "Clamp",
    "ClampProjection",
    "ClampSubspace",
    "Concept",
    "Decay",
    "DecoderRow",
    "Dictionary",
    "DictionaryError",
    "Difference",
    "Divergence",
    "Edit",
    "Explanation",
    "FeatureActivations",
    "FetchError",
    "First",
    "Floor",
    "FloorProjection",
    "Freeze",
    "HookpointError",
    "Intervention",
    "InterventionError",
    "LogProbability",
    "LogitDifference",
    "LogitEffect",
    "Loss",
    "Model",
    "ModelError",
    "NonFiniteError",
    "Patch",
    "ProjectOut",
    "PromptError",
    "Ramp",
    "Random",
    "Receipt",
    "Resample",
    "Rows",
    "Run",
    "Scale",
    "ScaleSubspace",
    "Screen",
    "Seen",
    "SilentEditError",
    "SilentEditWarning",
    "SteerError",
    "Stream",
    "Subspace",
    "Tokens",
    "Vector",
    "Verdict",
    "VerdictTable",
    "ablation_sweep",
    "attribution",
    "causal_tree",
    "certify",
    "compare",
    "completeness",
    "concept",
    "concept_table",
    "direct_logit_effect",
    "dose_response",
    "downstream",
    "error_split",
    "faithfulness",
    "flat_acdc",
    "load",
    "logit_effect",
    "minimal_set",
    "node_effects",
    "pair_sweep",
    "parse_condition",
    "parse_schedule",
    "patch_curve",
    "path_effects",
    "prompt_pairs",
    "verify",
    "verify_again",
    "verify_table",
]


def test_the_names() -> None:
    assert steer.__all__ == NAMES
    assert dir(steer) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_importable_and_documented(name: str) -> None:
    member = getattr(steer, name)
    assert member.__doc__
    assert member.__name__ == name


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Stear'"):
        _ = steer.Stear


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the code."""
    report = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"torch", "transformers", "nnsight", "numpy", "pandas", "gradio", "huggingface_hub"}


@pytest.mark.parametrize(
    "code",
    [
        "import steer",
        "import apps.cli",
    ],
)
def test_importing_is_light(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_using_it_is_what_loads_the_rest() -> None:
    assert "torch" in loaded_by("import steer; steer.load")
