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
from dictionaries.dictionary import Dictionary
from steer.errors import InterventionError, SilentEditError, SteerError
from steer.verdicts.arms import Arms
from steer.verdicts.cost import prices
from steer.verdicts.panel import Behaviour
from steer.verdicts.protocol import FROZEN, RANDOM, Protocol
from steer.verdicts.register import register
from steer.verdicts.verify import run_protocol
from tests.support import tiny


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


def frozen_rows(**card: Any) -> Dictionary:
    """Random directions in place of the rows, as a decoder that was never trained has them."""
    rows = torch.randn(world().dictionary.W_dec.shape, generator=torch.Generator().manual_seed(5))
    rows = rows / rows.norm(dim=-1, keepdim=True)
    return replace(world().dictionary, W_dec=rows, name="frozen", card=card or None)


def with_frozen(**card: Any) -> dict[str, Any]:
    return {**settings(), "dictionaries": (world().dictionary, frozen_rows(**card))}


def test_rows_of_a_frozen_decoder_are_a_control() -> None:
    """The edit's norm lies along them, at the edit's price, and they are random directions."""
    protocol = register(world().model, added(0), frozen="frozen", **with_frozen())
    arms = Arms.of(world().model, protocol, with_frozen()["dictionaries"])
    places = arms.numbered(FROZEN)
    assert len(places) == protocol.others
    text = arms.text(protocol.prompts[0][0])
    assert torch.allclose(text.deltas[places].norm(dim=-1), text.deltas[0].norm(dim=-1), atol=1e-5)
    drawn = {tuple(row.tolist()) for row in frozen_rows().W_dec}
    for delta in text.deltas[places][:, -1]:
        direction = delta / delta.norm()
        assert any(torch.allclose(direction, torch.tensor(row), atol=1e-5) for row in drawn)
    assert prices(arms).met[places].all()


def test_a_frozen_decoder_is_told_or_decides() -> None:
    told = steer.verify(world().model, added(0), frozen="frozen", **with_frozen())
    (beside,) = [control for control in told.controls if control.control == FROZEN]
    assert told.verdict == "steers"
    assert beside.better
    assert beside.bound is not None
    assert not beside.decisive
    assert FROZEN not in told.absent
    decisive = (RANDOM, FROZEN)
    by = steer.verify(world().model, added(0), frozen="frozen", decisive=decisive, **with_frozen())
    assert [control.control for control in by.controls if control.decisive] == [RANDOM, FROZEN]
    assert by.verdict == "steers"


def test_an_edit_that_frozen_rows_do_as_well() -> None:
    """All of them are the edited feature's own row."""
    rows = world().dictionary.W_dec[:1].expand_as(world().dictionary.W_dec).contiguous()
    same = replace(frozen_rows(), W_dec=rows)
    options = {**settings(), "dictionaries": (world().dictionary, same), "frozen": "frozen"}
    told = steer.verify(world().model, added(0), **options)
    decided = steer.verify(world().model, added(0), decisive=(RANDOM, FROZEN), **options)
    assert told.verdict == "steers"
    assert decided.verdict == "no better than frozen decoder"


def test_without_a_frozen_dictionary_the_verdict_says_so() -> None:
    verdict = steer.verify(world().model, added(0), **settings())
    assert FROZEN in verdict.absent
    assert "not run: frozen decoder, since no dictionary" in repr(verdict)
    assert verdict.to_dict()["absent"] == verdict.absent


def test_the_frozen_dictionary_is_in_the_protocol(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    verdict = steer.verify(world().model, added(1), frozen="frozen", out=path, **with_frozen())
    both = with_frozen()["dictionaries"]
    again = steer.verify_again(world().model, path, dictionaries=both)
    assert again.verdict.to_dict() == verdict.to_dict()
    other = replace(both[1], W_dec=both[1].W_dec * 2)
    with pytest.raises(SteerError, match="frozen_weights was"):
        steer.verify_again(world().model, path, dictionaries=[both[0], other])


def test_protocols_of_older_versions_are_read_as_they_are() -> None:
    """Their files lie about with their digests."""
    new = register(world().model, added(0), frozen="frozen", **with_frozen()).to_dict()
    assert new["version"] == 3
    second = {name: value for name, value in new.items() if name != "contents"} | {"version": 2}
    added_since = {"frozen", "frozen_weights", "contents"}
    first = {name: value for name, value in new.items() if name not in added_since}
    for data in (new, second, first | {"version": 1}):
        assert Protocol.from_dict(data).to_dict() == data
        assert run_protocol(world().model, Protocol.from_dict(data), with_frozen()["dictionaries"])
    with pytest.raises(SteerError, match="frozen"):
        Protocol.from_dict({**new, "version": 1})
    with pytest.raises(SteerError, match="1 to 3"):
        Protocol.from_dict({**new, "version": 4})


def test_other_statistics_are_another_dose(tmp_path: Path) -> None:
    """Under the name of a dictionary there may come to be another, of other numbers."""
    known = replace(world().dictionary, statistics=tiny.statistics(world().dictionary.width))
    assert known.statistics is not None
    path = tmp_path / "verdict.json"
    edit = replace(added(1), edits=[steer.Clamp(1, "2x max")])
    given = {**settings(), "dictionaries": [known]}
    verdict = steer.verify(world().model, edit, out=path, **given)
    again = steer.verify_again(world().model, path, dictionaries=[known])
    assert again.verdict.to_dict() == verdict.to_dict()
    larger = replace(known.statistics, maximum=known.statistics.maximum * 2)
    other = replace(known, statistics=larger)
    with pytest.raises(SteerError, match="contents was"):
        steer.verify_again(world().model, path, dictionaries=[other])
    site = world().model.site_of(known)
    row = steer.Intervention(site, [steer.AddDirection(steer.DecoderRow(known.name, 1), 2.0)])
    registered = register(world().model, row, **given)
    assert registered.contents == register(world().model, edit, **given).contents


def test_frozen_dictionaries_that_are_none() -> None:
    def given(edit: steer.Intervention, card: dict[str, Any], **more: Any) -> Any:
        return register(world().model, edit, **{**with_frozen(**card), **more})

    assert given(added(0), {"train": {"frozen": "decoder"}}, frozen="frozen").frozen == "frozen"
    with pytest.raises(SteerError, match="trained with nothing frozen"):
        given(added(0), {"train": {"k": 3}}, frozen="frozen")
    with pytest.raises(SteerError, match="trained with encoder frozen"):
        given(added(0), {"train": {"frozen": "encoder"}}, frozen="frozen")
    with pytest.raises(SteerError, match="no dictionary was given"):
        given(added(0), {}, decisive=(FROZEN,))
    with pytest.raises(SteerError, match="no row of frozen"):
        given(added(0), {}, frozen="frozen", others=0)
    direction = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(1), 2.0)])
    with pytest.raises(InterventionError, match="edits none"):
        given(direction, {}, frozen="frozen")
    elsewhere = replace(
        frozen_rows(), config=replace(world().dictionary.config, hookpoint="resid_post.2")
    )
    both = (world().dictionary, elsewhere)
    with pytest.raises(SteerError, match=r"is of .*, and the edit writes"):
        given(added(0), {}, frozen="frozen", dictionaries=both)


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
