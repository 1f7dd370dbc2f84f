"""Wrong calls from Python, and the words that the error must have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import steer
from steer.edits import parse_value
from tests.wrong_inputs.row import Called, Place, called

anything: Any = None
ABLATE = [steer.Ablate(5)]


def generated(**options: Any) -> Any:
    def call(place: Place) -> Any:
        edit = steer.Intervention(place.sae.name, ABLATE)
        return place.model.generate("w7", edit, dictionaries=[place.sae], **options)

    return call


def swept(prompts: Any = "w7", **options: Any) -> Any:
    return lambda place: steer.ablation_sweep(place.model, prompts, place.sae, **options)


def batched(prompts: Any) -> Any:
    def call(place: Place) -> Any:
        edit = steer.Intervention(place.sae.name, ABLATE)
        return place.model.generate_batch(prompts, edit, dictionaries=[place.sae])

    return call


def measured(**options: Any) -> Any:
    def call(place: Place) -> Any:
        edit = steer.Intervention(place.sae.name, ABLATE)
        return steer.logit_effect(place.model, "w7", edit, dictionaries=[place.sae], **options)

    return call


def given_as(make: Callable[[steer.Dictionary], Any]) -> Any:
    def call(place: Place) -> Any:
        edit = steer.Intervention(place.sae.name, ABLATE)
        return place.model.generate("w7", edit, dictionaries=make(place.sae))

    return call


def prompted(prompt: Any) -> Any:
    def call(place: Place) -> Any:
        edit = steer.Intervention(place.sae.name, ABLATE)
        return place.model.generate(prompt, edit, dictionaries=[place.sae])

    return call


def dosed(doses: Any) -> Any:
    return lambda place: steer.dose_response(place.model, "w7", place.sae, 5, doses)


def read(text: Any) -> Any:
    return lambda place: steer.Intervention.from_json(text)


ROWS: list[Called] = [
    called(lambda place: steer.Clamp(1, 10**400), "beyond the largest float"),
    called(lambda place: steer.Clamp(1, 10**9000), "digits", "not allowed"),
    called(lambda place: steer.Clamp(1, float("nan")), "nan", "finite"),
    called(lambda place: steer.Clamp(1, anything), "None", "5x max"),
    called(lambda place: steer.Clamp(-1, 1.0), "-1"),
    called(lambda place: steer.Scale(1, 10**400), "largest float"),
    called(lambda place: parse_value("5x most"), "'5x most'", "2x mean"),
    called(lambda place: steer.Vector(anything), "must be numbers"),
    called(lambda place: steer.Vector([1.0, anything]), "must be numbers"),
    called(lambda place: steer.Vector(["1", "a"]), "must be numbers"),
    called(lambda place: steer.Vector([0.0, 0.0]), "points nowhere"),
    called(lambda place: steer.Intervention(anything, ABLATE), "must be a name", "None"),
    called(lambda place: steer.Intervention("x", [anything]), "None", "Clamp(123"),
    called(lambda place: steer.Intervention("x", ABLATE, anything), "None", "keep"),
    called(read(None), "JSON text", "None"),
    called(read("{"), "not JSON"),
    called(read("[]"), "JSON object", "list"),
    called(read("[" * 100_000), "nested too deeply"),
    called(read("[" * 150 + "]" * 150), "nested too deeply", "100 levels"),
    called(read('{"dictionary": "x", "edits": [], "edits": []}'), "'edits' is there twice"),
    called(read('{"dictionary": "x", "edits": [NaN]}'), "NaN is no number", "finite"),
    called(lambda place: steer.parse_condition("not " * 60 + "7"), "nested deeper than 50 levels"),
    called(read('{"dictionary": "x", "edits": [7]}'), "7 is no"),
    called(lambda place: steer.Intervention.load("/none.json"), "/none.json can't be read"),
    called(lambda place: place.model.dictionary(anything), "by name or folder", "None"),
    called(lambda place: place.model.dictionary("none"), "'none'", "resid_post.20"),
    called(lambda place: place.model.dictionary(Path("none")), "'none'", "resid_post.20"),
    called(generated(temperature="hot"), "temperature='hot'", "finite number"),
    called(generated(temperature=True), "temperature=True", "finite number"),
    called(generated(seed="a"), "seed='a'", "whole number"),
    called(generated(seed=2**64), "seed=", "2**63 - 1"),
    called(generated(seed=1.5), "seed=1.5", "whole number"),
    called(generated(top_k="many"), "top_k='many'", "whole number"),
    called(generated(top_p=float("inf")), "top_p=inf", "finite"),
    called(generated(max_new_tokens="many"), "max_new_tokens='many'", "whole number"),
    called(generated(num_beams=4), "num_beams", "would not act"),
    called(lambda place: place.model.generate(anything, ()), "None", "messages"),
    called(lambda place: place.model.generate("w7", anything), "Intervention", "None"),
    called(batched("w7 w8"), "'w7 w8'", "a list", "generate"),
    called(batched(None), "None", "a list", "generate"),
    called(lambda place: place.model.tokenize("w7 w8"), "'w7 w8'", "letter by letter"),
    called(lambda place: place.model.tokenize_each("w7"), "'w7'", "letter by letter"),
    called(prompted("w7 \udcff"), "place 3", "no character", "UTF-8"),
    called(lambda place: place.model.tokenize(["\ud83d"]), "place 0", "no character"),
    called(generated(watch="\ud83d"), "place 0", "no character"),
    called(generated(watch=[True]), "a text or an id", "True"),
    called(generated(watch=[None]), "a text or an id", "None"),
    called(dosed("12"), "'12'", "a list such as"),
    called(lambda place: steer.LogitDifference(()), "positive=()", "a token or several"),
    called(lambda place: steer.LogProbability([]), "tokens=[]", "a token or several"),
    called(lambda place: steer.Divergence(anything), "direction=None", "clean_edited"),
    called(swept(metric=5), "metric=5", "kl, loss"),
    called(swept(metric=[5]), "metric=[5]", "one for each prompt"),
    called(swept(features=[True]), "a whole number", "True"),
    called(swept(features=[1.5]), "a whole number", "1.5"),
    called(swept(features=torch.tensor([True, False])), "a whole number", "True"),
    called(swept(screen=5), "screen=5", "steer.Screen"),
    called(swept(against="random"), "against='random'", "steer.Against"),
    called(generated(temperature=1e-40), "temperature=1e-40", "1e-06"),
    called(generated(repetition_penalty=1e-40), "repetition_penalty=1e-40", "1e-06"),
    called(
        lambda place: steer.ablation_sweep(place.model, "w7", anything), "None is no dictionary"
    ),
    called(lambda place: steer.dose_response(place.model, "w7", anything, 5, [1]), "no dictionary"),
    called(lambda place: steer.dose_response(place.model, "w7", place.sae, 99, [1]), "0 to 47"),
    called(lambda place: steer.direct_logit_effect(place.model, anything, 5), "no dictionary"),
    called(lambda place: place.model.check(place.sae, ["w7"]), "at least 32"),
    called(lambda place: steer.attribution(place.model, "w7", anything, "loss"), "no dictionary"),
    called(
        lambda place: steer.path_effects(place.model, "w7", anything, dictionaries=[place.sae]),
        *("one Intervention", "None"),
    ),
    called(lambda place: steer.parse_condition(anything), "a text such as", "None"),
    called(lambda place: steer.parse_schedule(anything), "a text such as", "None"),
    called(swept(features=5), "features=5", "active, all"),
    called(measured(draws=-1), "draws=-1", "from 0"),
    called(measured(top=0), "top=0", "from 1"),
    called(measured(batch=0), "batch=0", "from 1"),
    called(measured(continuation=1.5), "continuation=1.5", "whole number"),
    called(measured(if_silent="so"), "if_silent='so'", "warn, raise, ignore"),
    called(generated(if_silent="so", max_new_tokens=0), "if_silent='so'"),
    called(
        lambda place: steer.direct_logit_effect(place.model, place.sae, 5, amount=math.nan),
        *("amount=nan", "finite"),
    ),
    called(
        lambda place: steer.direct_logit_effect(place.model, place.sae, 5, draws=-1), "draws=-1"
    ),
    called(lambda place: steer.DecoderRow("x", True), "an index", "True"),
    called(lambda place: steer.DecoderRow("x", -1), "an index", "-1"),
    called(lambda place: steer.DecoderRow(anything, 5), "is named", "None"),
    called(lambda place: steer.Difference(anything, ["w7"]), "positive", "None"),
    called(lambda place: steer.Resample(5, anything), "reference", "None"),
    called(lambda place: steer.Intervention("x", anything), "a list of edits", "None"),
    called(given_as(lambda sae: sae), "a list of dictionaries"),
    called(given_as(lambda sae: "tiny"), "a list of dictionaries", "'tiny'"),
    called(given_as(lambda sae: ["tiny"]), "'tiny' is no dictionary", "Model.dictionary"),
    called(given_as(lambda sae: [sae, replace(sae, W_dec=-sae.W_dec)]), "two dictionaries", "tiny"),
    called(dosed(2.0), "2.0", "a list such as"),
    called(lambda place: place.model.features(anything, place.sae), "text", "None"),
    called(swept(()), "no prompts were given"),
    called(swept(None), "no prompts were given", "None"),
    called(swept(["w7", 5]), "must be text", "5"),
    called(swept(budget=0), "budget=0", "from 1"),
    called(swept(metric="best"), "'best'", "kl"),
    called(swept(features=[99]), "99", "0 to 47"),
    called(swept(file="/proc/none/rows"), "/proc/none can't be written"),
    called(lambda place: steer.logit_effect(place.model, [], ()), "no prompts were given"),
    called(lambda place: steer.logit_effect(place.model, "w7", ()), "nothing to measure", "one"),
    called(lambda place: steer.load(5), "tokenizer"),
    called(lambda place: steer.load("smollm"), "did you mean smollm2-135m"),
    called(lambda place: steer.load(dtype="int8"), "'int8'", "bfloat16"),
    called(lambda place: steer.parse_condition("always"), "always"),
    called(lambda place: steer.parse_schedule("now"), "'now'", "ramp"),
]
