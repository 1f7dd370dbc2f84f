"""Documents of the local tasks, as lm-eval asks for them. It loads this file by its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

FEWSHOT = 16
"""The first documents of a file are examples for few-shot prompts; the others are the test."""


def load(documents: str, **_: Any) -> dict[str, Dataset]:
    """The documents of a file of this folder, split. lm-eval passes its metadata along."""
    lines = (Path(__file__).parent / documents).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {"fewshot": Dataset.from_list(rows[:FEWSHOT]), "test": Dataset.from_list(rows[FEWSHOT:])}
