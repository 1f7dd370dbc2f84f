"""A recipe for a tiny model, and its corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from apps.training import contexts as contexts_module
from apps.training.recipe import Recipe, load_recipe
from tests.support import tiny

GOOD = """
name = "tiny"
model = "{model}"
sites = ["resid_post.0", "resid_post.1"]
tokens = 6400
context = 16
heldout_share = 0.25
evaluation_tokens = 300
harvest_dtype = "float32"
evaluation_dtype = "float32"
outlier_medians = 100.0

[corpora]
sotu = 0.5
news = 0.5

[train]
width = 40
k = 4
samples = 6400
batch = 64
learning_rate = 2e-3
candidates_dtype = "float32"

[train."resid_post.1"]
k = 5
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """The recipe with some text replaced."""

    def to_file(*replacements: tuple[str, str], model: str = "smollm2-135m") -> Path:
        text = GOOD.replace("{model}", model)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return to_file


def documents(name: str, cache: Path) -> Iterator[str]:
    """Two hundred seeded documents of thirty-three words."""
    generator = torch.Generator().manual_seed(len(name))
    for row in torch.randint(3, tiny.VOCABULARY, (200, 33), generator=generator).tolist():
        yield " ".join(f"w{i}" for i in row)


@pytest.fixture
def recipe(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    model = tmp_path / "model"
    tiny.build("llama").save_pretrained(model)
    tiny.tokenizer().save_pretrained(model)
    monkeypatch.setattr(contexts_module, "documents", documents)
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    return load_recipe(str(write(model=str(model))))
