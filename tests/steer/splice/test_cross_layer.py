"""Cross-layer transcoders: one dictionary a block, whose edits reach every site that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from dictionaries import catalogue
from dictionaries.errors import FormatError
from steer.effects.controls.trials import random_trials
from steer.effects.downstream.downstream import downstream
from steer.effects.metric import LogitDifference
from steer.effects.paths.direct import direct_logit_effect
from steer.exchange.formats import steering_vector
from steer.splice import passes
from tests.support import plain, tiny
from tests.support.cross_layer import EDITS, FORMULAE, parts, random_blocks, write_pairs
from tests.support.plain import PlainTranscoder, path_of
from tests.support.tiny import LAYERS, PROMPTS, D

METRIC = LogitDifference("w5", "w6")


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_every_written_site_moves_by_the_change_times_its_row(
    family: str, layer: int, clt: Path
) -> None:
    model = tiny.tiny_model(family)
    dictionary = model.dictionary(f"{clt}#{layer}")
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans([steer.Intervention(dictionary.name, EDITS)])
    ours, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    sites = [
        PlainTranscoder(
            path_of(family, str(part.config.hookpoint)),
            path_of(family, str(part.config.hookpoint_out)),
            part,
            FORMULAE,
        )
        for part in parts(dictionary)
    ]
    theirs = plain.logits(tiny.plain_model(family), ids, mask, sites)
    real = mask.bool()
    torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=1e-4)
    change = record.after - record.before
    assert change[real].abs().max() > 0.1
    moved = torch.stack(
        [(change @ part.W_dec[[5, 9, 20]]).norm(dim=-1) for part in parts(dictionary)]
    )
    assert (moved - record.delta_norm).abs().amin(0)[real].max() < 1e-4  # of one of its sites


def test_a_feature_that_skips_its_own_block_acted(llama: steer.Model, tmp_path: Path) -> None:
    blocks = random_blocks()
    blocks[0]["W_dec"][5, 0] = 0
    name = f"{write_pairs(tmp_path / 'clt', blocks)}#0"
    run = llama.generate(
        PROMPTS[0], steer.Intervention(name, steer.Clamp(5, 3.0)), max_new_tokens=3, temperature=0
    )
    (entry,) = run.receipt
    assert entry.acted
    assert entry.relative_dose is not None
    assert entry.relative_dose > 0


@pytest.mark.parametrize("cache", [True, False])
def test_generation_by_name(either_clt: Path, llama: steer.Model, cache: bool) -> None:
    """Token by token the same as hooks at every site, and one line of the receipt an edit."""
    dictionary = llama.dictionary(f"{either_clt}#0")
    run = llama.generate(
        PROMPTS[0], steer.Intervention(dictionary.name, EDITS), temperature=0, max_new_tokens=4,
        use_cache=cache, if_silent="ignore",
    )  # fmt: skip
    sites = [
        PlainTranscoder(
            path_of("llama", str(part.config.hookpoint)),
            path_of("llama", str(part.config.hookpoint_out)),
            part,
            FORMULAE,
        )
        for part in parts(dictionary)
    ]
    ids = llama.tokenize([PROMPTS[0]])[0]
    expected = plain.greedy(tiny.plain_model("llama"), ids, 4, sites, tiny.EOS)
    assert list(run.ids) == expected
    assert [entry.dictionary for entry in run.receipt] == [dictionary.name] * len(EDITS)


def test_explain_says_where_it_writes(clt: Path, llama: steer.Model) -> None:
    plans = [
        llama.explain(steer.Intervention(f"{clt}#{layer}", steer.Clamp(5, 3.0))).plans[0]
        for layer in (0, LAYERS - 1)
    ]
    assert [plan.writes for plan in plans] == ["mlp_out.0 to mlp_out.2", "mlp_out.2"]
    assert plans[0].payload_bytes > plans[1].payload_bytes


@pytest.mark.parametrize("error", ["drop", "frozen"])
def test_the_error_of_a_block_is_not_known(error: Any, clt: Path, llama: steer.Model) -> None:
    for layer in (0, 1):
        edit = steer.Intervention(f"{clt}#{layer}", EDITS, error=error)
        with pytest.raises(steer.InterventionError, match="use error='keep'"):
            llama.plans([edit], clean=slice(0, 1))
        with pytest.raises(FormatError, match="cross-layer"):
            catalogue.save(catalogue.load(f"{clt}#{layer}"), clt / "copy")


def test_effects_of_one_site_say_so(clt: Path, llama: steer.Model) -> None:
    name = f"{clt}#0"
    edit = steer.Intervention(name, steer.Add(5, 3.0))
    for run in (
        lambda: steer.ablation_sweep(llama, PROMPTS[:1], llama.dictionary(name)),
        lambda: direct_logit_effect(llama, llama.dictionary(name), 5),
        lambda: steering_vector(llama, edit),
        lambda: downstream(llama, PROMPTS[:1], edit, tiny.dictionary()),
    ):
        with pytest.raises(steer.InterventionError, match="cross-layer transcoder"):
            run()


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_the_controls_own_row_is_the_measured_effect(family: str, layer: int, clt: Path) -> None:
    """All sites of an edit moved from a clean pass are the edit; its controls are as large."""
    model = tiny.tiny_model(family)
    edit = steer.Intervention(f"{clt}#{layer}", EDITS)
    effect = steer.logit_effect(model, PROMPTS, edit, metric=METRIC, draws=3, if_silent="ignore")
    assert effect.controls is not None
    assert effect.metric is not None
    rows = effect.controls.to_rows()
    own = rows.loc[rows["control"] == "edit"].set_index("prompt")
    assert torch.allclose(torch.tensor(own["effect"]).float(), effect.metric.float(), atol=2e-5)
    assert (own["norm"] > 0.1).any()
    assert list(rows["control"].value_counts().loc[["random", "matched"]]) == [3 * len(PROMPTS)] * 2
    for _, row in rows.iterrows():
        assert row["norm"] == pytest.approx(own.loc[row["prompt"], "norm"], rel=1e-5, abs=1e-6)


def test_a_random_control_keeps_the_angles_between_sites() -> None:
    deltas = torch.randn(3, 5, D, generator=torch.Generator().manual_seed(0))
    deltas[1] = 2 * deltas[0]
    trials = random_trials(deltas[0], 4, 0, list(deltas[1:]))
    flat = deltas.flatten(0, 1)
    for trial in trials:
        turned = torch.cat(trial.deltas)
        torch.testing.assert_close(turned @ turned.T, flat @ flat.T, atol=1e-4, rtol=1e-4)
        assert (turned - flat).norm() > 0.5 * flat.norm()
    assert not torch.allclose(trials[0].delta, trials[1].delta)
