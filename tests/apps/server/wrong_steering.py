"""Steering that must be refused, and a word of what each is told."""

from __future__ import annotations

from typing import Any

from tests.support.serving import NAME

CLAMP = {"kind": "clamp", "feature": 1176, "value": "2x max"}
SHORT = {"feature": 1176, "clamp": "2x max"}
DEEP = 900
NOT = {"kind": "not", "of": {"kind": "active", "feature": 3}}


def whole(**edit: Any) -> dict[str, Any]:
    return {"dictionary": NAME, "edits": [{**CLAMP, **edit}]}


def directed(direction: dict[str, Any]) -> dict[str, Any]:
    edit = {"kind": "add_direction", "direction": direction}
    return {"dictionary": "resid_post.20", "edits": [edit]}


RESAMPLE = {"kind": "resample", "feature": 3, "reference": ["a text of six tokens"]}
STEERING: list[tuple[Any, str]] = [
    ("nonsense", "no JSON"),
    (5, "not 5"),
    (True, "not True"),
    ([5], "no object"),
    ([[SHORT]], "no object"),
    ({}, "needs dictionary, edits"),
    ({"edits": []}, "needs dictionary"),
    ({"dictionary": NAME}, "needs edits"),
    ({"dictionary": NAME, "edits": []}, "no edits"),
    ({"dictionary": NAME, "edits": {}}, "list of objects"),
    ({"dictionary": NAME, "edits": [CLAMP], "version": 2}, "version 2"),
    ({"dictionary": NAME, "edits": [CLAMP], "version": "1"}, "version"),
    ({"dictionary": NAME, "edits": [CLAMP], "version": True}, "version True"),
    ({"dictionary": NAME, "edits": [CLAMP], "version": 1.0}, "version 1.0"),
    ({"dictionary": NAME, "edits": [CLAMP], "strength": 2}, "strength"),
    ({"dictionary": NAME, "edits": [CLAMP], "error": "lose"}, "error='lose'"),
    ({"dictionary": NAME, "edits": [CLAMP], "error": "frozen"}, "logit_effect"),
    ({"dictionary": NAME, "edits": [CLAMP], "conflicts": "first"}, "conflicts='first'"),
    ({"dictionary": "smollm2-135m/resid_post.21", "edits": [CLAMP]}, "Did you mean"),
    ({"dictionary": "/etc", "edits": [CLAMP]}, "not one of this server's"),
    ({"dictionary": "../shipped", "edits": [CLAMP]}, "not one of this server's"),
    ({"dictionary": "hf://google/gemma-scope", "edits": [CLAMP]}, "not one of this server's"),
    ({"dictionary": "", "edits": [CLAMP]}, "must be a name"),
    ({"dictionary": 5, "edits": [CLAMP]}, "must be a name"),
    ({"dictionary": "resid_post.99", "edits": [CLAMP]}, "blocks 0 to 29"),
    ({"dictionary": "resid_most.9", "edits": [CLAMP]}, "resid_most"),
    ({"dictionary": "resid_post.20", "edits": [CLAMP]}, "needs a dictionary"),
    (whole(kind="clmp"), "clmp"),
    (whole(kind=None), "kind None"),
    (whole(feature=6144), "6144"),
    (whole(feature=-1), "-1"),
    (whole(feature="1176"), "1176"),
    (whole(feature=1.5), "1.5"),
    (whole(feature=True), "True"),
    (whole(value="2x maximum"), "2x maximum"),
    (whole(value="2 furlongs"), "furlongs"),
    (whole(value="lots"), "lots"),
    (whole(value=None), "None"),
    (whole(value=[1]), "[1]"),
    (whole(value="1x q33"), "q33"),
    (whole(value="1x vector"), "vector"),
    (whole(value=1e30), "smaller value"),
    (whole(value=1e38), "smaller value"),
    (whole(value="1e300x max"), ""),
    (whole(positions="somewhere"), "somewhere"),
    (whole(positions="1:2:0"), "step"),
    (whole(positions=[]), "positions"),
    (whole(positions=[1.5]), "positions"),
    (whole(positions=10**30), "below 2**63"),
    (whole(positions=[0, -(10**30)]), "below 2**63"),
    (whole(positions=f"0:{10**30}"), "below 2**63"),
    (whole(positions=f"::{10**30}"), "below 2**63"),
    (whole(positions={"tokens": []}), ""),
    (whole(positions={"tokens": [" bridge and more"]}), "tokens"),
    (whole(positions={"tokens": [99_999]}), "99999"),
    (whole(positions={"rows": ["last", "all"]}), "2 rows"),
    (whole(positions={"where": "last"}), "where"),
    (whole(strength=2), "strength"),
    (whole(when={"kind": "maybe", "feature": 3}), "maybe"),
    (whole(when={"kind": "active", "feature": 9_999}), "9999"),
    (whole(when={"kind": "active", "feature": 3, "above": 10**400}), "finite"),
    (whole(schedule={"kind": "ramp", "n": 10**30}), "below 2**63"),
    (whole(schedule={"kind": "first", "n": 0}), "1 or more"),
    (whole(schedule={"kind": "soon", "n": 3}), "soon"),
    (whole(schedule="first 3"), ""),
    ({"dictionary": NAME, "edits": [CLAMP, CLAMP]}, "in_order"),
    ([whole(), whole(value=3)], "two interventions"),
    ([whole(), {"dictionary": NAME, "edits": [{"kind": "ablate", "feature": 1176}]}], "two"),
    ({"dictionary": NAME, "edits": [{"kind": "patch", "feature": 3}]}, "prompt"),
    ({"dictionary": NAME, "edits": [{"kind": "patch", "feature": 3, "prompt": ""}]}, "prompt"),
    (
        {"dictionary": NAME, "edits": [{"kind": "resample", "feature": 3, "reference": []}]},
        "",
    ),
    (
        {
            "dictionary": NAME,
            "edits": [{"kind": "resample", "feature": 3, "reference": ["a text"] * 40}],
        },
        "at most 32",
    ),
    (
        {
            "dictionary": "resid_post.20",
            "edits": [
                {"kind": "add_direction", "direction": {"kind": "vector", "values": [1.0, 2.0]}}
            ],
        },
        "width",
    ),
    (
        {
            "dictionary": "resid_post.20",
            "edits": [
                {"kind": "add_direction", "direction": {"kind": "vector", "values": [0.0] * 576}}
            ],
        },
        "points nowhere",
    ),
    (
        {
            "dictionary": "resid_post.20",
            "edits": [
                {
                    "kind": "project_out",
                    "direction": {"kind": "decoder_row", "dictionary": "/etc", "feature": 1},
                }
            ],
        },
        "not one of this server's",
    ),
    (directed({"kind": "vector", "values": [1e308] * 576}), "longer than"),
    (directed({"kind": "random", "seed": 10**30}), "below 2**63"),
    (directed({"kind": "random", "seed": "a"}), "seed='a'"),
    (directed({"kind": "random", "seed": 1.5}), "seed=1.5"),
    (directed({"kind": "difference", "positive": {"a": 1}, "negative": ["b"]}), "positive"),
    ({"dictionary": NAME, "edits": [{**RESAMPLE, "seed": 10**30}]}, "below 2**63"),
    ({"dictionary": NAME, "edits": [{**RESAMPLE, "seed": None}]}, "seed=None"),
    ({"dictionary": NAME, "edits": [{**RESAMPLE, "reference": {"a": 1}}]}, "reference"),
    ([{"feature": 1176}], "needs one of"),
    ([{"clamp": "2x max"}], ""),
    ([{**SHORT, "ablate": True}], "needs one of"),
    ([{**SHORT, "strength": 2}], "strength"),
    ([{"feature": 1176, "nudge": 1}], "nudge"),
    ([{"feature": 1176, "ablate": False}], "ablate"),
    ([{"feature": 1176, "ablate": "median"}], "median"),
    ([{"feature": 1176, "clamp": None}], "None"),
    ([{"feature": 1176, "scale": "2x"}], ""),
    ([{"feature": 99_999, "clamp": 1}], "99999"),
    ([{**SHORT, "dictionary": "resid_post.20"}], "needs a dictionary"),
    ([{**SHORT, "dictionary": "nowhere/at.all"}], "not one of this server's"),
    ([{**SHORT, "when": "7 >"}], ""),
    ([{**SHORT, "when": "sometimes"}], ""),
    ([{**SHORT, "when": "x" * 50_000}], "write for example"),
    ([{**SHORT, "when": "(" * 5_000 + "7" + ")" * 5_000}], "nested deeper than 50"),
    ([{**SHORT, "when": "not " * 5_000 + "7"}], "nested deeper than 50"),
    ([{**SHORT, "when": {**NOT, "also": 1}}], "also"),
    ([{**SHORT, "schedule": {"kind": "first", "n": 3, "m": 1}}], "'m'"),
    ([{**SHORT, "positions": {"tokens": [" bridge"], "near": 1}}], "near"),
    ([{**SHORT, "schedule": "first none"}], "not understood"),
    ([{"feature": feature, "ablate": True} for feature in range(513)], "513 edits"),
    ({"dictionary": NAME, "edits": [CLAMP] * 513}, "513 edits"),
    ([SHORT, SHORT], "in_order"),
    ([SHORT, {"feature": 1176, "ablate": True}], "in_order"),
    ([SHORT, whole()], "two interventions"),
]
"""Of the field `steering`, each also tried under `vllm_xargs`."""

TEXTS: list[tuple[str, str]] = [
    ("", "no JSON"),
    ("{", "no JSON"),
    ("null", "not None"),
    ('"[]"', "not '[]'"),
    ("[" * 50_000, "nested too deeply"),
    ("[" * DEEP + "]" * DEEP, "nested too deeply"),
    ('[{"feature": 1176, "clamp": 1, "clamp": 2}]', "'clamp' is there twice"),
    ('[{"feature": 1176, "clamp": NaN}]', "NaN"),
    ('[{"feature": 1176, "clamp": 1e999}]', "finite"),
    ('[{"feature": 1176, "clamp": 1, "when": {"kind": "active", "feature": 3, "of": 1}}]', "of"),
]
"""JSON as text in `vllm_xargs.steer`, the only form that some clients can send."""
