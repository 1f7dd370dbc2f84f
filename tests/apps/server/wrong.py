"""Two hundred requests that must be refused, and a word of what each is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.apps.server.wrong_steering import DEEP, SHORT, STEERING, TEXTS
from tests.support.serving import MODEL

PROMPT = "The old bridge"
COMPLETE, CHAT = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True)
class Wrong:
    """A request, and what its answer says."""

    path: str
    content: str
    says: str = ""
    method: str = "POST"

    def __str__(self) -> str:
        return f"{self.path} {self.content[:70]}"


def nested(begin: str, end: str) -> str:
    """A body whose steering is nested beyond what is read."""
    whole = json.dumps({"model": MODEL, "prompt": "a", "steering": 0})
    return whole.replace("0}", f"{begin * DEEP}0{end * DEEP}}}")


def neuronpedia(**other: Any) -> dict[str, Any]:
    feature = {"model": MODEL, "source": f"{MODEL}/resid_post.20", "index": 1176, "strength": 40.0}
    return {
        "prompt": PROMPT,
        "model": MODEL,
        "steerMethod": "SIMPLE_ADDITIVE",
        "normalizeSteering": False,
        "types": ["STEERED", "DEFAULT"],
        "features": [feature],
        "nCompletionTokens": 4,
        "temperature": 0.5,
        "strengthMultiplier": 2.0,
        "freqPenalty": 0.0,
        "seed": 16,
        **other,
    }


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
    ({"stream_options": {"include_usage": True}}, "set stream to true"),
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
    (
        COMPLETE,
        nested("[", "]"),
        "nested too deeply",
    ),
    (
        COMPLETE,
        nested('{"a": ', "}"),
        "nested too deeply",
    ),
    (
        f"{COMPLETE}?steering=[]",
        json.dumps({"model": MODEL, "prompt": "a"}),
        "?steering=[] would not act",
    ),
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
    ("/v1/steer/completion", json.dumps(neuronpedia(n_completion_tokens=3)), "n_completion_tokens"),
    ("/v1/steer/completion", json.dumps(neuronpedia(types=["STEERED"] * 2)), "twice"),
    ("/v1/steer/completion", json.dumps(neuronpedia(strengthMultiplier=1e308)), "not allowed"),
    (
        "/v1/steer/completion-chat",
        json.dumps(
            neuronpedia(prompt=[{"role": "wizard", "content": "a"}], steerSpecialTokens=True)
        ),
        "role",
    ),
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
    for text, says in TEXTS:
        yield Wrong(COMPLETE, json.dumps({**base, "vllm_xargs": {"steer": text}}), says)
    for fields, says in FIELDS:
        yield Wrong(COMPLETE, json.dumps({**base, **fields}), says)
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    for fields, says in CHATS:
        yield Wrong(CHAT, json.dumps({**chat, **fields}), says)
    for path, content, says in BODIES:
        yield Wrong(path, content, says)


WRONG = list(_all())
