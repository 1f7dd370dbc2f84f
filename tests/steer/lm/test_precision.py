"""Results of a model whose weights are packed say so; those of any other name its dtype alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.features.contrast import feature_contrast
from steer.lm.placement import packing_of
from steer.serving.proof import about
from steer.verdicts.register import register
from steer.verdicts.verify import run_protocol
from tests.support import ROOT, tiny
from tests.support.command import Run

pytestmark = pytest.mark.filterwarnings("ignore")
SITE = "resid_post.1"
EDIT = steer.Intervention(SITE, [steer.AddDirection(steer.Random(3), 2.0)])


def dictionary() -> Dictionary:
    return tiny.dictionary(SITE, d=tiny.PACKABLE_D)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes")
    folder = tmp_path_factory.mktemp("packable")
    tiny.save_packable(folder)
    return folder


@pytest.fixture(scope="module")
def packed(folder: Path) -> steer.Model:
    return steer.load(folder, quantization="4bit")


IN_PACKED = "float32 with 4bit weights"
RESULTS: dict[str, Callable[[steer.Model], Any]] = {
    "run": lambda model: model.generate(tiny.PROMPT, EDIT, max_new_tokens=2),
    "explanation": lambda model: model.explain(EDIT, prompt=tiny.PROMPT),
    "effect": lambda model: steer.logit_effect(model, tiny.PROMPT, EDIT, draws=0),
    "sweep": lambda model: steer.ablation_sweep(model, [tiny.PROMPT], dictionary()),
    "check": lambda model: model.check(dictionary(), [" ".join(tiny.PROMPTS * 20)]),
    "contrast": lambda model: feature_contrast(model, dictionary(), ["w7 w9"] * 2, ["w8 w3"] * 2),
    "proof": lambda model: SimpleNamespace(**about(model, "m", [])),
}


@pytest.mark.parametrize("of", RESULTS)
def test_results_name_packed_weights(of: str, packed: steer.Model) -> None:
    assert RESULTS[of](packed).dtype == IN_PACKED
    assert packed.dtype == "float32"


def test_lm_eval_s_results_name_them(packed: steer.Model) -> None:
    """Its own `model_dtype` is the module's."""
    pytest.importorskip("lm_eval")
    from steer.evals.lm_eval.model import SteerLM

    assert SteerLM(packed).get_model_info()["steer"]["dtype"] == IN_PACKED


@pytest.mark.parametrize("quantization", [None, "4bit", "8bit"])
def test_a_model_says_how_its_weights_are_held(quantization: str | None, folder: Path) -> None:
    model = steer.load(folder, quantization=quantization)
    weights = f" with {quantization} weights" if quantization else ""
    assert model.precision == f"float32{weights}"
    assert f"float32{weights} on" in repr(model)


def test_the_command_says_it_too(folder: Path, run: Run) -> None:
    EDIT.save(edit := folder / "edit.json")
    asked = ["generate", tiny.PROMPT, "--model", folder, "--quantize", "4bit", "--edit", edit]
    assert f"decoded in {IN_PACKED}" in " ".join(run(*asked).out.split())
    assert json.loads(run(*asked, "--json").out)["dtype"] == IN_PACKED


def test_a_protocol_of_packed_weights_is_not_run_on_others(
    folder: Path, packed: steer.Model, tmp_path: Path
) -> None:
    """It tells both by name, and not by the fingerprint alone."""
    protocol = register(packed, EDIT, prompts=[tiny.PROMPT] * 40)
    with pytest.raises(SteerError, match=f"dtype was {IN_PACKED}, and is float32"):
        run_protocol(steer.load(folder), protocol)


def test_no_result_is_made_with_the_dtype_alone() -> None:
    """A field or key `dtype` gets `model.precision`, except where it is an option of loading."""
    made = re.compile(r"""["']?dtype["']?\s*[=:]\s*[\w.]*model\.dtype""")
    sources = [path for room in ("steer", "apps") for path in (ROOT / room).rglob("*.py")]
    found = [path.relative_to(ROOT) for path in sources if made.search(path.read_text())]
    assert found == [Path("apps/same_model.py")]


def test_however_weights_were_packed() -> None:
    """By other methods than bitsandbytes', and without transformers' mark."""
    gptq = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="gptq", bits=4))
    mxfp4 = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="mxfp4"))
    marked = [SimpleNamespace(is_quantized=True, hf_quantizer=how) for how in (gptq, mxfp4)]
    assert [packing_of(module) for module in marked] == ["4bit gptq", "mxfp4"]
    by_hand = torch.nn.Linear(2, 2)
    assert packing_of(by_hand) == ""
    by_hand.weight = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
    assert packing_of(by_hand) == "int8"
