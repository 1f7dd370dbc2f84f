"""Rows of a batch are written as each would be alone, and only its own edit acts on it."""

from __future__ import annotations

import pytest
import torch

from steer import Add, Intervention
from steer.concepts.writing import Row, Written, losses, variety, write
from steer.lm.prompts import read_prompt
from tests.steer.concepts.test_dose import dictionary, model
from tests.support import tiny


def rows() -> list[Row]:
    edit = Intervention("planted", [Add(0, 6.0, positions="1:")])
    prompts = [read_prompt(model(), text) for text in tiny.PROMPTS]
    return [
        Row(prompts[0], 1),
        Row(prompts[1], 2, edit),
        Row(prompts[2], 2, edit),
        Row(prompts[1], 2),
        Row(prompts[0], 3, edit),
    ]


def test_a_row_is_written_as_it_would_be_alone() -> None:
    together = write(model(), rows(), 8, dictionary())
    alone = [write(model(), [row], 8, dictionary())[0] for row in rows()]
    assert together == alone
    assert together[1] != together[3]


def test_an_untouched_row_is_the_library_s_own_text() -> None:
    row = rows()[3]
    (written,) = write(model(), [row], 8)
    run = model().generate(
        row.prompt.text,
        Intervention("planted", [Add(0, 0.0)]),
        dictionaries=[dictionary()],
        max_new_tokens=8,
        seed=row.seed,
        temperature=0.5,
        if_silent="ignore",
    )
    assert run.baseline.text == written.text


def test_losses_are_those_of_the_text_alone() -> None:
    prompts = [read_prompt(model(), text) for text in tiny.PROMPTS]
    texts = [Written("", (7, 9, 30)), Written("", ()), Written("", (5, 5))]
    found = losses(model(), prompts, texts)
    assert found[1].isnan()
    for place in (0, 2):
        ids = torch.tensor([prompts[place].ids + texts[place].ids])
        with torch.no_grad():
            logs = model().module(ids).logits.log_softmax(-1)
        n = len(texts[place].ids)
        expected = -logs[0, -n - 1 : -1].gather(-1, ids[0, -n:, None]).mean()
        assert found[place].item() == pytest.approx(expected.item(), abs=1e-5)


def test_variety_falls_with_repetition() -> None:
    texts = [Written("", (1, 2, 3, 4)), Written("", (1, 1, 1, 1, 1))]
    assert variety(texts).tolist() == pytest.approx([1, 0.25])
