"""What a receipt says: where an edit acted, how much, or why it did not."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from tests.support import plain, tiny
from tests.support.tiny import PROMPT


def run(
    *edits: steer.Edit,
    model: steer.Model | None = None,
    sae: Dictionary | None = None,
    if_silent: Any = "ignore",
) -> steer.Run:
    return (model or tiny.tiny_model("llama")).generate(
        PROMPT,
        steer.Intervention("tiny", edits),
        dictionaries=[sae or tiny.dictionary()],
        max_new_tokens=4,
        temperature=0,
        if_silent=if_silent,
    )


def read_by(found: steer.Run, module: Any) -> torch.Tensor:
    """The clean residual at the site, at every token that was read in the prompt."""
    ids = tiny.tiny_model("llama").tokenize([PROMPT])[0]
    with plain.recorded(plain.block(module, 2), "input") as residual:
        plain.logits(module, ids)
    return residual[0][0]


def test_what_acted(llama: steer.Model) -> None:
    sae, found = tiny.dictionary(), run(steer.Clamp(5, 9, positions="prompt"))
    (entry,) = found.receipt
    x = read_by(found, tiny.plain_model("llama"))
    before = sae.encode(x)[0][:, 5]
    edited = x + (9 - before).unsqueeze(1) * sae.W_dec[5]
    dose = (9 - before) * sae.W_dec[5].norm() / x.norm(dim=-1)
    assert (entry.dictionary, entry.feature, entry.kind) == ("tiny", 5, "clamp")
    assert entry.acted_tokens == tuple(range(6))
    assert (entry.acted, entry.touched, entry.reason) == (True, 6, None)
    tokens = entry.tokens
    assert [token.token for token in tokens] == PROMPT.split()
    for name, expected in (
        ("before", before),
        ("after", torch.full_like(before, 9.0)),
        ("reached", sae.encode(edited)[0][:, 5]),
        ("relative_dose", dose),
    ):
        given = torch.tensor([getattr(token, name) for token in tokens])
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
        assert getattr(entry, name) == pytest.approx(expected.mean().item(), rel=1e-5)


def test_only_tokens_that_were_read_are_in_it() -> None:
    found = run(steer.Clamp(5, 9))
    assert found.receipt[0].acted_tokens == tuple(range(6 + 4 - 1))
    generated = [token.token for token in found.receipt[0].tokens[6:]]
    assert generated == [f"w{i}" for i in found.ids[:3]]


def test_an_edit_of_active_tokens_acts_on_those(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    feature = tiny.active_features(llama, sae)[0]
    active = llama.features(PROMPT, sae).activations[:, feature].nonzero().flatten().tolist()
    entry = run(steer.Ablate(feature, positions="prompt")).receipt[0]
    assert list(entry.acted_tokens) == active
    assert entry.touched == 6
    assert entry.after == 0


# -- what did not act --------------------------------------------------------------------------


def silent_cases() -> dict[str, tuple[steer.Edit, str]]:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary()
    silent, active = tiny.silent_feature(model, sae), tiny.active_features(model, sae)[0]
    return {
        "no position": (steer.Clamp(5, 9, positions=50), "no token is at positions 50"),
        "silent": (
            steer.Ablate(silent, positions="prompt"),
            r"silent \(activation 0\) at all 6 touched tokens",
        ),
        "scaled": (steer.Scale(silent, 9, positions=[0, 1]), "silent .* at all 2 touched tokens"),
        "already": (steer.Cap(active, 1e6, positions="prompt"), "already what was asked .* all 6"),
    }


@pytest.mark.parametrize("name", ["no position", "silent", "scaled", "already"])
def test_the_reason_why_not(name: str) -> None:
    edit, reason = silent_cases()[name]
    found = run(edit)
    (entry,) = found.receipt
    assert (entry.acted, entry.acted_tokens, entry.tokens) == (False, (), ())
    assert entry.before is entry.after is entry.reached is entry.relative_dose is None
    assert found.ids == found.baseline.ids
    assert entry.reason is not None
    with pytest.raises(steer.SilentEditError, match=f"did nothing: .*{reason}"):
        found.receipt.raise_if_silent()
    with pytest.warns(steer.SilentEditWarning, match=f"{edit.kind} feature .* of tiny .*{reason}"):
        found.receipt.warn_if_silent()


def test_a_change_that_the_dtype_cannot_hold() -> None:
    """float16 ends at 6e-8, so that not even an entry of 0 can take 1e-10; float32 goes on."""
    model = tiny.tiny_model("llama", torch.float16)
    (entry,) = run(steer.Add(5, 1e-10, positions="prompt"), model=model).receipt
    assert entry.reason == "the change is smaller than the model's dtype can hold"
    assert entry.held == 0
    assert run(steer.Add(5, 1e-6, positions="prompt")).receipt[0].acted


def test_what_to_do_about_silence() -> None:
    edit = steer.Clamp(5, 9, positions=50)
    with pytest.warns(steer.SilentEditWarning):
        run(edit, if_silent="warn")
    with pytest.raises(steer.SilentEditError):
        run(edit, if_silent="raise")
    with pytest.raises(steer.SteerError, match="if_silent='shout' is unknown; allowed: warn"):
        run(edit, if_silent="shout")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(edit, if_silent="ignore")
        run(steer.Clamp(5, 9), if_silent="warn")
        run(steer.Clamp(5, 9), if_silent="raise")


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(steer.SilentEditWarning) as caught:
        tiny.tiny_model("llama").generate(
            PROMPT,
            steer.Intervention("tiny", [steer.Clamp(5, 9, positions=50)]),
            dictionaries=[tiny.dictionary()],
            max_new_tokens=1,
        )
    assert caught[0].filename == __file__


def test_silent_entries_are_found_among_others() -> None:
    found = run(steer.Clamp(5, 9), steer.Clamp(6, 9, positions=50))
    assert [entry.feature for entry in found.receipt.silent] == [6]
    assert len(found.receipt) == 2
    text = str(found.receipt).splitlines()
    assert "clamp feature 5 of tiny acted on 9 of 9 tokens" in text[0]
    assert "clamp feature 6 of tiny did nothing" in text[1]


def test_a_massive_activation_is_noted(llama: steer.Model) -> None:
    sae = replace(tiny.dictionary("resid_post.0"), name="first")
    blow_up = steer.Intervention("first", [steer.Clamp(5, 3000, positions=2)])
    edit = steer.Intervention("tiny", [steer.Clamp(5, 9, positions="prompt")])
    found = llama.generate(
        PROMPT, [blow_up, edit], dictionaries=[sae, tiny.dictionary()], max_new_tokens=3
    )
    assert str(found.receipt[1].note).startswith("massive activation at position 2 (norm up to ")
    assert found.receipt[0].note is None


def test_as_plain_data() -> None:
    entries = run(steer.Clamp(5, 9), steer.Clamp(6, 9, positions=50)).receipt.to_list()
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    needed = {"feature", "kind", "acted_tokens", "before", "after", "relative_dose", "reason"}
    assert all(needed <= set(entry) for entry in entries)
    assert entries[1]["acted_tokens"] == []
