"""Verdicts on planted features, of which is known what is real."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from apps.studies.planted import REAL, Planted, planted
from steer.errors import InterventionError, SilentEditError, SteerError
from steer.verdicts.arms import Arms
from steer.verdicts.cost import prices
from steer.verdicts.panel import Behaviour
from steer.verdicts.protocol import Protocol
from steer.verdicts.register import register


@cache
def world() -> Planted:
    return planted()


@cache
def settings() -> dict[str, Any]:
    return {
        "dictionaries": (world().dictionary,),
        "prompts": tuple((text,) for text in world().texts(14, 8, 1)),
        "neutral": tuple(world().texts(3, 20, 2)),
        "panel": (),
        "choosing": 4,
        "tokens": 5,
        "draws": 16,
    }


def added(feature: int, value: float = 2.0) -> steer.Intervention:
    return steer.Intervention("planted", [steer.Add(feature, value)])


def test_a_real_feature_steers_and_a_null_one_does_not() -> None:
    real = steer.verify(world().model, added(0), **settings())
    null = steer.verify(world().model, added(REAL + 1), **settings())
    assert real.verdict == "steers"
    assert {world().model.token_id(t) for t in real.claim.more} <= set(world().promotes[0])
    assert null.verdict == "no better than random direction"
    assert null.effect.whole.low > 0  # it moves its own tokens, as any direction does


def test_a_stated_claim_is_true_of_its_feature_alone() -> None:
    claim = steer.Claim(world().promotes[3])
    one, other = (steer.verify(world().model, added(n), claim, **settings()) for n in (3, 4))
    assert one.verdict == "steers"
    assert not one.chosen
    assert other.decision.word == "no better than"


def test_the_wrong_sign_of_a_true_claim() -> None:
    verdict = steer.verify(
        world().model, added(3, -2.0), steer.Claim(world().promotes[3]), **settings()
    )
    assert verdict.verdict == "no better than no edit (wording 1)"
    assert verdict.effect.wrong_way == 1


def test_what_it_harms() -> None:
    """A real feature written backwards into what another one promotes."""
    right, wrong = (world().model.token(world().promotes[n][0]) for n in (5, 6))
    texts = world().texts(30, 6, 3)
    can = [text for text in texts if _prefers(text, right, wrong)][:6]
    behaviour = Behaviour("fives", tuple((text, right, wrong) for text in can))
    both = steer.Intervention("planted", [steer.Add(0, 2.0), steer.Add(5, -2.0)])
    claim = steer.Claim(world().promotes[0])
    plain = steer.verify(world().model, added(0), claim, **{**settings(), "panel": (behaviour,)})
    harmful = steer.verify(world().model, both, claim, **{**settings(), "panel": (behaviour,)})
    assert plain.verdict == "steers"
    assert harmful.verdict == "harms fives"


def _prefers(text: str, right: str, wrong: str) -> bool:
    model = world().model
    ids, _ = model.tokenize([text])
    with torch.inference_mode():
        logits = model.module(input_ids=ids).logits[0, -1]
    return bool(logits[model.token_id(right)] > logits[model.token_id(wrong)])


def test_every_arm_has_the_edits_price() -> None:
    protocol = register(world().model, added(0), **settings())
    arms = Arms.of(world().model, protocol, [world().dictionary])
    priced = prices(arms)
    assert priced.edit > protocol.least_cost
    assert priced.scales[0] == 1
    assert priced.met.all()
    assert (priced.scales[1:] != 1).any()


def test_an_edit_without_a_price_is_met_at_its_norm() -> None:
    verdict = steer.verify(world().model, added(0, 1e-3), **settings())
    assert verdict.by_norm
    assert {control.scale for control in verdict.controls if control.scale} == {1.0}


def test_the_verdict_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    verdict = steer.verify(world().model, added(1), out=path, **settings())
    data = json.loads(path.read_text())
    assert data["verdict"] == verdict.verdict
    assert {"effect", "controls", "protocol", "digest"} <= set(data)
    again = steer.verify_again(world().model, path, dictionaries=[world().dictionary])
    assert again.same
    assert again.verdict.to_dict() == verdict.to_dict()


def test_the_protocol_is_there_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    silent = steer.Intervention("planted", [steer.Scale(0, 1.0)])
    with pytest.raises(SilentEditError, match="changes nothing"):
        steer.verify(world().model, silent, out=path, **settings())
    data = json.loads(path.read_text())
    assert set(data) == {"protocol", "digest"}
    assert Protocol.from_dict(data["protocol"]).digest == data["digest"]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    steer.verify(world().model, added(1), out=path, **settings())
    data = json.loads(path.read_text())
    data["protocol"]["seed"] = 7
    path.write_text(json.dumps(data))
    with pytest.raises(SteerError, match="changed after it was registered"):
        steer.verify_again(world().model, path, dictionaries=[world().dictionary])


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    steer.verify(world().model, added(1), out=path, **settings())
    other = replace(world().dictionary, W_dec=world().dictionary.W_dec * 2)
    with pytest.raises(SteerError, match="weights was"):
        steer.verify_again(world().model, path, dictionaries=[other])


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(SteerError, match="can't be read"):
        steer.verify_again(world().model, path)
    path.write_text("{}")
    with pytest.raises(SteerError, match="holds no protocol"):
        steer.verify_again(world().model, path)


def test_wrong_settings() -> None:
    def given(intervention: steer.Intervention, **more: Any) -> Any:
        return register(world().model, intervention, **{**settings(), **more})

    with pytest.raises(SteerError, match="no such setting"):
        given(added(0), drawz=3)
    with pytest.raises(SteerError, match="at least 4 are needed"):
        given(added(0), choosing=12)
    with pytest.raises(SteerError, match="no control"):
        given(added(0), decisive=("nothing",))
    with pytest.raises(InterventionError, match="error='drop'"):
        given(steer.Intervention("planted", [steer.Add(0, 3.0)], error="drop"))
    with pytest.raises(InterventionError, match="by row"):
        given(
            steer.Intervention("planted", [steer.Add(0, 3.0, positions=steer.Rows("last", "all"))])
        )


def test_a_protocol_is_its_json() -> None:
    protocol = register(world().model, added(0), steer.Claim("w5", "w6"), **settings())
    again = Protocol.from_dict(json.loads(json.dumps(protocol.to_dict())))
    assert again == protocol
    assert again.digest == protocol.digest
    assert replace(protocol, seed=1).digest != protocol.digest


@pytest.mark.parametrize("claim", [(), ("w5", "w5"), (True,)])
def test_claims_that_are_none(claim: Any) -> None:
    with pytest.raises(SteerError):
        steer.Claim(*claim[:1] or ((),), *claim[1:]).resolve(world().model)
