"""lm-eval's own model type and ours on the same tiny model. Skipped where it is not installed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

import steer
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from tests.support import tiny

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

    from steer.evals.lm_eval.model import SteerLM

collect_ignore_glob = [] if find_spec("lm_eval") else ["test_*.py"]
logging.getLogger("lm_eval").setLevel(logging.ERROR)

Make = Callable[..., "SteerLM"]


@pytest.fixture
def sae() -> Dictionary:
    return tiny.dictionary()


@pytest.fixture
def make(llama: steer.Model, sae: Dictionary) -> Make:
    """Our model type on the tiny model, under edits of `tiny`."""

    from steer.evals.lm_eval.model import SteerLM

    def build(*edits: steer.Edit, **options: Any) -> SteerLM:
        given = [steer.Intervention("tiny", edits)] if edits else []
        options = {"batch_size": 3, "if_silent": "ignore", "progress": False, **options}
        return SteerLM(llama, given, (sae,), **options)

    return build


@pytest.fixture
def hf() -> HFLM:
    """lm-eval's own, on a model that nnsight never saw."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(tiny.plain_model("llama"), tokenizer=tiny.tokenizer(), batch_size=3)


KNOWN = """
    she he because since The My missed the train went home early, opened letter before was tired
    when said that actor actress king queen mother father girl boy Mary Sarah John James Robert
    Anna Emma Laura and to gave a drink store, park, When After arrived at handed ticket key map
"""


@pytest.fixture(scope="session")
def words() -> steer.Model:
    """The tiny model with a tokenizer that knows some words of the local tasks."""
    known = {"<pad>": tiny.PAD, "<eos>": tiny.EOS, "<unk>": tiny.UNKNOWN}
    known |= {
        word: number for number, word in enumerate(dict.fromkeys(KNOWN.split()), start=len(known))
    }
    backend = Tokenizer(WordLevel(known, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    return steer.load(tiny.build("llama"), tokenizer=tokenizer)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model saved, a dictionary of it, and two interventions."""
    root = tmp_path_factory.mktemp("evals")
    tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    saved = tiny.dictionary()
    catalogue.save(saved, root / "sae")
    assert saved.statistics is not None
    saved.statistics.save(root / "sae")
    name = str(root / "sae")
    steer.Intervention(name, [steer.Clamp(5, 9.0), steer.Ablate(7)]).save(root / "edit.json")
    steer.Intervention(name, [steer.Add(9, 4.0, positions="last")]).save(root / "other.json")
    return root
