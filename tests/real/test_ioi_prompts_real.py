"""The prompts of indirect objects that published figures rest on, with the default tokenizer."""

from __future__ import annotations

import steer
from apps.studies.ioi_prompts import cases, pairs


def test_a_seed_gives_what_it_always_gave() -> None:
    model = steer.load("smollm2-135m", device="cpu")
    assert [case.prompt for case in cases(model, 4)] == [
        "When Jane and Peter went to the store, Peter gave a drink to",
        "Then John and Emma had a long talk, and after it Emma said goodbye to",
        "After Laura and Henry came home from work, Henry handed the keys to",
        "When Jane and Mark went to the store, Mark gave a drink to",
    ]
    assert [(pair.prompt, pair.other_answer) for pair in pairs(model, 4)] == [
        ("After Emily and Michael left the office, Emily handed a drink to", " Kate"),
        ("After Daniel and Laura left the park, Daniel handed a ring to", " Karen"),
        ("Then, Sarah and Robert went to the hospital, and Sarah gave a book to", " Martin"),
        ("Then, Kevin and Jack went to the hospital, and Jack gave a letter to", " Henry"),
    ]
