"""Writes what is published of a shipped dictionary, with activations read by plain transformers.

`python -m tests.golden.make_published`: it needs the default model; the figures are the card's, as
the README has them, and nothing of the toolkit reads or encodes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer.lm import default_model

LAYER = 20
ROOM = Path(__file__).parents[2] / "dictionaries"
SHIPPED = ROOM / "shipped" / "smollm2-135m" / f"resid_post.{LAYER}"
TEXTS = (
    "The old bridge was shorter and wider than the new one, and much older.",
    "Then Mary gave a drink to John, who had never been to the store before.",
    "In 1998 the largest earthquake of the decade struck the coast of the country.",
)
FEATURES = 5


def main() -> None:
    source = default_model.fetch()
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    weights = load_file(SHIPPED / "sae_weights.safetensors")
    card = json.loads((SHIPPED / "card.json").read_text("utf-8"))
    records = []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        x = states[LAYER + 1][0]
        pre = x @ weights["W_enc"].float() + weights["b_enc"].float()
        acts = pre.relu() * (pre > weights["threshold"].float())
        top = acts[1:].amax(0).topk(FEATURES).indices.tolist()
        values = {i: [round(v, 4) for v in acts[:, i].tolist()] for i in top}
        seen = [{"index": i, "values": values[i]} for i in top]
        records.append({"text": text, "token_ids": ids, "activations": seen})
    document = {
        "comment": "written by python -m tests.golden.make_published",
        "source": "dictionaries/README.md, The shipped dictionaries",
        "model": "smollm2-135m",
        "site": f"resid_post.{LAYER}",
        "kind": "batchtopk",
        "prepend_bos": False,
        "model_dtype": "float32",
        "figures": {
            "l0": card["l0"],
            "explained_variance": 1 - card["fvu"],
            "delta_ce": card["delta_ce"],
        },
        "activations": records,
    }
    path = ROOM / "published" / f"smollm2-135m-resid_post.{LAYER}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
