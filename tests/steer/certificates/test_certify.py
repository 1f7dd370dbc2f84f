"""Verdicts on a dictionary that is trained here, beside what is published of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError, FormatError
from tests.releases.plans import Plan
from tests.releases.published import other_text, published
from tests.releases.truth import Truth, dictionary, model, moved
from tests.support import tiny
from tests.support.command import Run

SITE = "resid_post.1"
TRUTH = Truth(SITE)
Certify = Callable[..., steer.Certificate]


@pytest.fixture
def given() -> Dictionary:
    return replace(dictionary(TRUTH), name="given")


@pytest.fixture
def certify(tmp_path: Path, given: Dictionary) -> Certify:
    """A dictionary, by default the one that is meant, beside what is published with changes."""

    def call(
        tried: Dictionary = given,
        *,
        without: tuple[str, ...] = (),
        texts: bool = False,
        family: str = "llama",
        **changes: Any,
    ) -> steer.Certificate:
        said = {**published(Plan("x", TRUTH, "saelens", texts=texts), given), **changes}
        path = tmp_path / "published.json"
        path.write_text(json.dumps({key: said[key] for key in said if key not in without}))
        return steer.certify(model(family), tried, path, None if texts else [other_text()])

    return call


def test_what_is_published_agrees(certify: Certify) -> None:
    certificate = certify()
    assert certificate.agrees, str(certificate)
    assert certificate.off is not None
    assert certificate.off < 1e-4
    assert "activations" in str(certificate)


def test_a_record_can_be_sent(certify: Certify, given: Dictionary, tmp_path: Path) -> None:
    catalogue.save(given, tmp_path / "sae")
    record = certify(catalogue.load(tmp_path / "sae")).to_dict()
    sent = json.loads(json.dumps(record, allow_nan=False))
    assert sent["verdict"]["word"] == "agrees"
    assert sent["fingerprint"] == model("llama").fingerprint
    assert set(sent["files"]) == {"cfg.json", "sae_weights.safetensors"}
    assert all(len(digest) == 64 for digest in sent["files"].values())
    assert sent["versions"]["torch"] == torch.__version__
    assert sent["readings"]["as loaded"]["figures"]["l0"] == sent["measured"]["l0"]


def test_a_file_that_says_no_site_is_read_at_the_published_one(
    certify: Certify, given: Dictionary
) -> None:
    assert certify(moved(given, None)).agrees
    certificate = certify(moved(given, None), without=("site",))
    assert (certificate.verdict.word, certificate.agrees) == ("undecided", False)
    assert "the site" in certificate.verdict.reason


@pytest.mark.parametrize(
    ("without", "figures", "missing"),
    [
        (("figures", "activations"), None, "figures or recorded activations"),
        (("activations",), {"l0": 6.0}, "recorded activations, or a figure of the reconstr"),
        (("activations",), None, "to tell the dictionary as loaded from"),
    ],
)
def test_too_little_to_decide(
    certify: Certify, without: tuple[str, ...], figures: dict[str, float] | None, missing: str
) -> None:
    changes = {} if figures is None else {"figures": figures}
    certificate = certify(without=without, **changes)
    assert certificate.verdict.word == "undecided", str(certificate)
    assert missing in certificate.verdict.reason


def test_activations_say_nothing_of_a_decoder(certify: Certify, given: Dictionary) -> None:
    """They agree to the last digit; alone they are enough only where it fits."""
    order = torch.randperm(given.width, generator=torch.Generator().manual_seed(1))
    shuffled = replace(given, W_dec=given.W_dec[order])
    assert certify(figures={"l0": 6.0}).agrees
    certificate = certify(shuffled, figures={"l0": 6.0})
    assert certificate.verdict.word == "undecided"
    assert "decoder" in certificate.verdict.reason
    assert certify(shuffled).verdict.word == "deviates"


def test_what_no_reading_explains(certify: Certify, given: Dictionary) -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(given.W_enc.shape, generator=generator)
    certificate = certify(replace(given, W_enc=given.W_enc + 0.2 * noise))
    assert (certificate.verdict.word, certificate.verdict.deviation) == ("deviates", "unknown"), (
        str(certificate)
    )
    assert "by none of the readings" in certificate.verdict.reason


def test_a_cost_of_its_own(certify: Certify) -> None:
    """Where all else agrees, a ΔCE that does not is named by itself."""
    measured = certify().measured["delta_ce"]
    figures = {"l0": 6.0, "delta_ce": {"value": measured + 1, "tolerance": 0.01}}
    certificate = certify(figures=figures)
    assert (certificate.verdict.word, certificate.verdict.deviation) == ("deviates", "unknown")
    assert certificate.verdict.reason.startswith("delta_ce")


def test_another_kind_is_named(certify: Certify) -> None:
    certificate = certify(kind="topk")
    assert (certificate.verdict.word, certificate.verdict.deviation) == ("deviates", "kind")
    assert "topk is published" in certificate.verdict.reason


def test_rounded_weights_are_right_where_activations_are_theirs(
    certify: Certify, given: Dictionary
) -> None:
    """A release that was trained in bfloat16 and saved in float32 is no deviation."""
    names = given.tensor_names()
    coarse = replace(given, **{n: getattr(given, n).bfloat16().float() for n in names})
    plan = Plan("x", TRUTH, "saelens")
    assert certify(coarse, activations=published(plan, coarse)["activations"]).agrees
    assert certify(coarse).verdict.deviation == "dtype"


def test_the_model_as_published(certify: Certify) -> None:
    """Activations off by a rounding, and a model that was not loaded as they were read."""
    plan = Plan("x", TRUTH, "saelens", model_dtype="bfloat16")
    activations = published(plan, dictionary(TRUTH))["activations"]
    told = {"activations": activations, "activation_tolerance": 1e-3}
    certificate = certify(**told, model_dtype="bfloat16")
    assert certificate.verdict.word == "undecided"
    assert "bfloat16" in certificate.verdict.reason
    assert certify(**told).verdict.reading == "model in bfloat16"


def test_what_does_not_fit_the_model_is_an_error(certify: Certify, given: Dictionary) -> None:
    short = [{"token_ids": [5], "feature": 1, "values": [1.0]}]
    with pytest.raises(FormatError, match="1 tokens; at least 2"):
        certify(activations=short)
    uneven = [{"text": "w3 w4 w5", "feature": 1, "values": [1.0, 0, 0, 0, 0]}]
    with pytest.raises(FormatError, match=r"5 values, and .* reads 3 tokens"):
        certify(activations=uneven)
    unknown = [{"tokens": ["w3", "w4 w5"], "feature": 1, "values": [1.0, 0]}]
    with pytest.raises(FormatError, match="'w4 w5' is none of"):
        certify(activations=unknown)
    beyond = [{"token_ids": [3, 4], "feature": 10_000, "values": [1.0, 0]}]
    with pytest.raises(DictionaryError, match="feature 10000 is out of range"):
        certify(activations=beyond)


@pytest.mark.parametrize("block", [0, 2])
def test_a_block_of_a_cross_layer_transcoder(block: int, clt: Path, tmp_path: Path) -> None:
    """What earlier blocks write is in its figures, and not in its features."""
    name, llama = f"{clt}#{block}", tiny.tiny_model("llama")
    given = catalogue.load(name)
    ids = [5, 9, 40, 41, 77, 12]
    (x,) = llama.collect(*llama.pad([ids]), [str(given.config.hookpoint)]).values()
    features = given.encode(x[0])[0]
    top = features.amax(0).topk(4).indices.tolist()
    seen = [{"feature": i, "values": features[:, i].tolist()} for i in top]
    said = {"model_dtype": "float32", "activations": [{"token_ids": ids, "activations": seen}]}
    path = tmp_path / "published.json"
    path.write_text(json.dumps(said))
    certificate = steer.certify(llama, name, path, [other_text()])
    assert certificate.off is not None
    assert certificate.off < 1e-4
    assert certificate.verdict.word == "undecided", "it is random, and explains nothing"


def test_the_command(run: Run, tmp_path: Path, given: Dictionary) -> None:
    """0 where it agrees, 1 where it doesn't, 2 for what can't be read."""
    from tests.releases.truth import save_model

    save_model("llama", tmp_path)
    catalogue.save(given, tmp_path / "sae")
    (tmp_path / "text.txt").write_text(other_text())
    said = published(Plan("x", TRUTH, "saelens"), given) | {"model": str(tmp_path / "llama")}
    path = tmp_path / "published.json"
    words = ["certify", tmp_path / "sae", "--published", path, "--text", tmp_path / "text.txt"]
    path.write_text(json.dumps(said))
    answer = run(*words)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "agrees")
    path.write_text(json.dumps({**said, "site": "resid_post.2"}))
    answer = run(*words, "--json")
    assert (answer.code, json.loads(answer.out)["verdict"]["deviation"]) == (1, "site")
    path.write_text(json.dumps({**said, "hook": 1}))
    answer = run(*words)
    assert answer.code == 2
    assert "hook = 1" in answer.err
