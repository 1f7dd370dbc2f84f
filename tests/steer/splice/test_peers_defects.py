"""What other toolkits were seen to get wrong, one law each; formats' own are with the formats.

The defects were found by reading or running SAELens 6.54.12, lm-evaluation-harness, mi-crow,
HoagyC/sparse_coding, circuit-tracer, saklas, repsteer and steering-vectors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from tests.support import plain, tiny
from tests.support.tiny import PROMPT

SITE, NEW, LENGTH = "resid_post.1", 6, 6


def run(
    sae: Dictionary, *edits: steer.Edit, several: bool = False, error: str = "keep"
) -> steer.Run:
    """Greedy continuation; `several`: each edit in an intervention of its own."""
    groups = [[edit] for edit in edits] if several else [list(edits)]
    return tiny.tiny_model("llama").generate(
        PROMPT,
        [steer.Intervention("tiny", group, error) for group in groups],  # type: ignore[arg-type]
        dictionaries=[sae],
        max_new_tokens=NEW,
        temperature=0,
        if_silent="ignore",
    )


def written(sae: Dictionary, *edits: steer.Edit, several: bool = False) -> tuple[Tensor, Tensor]:
    """What goes into block 2 in the prefill, untouched and edited [6, d]."""
    block = plain.block(tiny.tiny_model("llama").module, 2)
    with plain.recorded(block, "input") as residual:
        run(sae, *edits, several=several)
    (edited,), (clean,) = residual[:2]
    return clean, edited


def test_a_spliced_skip_transcoder_keeps_its_linear_part() -> None:
    """SAELens's wrapper calls encode and decode, so that the spliced output lacks x @ W_skip."""
    model = tiny.tiny_model("llama")
    given = tiny.dictionary("mlp_in.1")
    config = DictionaryConfig(
        tiny.D, tiny.WIDTH, "mlp_in.1", d_out=tiny.D, hookpoint_out="mlp_out.1"
    )
    skip = torch.randn(tiny.D, tiny.D, generator=torch.Generator().manual_seed(0))
    sae = replace(given, config=config, W_skip=skip)
    block: Any = plain.block(model.module, 1)
    with (
        plain.recorded(block.post_attention_layernorm) as read,
        plain.recorded(block, "output") as after,
        plain.recorded(block.post_attention_layernorm, "input") as middle,
    ):
        run(sae, error="drop")
    x, spliced = read[0][0], (after[0] - middle[0])[0]
    torch.testing.assert_close(spliced, sae.reconstruct(x), atol=1e-4, rtol=1e-4)
    without = sae.reconstruct(x) - x @ skip
    assert (spliced - without).abs().max() > 0.1


def test_edits_of_one_site_do_not_overwrite_each_other() -> None:
    """lm-eval keeps one row of its file a hookpoint."""
    sae = tiny.dictionary(SITE)
    edits = steer.Clamp(5, 9.0), steer.Clamp(8, 7.0), steer.Add(11, 2.0)
    moves = []
    for edit in edits:
        clean, edited = written(sae, edit)
        moves.append(edited - clean)
    clean, together = written(sae, *edits, several=True)
    torch.testing.assert_close(together - clean, sum(moves), atol=1e-5, rtol=1e-5)


def test_a_clamp_is_of_the_feature_and_not_of_the_projection() -> None:
    """lm-eval's clamp sets x · d."""
    sae = tiny.dictionary(SITE)
    clean, edited = written(sae, steer.Clamp(5, 9.0))
    row, before = sae.W_dec[5], sae.encode(clean)[0][:, 5]
    torch.testing.assert_close(edited, clean + (9.0 - before)[:, None] * row, atol=1e-5, rtol=1e-5)
    assert (edited @ row - 9.0).abs().max() > 0.1


def test_scaling_one_feature_touches_no_other() -> None:
    """mi-crow adds a bias of ones: changing any multiplier adds 1 to every latent."""
    sae = tiny.dictionary(SITE)
    one, other = tiny.active_features(tiny.tiny_model("llama"), sae)[:2]
    clean, edited = written(sae, steer.Scale(one, 3.0), steer.Scale(other, 1.0))
    move = 2 * sae.encode(clean)[0][:, [one]] * sae.W_dec[one]
    assert move.abs().max() > 0.1
    torch.testing.assert_close(edited - clean, move, atol=1e-5, rtol=1e-5)


def test_an_edit_keeps_what_the_dictionary_does_not_explain() -> None:
    """mi-crow replaces the residual by the reconstruction."""
    sae = tiny.dictionary(SITE)
    feature = tiny.active_features(tiny.tiny_model("llama"), sae)[0]
    clean, edited = written(sae, steer.Ablate(feature))
    error = clean - sae.reconstruct(clean)
    assert error.abs().max() > 0.1
    rebuilt = sae.encode(clean)[0]
    rebuilt[:, feature] = 0
    torch.testing.assert_close(edited, sae.decode(rebuilt) + error, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("start", [LENGTH, LENGTH + 1, LENGTH + 3])
def test_a_slice_that_starts_beyond_the_prompt(start: int) -> None:
    """circuit-tracer turns it into position 0 of every step; steering-vectors selects nothing."""
    sae = tiny.dictionary(SITE)
    answer = run(sae, steer.Add(5, 3.0, positions=slice(start, None)))
    assert answer.receipt[0].acted_tokens == tuple(range(start, LENGTH + NEW - 1))
    same = start - LENGTH + 1
    assert answer.ids[:same] == answer.baseline.ids[:same]


def test_an_edit_acts_at_every_generated_token() -> None:
    """circuit-tracer's freezing applies to the first one only."""
    answer = run(tiny.dictionary(SITE), steer.Add(5, 3.0, positions="generated"))
    assert answer.receipt[0].acted_tokens == tuple(range(LENGTH - 1, LENGTH + NEW - 1))


def test_generated_includes_the_first_new_token() -> None:
    """repsteer's can't: that token's logits come from the prefill."""
    sae = tiny.dictionary(SITE)
    rows = sae.W_dec * 100
    answer = run(replace(sae, W_dec=rows), steer.Add(5, 3.0, positions="generated"))
    assert answer.ids[0] != answer.baseline.ids[0]


def test_a_condition_reads_the_token_that_it_gates() -> None:
    """saklas's gates read the previous step's value, and never fire in the prefill."""
    model, sae = tiny.tiny_model("llama"), tiny.dictionary(SITE)
    active = model.features(PROMPT, sae).activations > 0
    gate = next(f for f in tiny.active_features(model, sae) if 0 < active[:, f].sum() < LENGTH)
    answer = run(sae, steer.Add(5, 3.0, when=steer.Active(gate), positions="prompt"))
    assert answer.receipt[0].acted_tokens == tuple(active[:, gate].nonzero().flatten().tolist())


def test_logits_keep_their_shape() -> None:
    """HoagyC's run_with_model_intervention returns [batch * length, d]."""
    model, sae = tiny.tiny_model("llama"), tiny.dictionary(SITE)
    with plain.recorded(plain.final_norm(model.module)) as hidden:
        run(sae, steer.Clamp(5, 9.0))
    assert hidden[0].shape == (1, LENGTH, tiny.D)
