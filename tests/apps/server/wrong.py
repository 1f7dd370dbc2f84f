"""Two hundred requests that must be refused, and a word of what each is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.serving import MODEL, NAME

PROMPT = "The old bridge"
COMPLETE, CHAT = "/v1/completions", "/v1/chat/completions"
CLAMP = {"kind": "clamp", "feature": 1176, "value": "2x max"}
SHORT = {"feature": 1176, "clamp": "2x max"}


@dataclass(frozen=True)
class Wrong:
    """A request, and what its answer says."""

    path: str
    content: str
    says: str = ""
    method: str = "POST"

    def __str__(self) -> str:
        return f"{self.path} {self.content[:70]}"


def whole(**edit: Any) -> dict[str, Any]:
    return {"dictionary": NAME, "edits": [{**CLAMP, **edit}]}


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
    (whole(positions={"tokens": []}), ""),
    (whole(positions={"tokens": [" bridge and more"]}), "tokens"),
    (whole(positions={"tokens": [99_999]}), "99999"),
    (whole(positions={"rows": ["last", "all"]}), "2 rows"),
    (whole(positions={"where": "last"}), "where"),
    (whole(strength=2), "strength"),
    (whole(when={"kind": "maybe", "feature": 3}), "maybe"),
    (whole(when={"kind": "active", "feature": 9_999}), "9999"),
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
    ([{**SHORT, "schedule": "first none"}], "not understood"),
    ([SHORT, SHORT], "in_order"),
    ([SHORT, {"feature": 1176, "ablate": True}], "in_order"),
    ([SHORT, whole()], "two interventions"),
]
"""Of the field `steering`, each also tried under `vllm_xargs`."""

FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"steerng": []}, "steerng"),
    ({"tools": []}, "tools"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "   "}, "at least one token"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [99_999]}, "99999"),
    ({"prompt": [PROMPT, 5]}, "prompt"),
    ({"prompt": [PROMPT] * 65}, "prompt"),
    ({"prompt": [PROMPT] * 33, "n": 2}, "more than 64"),
    ({"prompt": None}, "prompt"),
    ({"prompt": {"text": PROMPT}}, "prompt"),
    ({"prompt": [5] * 9_000}, "at most 8192"),
    ({"prompt": "word " * 9_000}, "8192"),
    ({"model": None}, "model"),
    ({"model": "gpt-4"}, "not served here"),
    ({"model": f"{MODEL}@nothing"}, "not served here"),
    ({"model": f"{MODEL}@../../etc/passwd"}, "not served here"),
    ({"model": f"{MODEL}@longer", "steering": []}, "brings an edit"),
    ({"model": f"{MODEL}@longer", "steering": [SHORT]}, "brings an edit"),
    ({"model": f"{MODEL}@longer", "vllm_xargs": {"steer": []}}, "brings an edit"),
    ({"steering": [SHORT], "vllm_xargs": {"steer": [SHORT]}}, "give one"),
    ({"steering": [], "vllm_xargs": {"steer": [SHORT]}}, "give one"),
    ({"steering": None}, "null"),
    ({"vllm_xargs": {}}, "vllm_xargs"),
    ({"vllm_xargs": {"steering": []}}, "vllm_xargs"),
    ({"vllm_xargs": {"steer": [], "hotwire": "x"}}, "hotwire"),
    ({"vllm_xargs": []}, "vllm_xargs"),
    ({"silent": "warn"}, "silent"),
    ({"silent": "error"}, "nothing here acts"),
    ({"silent": "error", "steering": [{"feature": 5, "scale": 1}]}, "did nothing"),
    ({"silent": "error", "steering": [{**SHORT, "positions": 500}]}, "did nothing"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0}, "asks for nothing"),
    ({"max_tokens": 1e3}, "max_tokens"),
    ({"max_tokens": "8"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 201}, "more than the 200"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 11}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"),
    ({"n": 0}, "n"),
    ({"n": 65}, "n"),
    ({"best_of": 3}, "best_of"),
    ({"seed": -1}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"seed": 2**70}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": 5}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_costs": True}}, "include_costs"),
    ({"stream": True, "echo": True, "logprobs": 1}, "not streamed"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"echo": 1}, "echo"),
    ({"suffix": "end"}, "suffix"),
    ({"logit_bias": {"5": 100.0}}, "logit_bias"),
    ({"context_tokens": 9}, "context=9"),
    (
        {"echo": True, "logprobs": 1, "steering": [{**SHORT, "positions": "last"}]},
        "context_tokens",
    ),
    (
        {"echo": True, "logprobs": 1, "steering": [{**SHORT, "schedule": "first 3"}]},
        "context_tokens",
    ),
]

CHATS: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "user"}]}, "content"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
    ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "name"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "last message"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "give one"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"top_logprobs": 2}, "logprobs"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"echo": True}, "echo"),
    ({"steering": [{"feature": 1176}]}, "needs one of"),
]

BODIES: list[tuple[str, str, str]] = [
    (COMPLETE, "", "no JSON"),
    (COMPLETE, "{", "no JSON"),
    (COMPLETE, "[]", ""),
    (COMPLETE, "null", ""),
    (COMPLETE, '"text"', ""),
    (COMPLETE, "[" * 100_000, "no JSON"),
    (COMPLETE, f'{{"model": "{MODEL}", "prompt": "a", "temperature": NaN}}', "NaN"),
    (COMPLETE, f'{{"model": "{MODEL}", "prompt": "a", "temperature": Infinity}}', "Infinity"),
    (
        COMPLETE,
        f'{{"model": "{MODEL}", "prompt": "a", "steering": [{json.dumps(SHORT)}], "steering": []}}',
        "twice",
    ),
    (COMPLETE, f'{{"model": "{MODEL}", "model": "{MODEL}", "prompt": "a"}}', "twice"),
    ("/v1/tokenize", json.dumps({"prompt": "a", "messages": [SHORT]}), "messages"),
    ("/v1/tokenize", json.dumps({"model": "gpt-4", "prompt": "a"}), "not served"),
    ("/v1/detokenize", json.dumps({"tokens": [99_999]}), "99999"),
    ("/v1/detokenize", json.dumps({"tokens": []}), "tokens"),
    ("/v1/explain", json.dumps({"model": MODEL}), "nothing would act"),
    (
        "/v1/explain",
        json.dumps({"model": MODEL, "steering": [{"feature": 99_999, "clamp": 1}]}),
        "",
    ),
    ("/v1/features", json.dumps({"model": MODEL}), "give text"),
    ("/v1/features", json.dumps({"model": MODEL, "feature": 99_999}), "99999"),
    ("/v1/features", json.dumps({"model": MODEL, "text": "a", "dictionary": "/etc"}), "server's"),
    ("/v1/concept", json.dumps({"model": MODEL, "word": " "}), ""),
    ("/v1/steer/completion", json.dumps({"model": MODEL}), "steerMethod"),
    ("/v1/steer/completion-chat", json.dumps({"model": MODEL, "prompt": PROMPT}), "steerMethod"),
    ("/v1/nothing", "{}", "Not Found"),
    ("/v1/models", "{}", "Method Not Allowed"),
]


def _all() -> Iterator[Wrong]:
    base = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4}
    for steering, says in STEERING:
        if steering != "nonsense":
            yield Wrong(COMPLETE, json.dumps({**base, "steering": steering}), says)
        given = {"steer": steering}
        yield Wrong(COMPLETE, json.dumps({**base, "vllm_xargs": given}), says)
    for fields, says in FIELDS:
        yield Wrong(COMPLETE, json.dumps({**base, **fields}), says)
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    for fields, says in CHATS:
        yield Wrong(CHAT, json.dumps({**chat, **fields}), says)
    for path, content, says in BODIES:
        yield Wrong(path, content, says)


WRONG = list(_all())
