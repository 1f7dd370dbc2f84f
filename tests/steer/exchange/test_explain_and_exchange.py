"""The plan before a run, the JSON Schema, and other tools' formats."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

import steer
from steer.edits import (
    Ablate,
    Add,
    AddDirection,
    Clamp,
    ClampProjection,
    Intervention,
    Scale,
)
from steer.edits.schema import json_schema
from steer.errors import InterventionError
from steer.exchange import formats as exchange
from steer.lm.passes import plain
from steer.splice import passes
from tests.support.random_edits import by_row, random_intervention
from tests.support.tiny import PROMPT, D, dictionary, silent_feature, tiny_model


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


def test_explain_gives_sites_in_forward_order_and_doses_in_all_units(model: steer.Model) -> None:
    from dataclasses import replace

    early = replace(dictionary("resid_post.0"), name="early")
    late = replace(dictionary("resid_post.2"), name="late")
    plan = model.explain(
        [Intervention("late", [Clamp(5, "2x max")]), Intervention("early", [Clamp(3, 50.0)])],
        dictionaries=[early, late],
        prompt=PROMPT,
    )
    assert [each.reads for each in plan.plans] == ["resid_post.0", "resid_post.2"]
    clamp = plan.plans[1].edits[0]
    assert late.statistics is not None
    assert clamp.value == pytest.approx(2 * late.statistics.maximum[5].item())
    assert clamp.in_max == pytest.approx(2)
    assert clamp.relative_dose is not None
    assert clamp.relative_dose > 0
    assert any("50" in str(plan) or "moves the residual" in text for text in plan.warnings)
    assert json.loads(json.dumps(plan.to_dict()))["plans"]
    assert "resid_post.0" in str(plan)


def test_explain_says_what_would_be_silent(model: steer.Model) -> None:
    given = dictionary()
    feature = silent_feature(model, given)
    plan = model.explain(
        Intervention("tiny", [Scale(feature, 3.0)]), dictionaries=[given], prompt=PROMPT
    )
    assert any("silent" in text for text in plan.warnings)


def test_every_random_intervention_satisfies_the_schema_and_survives_json() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(json_schema())
    rng = random.Random(7)
    for _ in range(100):
        plain = random_intervention(rng)
        intervention = replace(plain, edits=[by_row(rng, edit, 1, 3) for edit in plain.edits])
        data = json.loads(intervention.to_json())
        check.validate(data)
        assert Intervention.from_dict(data) == intervention
        assert Intervention.from_dict(data).digest == intervention.digest
    nested = {"kind": "ablate", "feature": 1, "positions": {"rows": [{"rows": ["all"]}]}}
    wrong: list[dict[str, Any]] = [
        {"edits": []},
        {"dictionary": "x", "edits": [], "extra": 1},
        {"dictionary": "x", "edits": [nested]},
    ]
    for broken in wrong:
        assert not check.is_valid(broken)


def test_a_steering_vector_added_by_a_plain_hook_is_the_intervention(
    model: steer.Model, tmp_path: Path
) -> None:
    given = dictionary()
    edit = Intervention("tiny", [Add(4, 2.0), AddDirection(steer.Random(3), 1.5)])
    hookpoint, vector = exchange.steering_vector(model, edit, (given,))
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([edit], [given])
    ours, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    site = model.site(hookpoint)
    theirs = plain.replace(model.nn, ids, mask, site, lambda x: x + vector)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_saved_steering_vector_loads_as_the_same_addition(
    model: steer.Model, tmp_path: Path
) -> None:
    edit = Intervention("resid_post.1", [AddDirection(steer.Random(3), 1.5)])
    exchange.save_steering_vector(model, edit, tmp_path / "v.safetensors")
    (loaded,) = exchange.load_steering_vector(tmp_path / "v.safetensors")
    assert loaded.dictionary == "resid_post.1"
    (stored,) = load_file(tmp_path / "v.safetensors").values()
    torch.testing.assert_close(exchange.steering_vector(model, loaded)[1], stored)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Clamp(1, 2.0), "depends on what the model computes"),
        (Ablate(1), "depends on what the model computes"),
        (Add(1, 2.0, positions="last"), "some tokens only"),
        (Add(1, 2.0, when=steer.Active(2)), "some tokens only"),
        (Add(1, "0.1x norm"), "differs by token"),
    ],
)
def test_what_a_vector_cannot_say_is_refused(
    model: steer.Model, edit: steer.Edit, why: str
) -> None:
    with pytest.raises(InterventionError, match=why):
        exchange.steering_vector(model, Intervention("tiny", [edit]), (dictionary(),))


def test_lm_eval_gets_an_addition_or_a_projection_clamp(model: steer.Model) -> None:
    given = dictionary()
    added = exchange.to_lm_eval(model, Intervention("tiny", [Add(4, 2.0)]), (given,))
    (entry,) = added.values()
    assert entry["action"] == "add"
    torch.testing.assert_close(entry["steering_vector"], 2.0 * given.W_dec[4])
    clamp = Intervention("resid_post.1", [ClampProjection(steer.Random(1), 3.0)])
    (entry,) = exchange.to_lm_eval(model, clamp).values()
    assert (entry["action"], entry["steering_coefficient"]) == ("clamp", 3.0)
    assert entry["steering_vector"].norm() == pytest.approx(1)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Intervention("tiny", [Add(4, 2.0)], "drop"), "can't drop or freeze the error"),
        (Intervention("resid_post.1", [ClampProjection(steer.Random(1), "0.5x norm")]), "by token"),
        (
            Intervention("resid_post.1", [ClampProjection(steer.Random(1), 2.0, positions=1)]),
            "some",
        ),
        (Intervention("resid_pre.1", [AddDirection(steer.Random(1), 2.0)]), "changes outputs"),
        (Intervention("tiny", [Clamp(4, 2.0)]), "depends on what the model computes"),
        (Intervention("tiny", [Add(4, 2.0), Add(5, 2.0)]), "one edit a hookpoint"),
    ],
)
def test_what_lm_eval_cannot_say_is_refused(
    model: steer.Model, edit: Intervention, why: str
) -> None:
    with pytest.raises(InterventionError, match=why):
        exchange.to_lm_eval(model, edit, (dictionary(),))


@pytest.mark.parametrize("target", ["vector", "lm-eval", "neuronpedia"])
def test_every_format_is_written(target: str, model: steer.Model, tmp_path: Path) -> None:
    edit, path = Intervention("tiny", [Add(4, 2.0)]), tmp_path / "edit"
    exchange.export_to(target, model, edit, path, (dictionary(),))
    wanted = 2.0 * dictionary().W_dec[4]
    match target:
        case "vector":
            (found,) = load_file(path).values()
        case "lm-eval":
            (entry,) = torch.load(path, weights_only=True).values()
            found = entry["steering_coefficient"] * entry["steering_vector"]
        case _:
            (vector,) = json.loads(path.read_text())["vectors"]
            found = vector["strength"] * torch.tensor(vector["steering_vector"])
    torch.testing.assert_close(found, wanted)


def test_neuronpedia_gets_the_vector_and_the_hook(model: steer.Model) -> None:
    text = exchange.to_neuronpedia(
        model, Intervention("tiny", [Add(4, 2.0)]), "some-model", (dictionary(),)
    )
    (vector,) = json.loads(text)["vectors"]
    assert vector["hook"] == "blocks.1.hook_resid_post"
    assert len(vector["steering_vector"]) == D


def test_repeng_and_steering_vectors_import(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    values = numpy.arange(D, dtype=numpy.float32)
    writer = GGUFWriter(tmp_path / "v.gguf", "controlvector")
    writer.add_tensor("direction.1", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (from_gguf,) = exchange.from_repeng(tmp_path / "v.gguf", 2.0)
    (from_dict,) = exchange.from_layers({1: torch.from_numpy(values)}, 2.0)
    assert from_gguf == from_dict
    assert from_gguf.dictionary == "resid_post.1"
    assert from_gguf.edits[0].value == "2x vector"  # type: ignore[attr-defined]
