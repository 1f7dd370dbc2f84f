"""A sweep equals one forward pass a feature; it can be stopped, and it keeps to its budget."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.effects.metric import LogitDifference, LogProbability, Metric
from steer.effects.sweep import ablation_sweep as sweeps
from steer.errors import SteerError
from steer.maths.memory import measured
from steer.splice import passes
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")
ablation_sweep = partial(sweeps.ablation_sweep, positions="all")
pair_sweep = partial(sweeps.pair_sweep, positions="all")
SITES = ("resid_post.1", "resid_pre.0", "resid_pre.1", "mlp_out.1", "attn_out.0", "resid_post.2")


def one_by_one(
    model: steer.Model, dictionary: Dictionary, prompt: str, edits: list[steer.Edit]
) -> torch.Tensor:
    """Logits [s, V] of a whole forward pass under the edits."""
    plans = model.plans([steer.Intervention("tiny", edits)], [dictionary]) if edits else []
    ids, mask = model.tokenize([prompt])
    return passes.logits(model.nn, ids, model.span(ids, mask), plans)[0][0].double()


def difference(logits: torch.Tensor) -> float:
    return (logits[-1, 5] - logits[-1, 6]).item()


@pytest.mark.parametrize("hookpoint", SITES)
def test_every_row_is_what_the_edit_does_alone(family: str, hookpoint: str) -> None:
    model = tiny.tiny_model(family)
    dictionary = tiny.dictionary(hookpoint, d=tiny.site_width(model, hookpoint))
    sweep = ablation_sweep(model, tiny.PROMPTS, dictionary, metric=METRIC)
    clean = [difference(one_by_one(model, dictionary, p, [])) for p in tiny.PROMPTS]
    for row in sweep.rows[::5]:
        prompt = tiny.PROMPTS[row["prompt"]]
        edited = one_by_one(model, dictionary, prompt, [steer.Ablate(row["feature"])])
        assert row["effect"] == pytest.approx(difference(edited) - clean[row["prompt"]], abs=2e-5)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_every_architecture(llama: steer.Model, architecture: str) -> None:
    dictionary = tiny.dictionary("resid_post.1", architecture)
    sweep = ablation_sweep(llama, tiny.PROMPT, dictionary, metric=METRIC)
    clean = difference(one_by_one(llama, dictionary, tiny.PROMPT, []))
    for row in sweep.rows:
        edited = one_by_one(llama, dictionary, tiny.PROMPT, [steer.Ablate(row["feature"])])
        assert row["effect"] == pytest.approx(difference(edited) - clean, abs=2e-5)


def test_activation_is_of_the_tokens_that_are_changed(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(llama, tiny.PROMPT, dictionary, positions="1:")
    activations = llama.features(tiny.PROMPT, dictionary).activations
    largest = activations[1:].amax(0)
    assert (activations[0] > largest)[sweep.features].any()
    for row in sweep.rows:
        assert row["activation"] == pytest.approx(largest[row["feature"]].item(), abs=1e-5)


def test_features_without_a_row_do_nothing(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(llama, tiny.PROMPT, dictionary, metric=METRIC)
    silent = tiny.silent_feature(llama, dictionary)
    assert silent not in sweep.features
    clean = one_by_one(llama, dictionary, tiny.PROMPT, [])
    edited = one_by_one(llama, dictionary, tiny.PROMPT, [steer.Ablate(silent)])
    assert torch.equal(clean, edited)


def test_any_edit_at_any_positions(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(
        llama,
        tiny.PROMPT,
        dictionary,
        [3, 4, 5],
        metric=LogProbability("w5"),
        edit=partial(steer.Clamp, value=4.0),
        positions=3,
    )
    clean = one_by_one(llama, dictionary, tiny.PROMPT, [])[-1].log_softmax(-1)[5]
    for row in sweep.rows:
        edit = steer.Clamp(row["feature"], 4.0, positions=3)
        edited = one_by_one(llama, dictionary, tiny.PROMPT, [edit])[-1].log_softmax(-1)[5]
        assert row["effect"] == pytest.approx((edited - clean).item(), abs=2e-5)
        assert row["tokens"] == 1


def test_loss_counts_the_positions_before_the_edit_as_unchanged(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(llama, tiny.PROMPT, dictionary, metric="loss", positions="2:")
    ids = llama.tokenize([tiny.PROMPT])[0][0]

    def loss(logits: torch.Tensor) -> float:
        return -logits[:-1].log_softmax(-1).gather(-1, ids[1:, None]).mean().item()

    clean = loss(one_by_one(llama, dictionary, tiny.PROMPT, []))
    for row in sweep.rows[::4]:
        edit = steer.Ablate(row["feature"], positions="2:")
        edited = loss(one_by_one(llama, dictionary, tiny.PROMPT, [edit]))
        assert row["effect"] == pytest.approx(edited - clean, abs=1e-5)


def test_the_first_token_is_left_alone_unless_asked_for(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    everywhere = ablation_sweep(llama, tiny.PROMPT, dictionary)
    default = sweeps.ablation_sweep(llama, tiny.PROMPT, dictionary)
    assert set(default.features) < set(everywhere.features)


def test_pairs_are_joint_effects_minus_sums(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    chosen = tiny.active_features(llama, dictionary)[:3]
    pairs = pair_sweep(llama, tiny.PROMPT, dictionary, chosen, metric=METRIC)
    assert len(pairs.rows) == 3
    clean = difference(one_by_one(llama, dictionary, tiny.PROMPT, []))
    for row in pairs.rows:
        edits: list[steer.Edit] = [steer.Ablate(row["feature"]), steer.Ablate(row["other"])]
        joint = difference(one_by_one(llama, dictionary, tiny.PROMPT, edits)) - clean
        assert row["joint"] == pytest.approx(joint, abs=2e-5)
        assert row["interaction"] == pytest.approx(row["joint"] - row["sum"], abs=1e-6)


def test_small_budgets_change_nothing_but_the_batches(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    large = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC)
    small = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC, budget=1)
    assert torch.allclose(large.matrix(), small.matrix(), atol=2e-5)


def test_a_batch_keeps_to_the_budget(llama: steer.Model) -> None:
    dictionary, budget = tiny.dictionary(), 400_000
    ablation_sweep(llama, tiny.PROMPTS[2], dictionary, metric=METRIC, budget=budget)
    with measured(llama.device) as peak:
        ablation_sweep(llama, tiny.PROMPTS[2], dictionary, metric=METRIC, budget=budget)
    assert peak.bytes <= 1.1 * budget


class Stopped(Exception):
    """Raised by the test to stop a sweep."""


def test_a_stopped_sweep_is_continued_from_its_file(llama: steer.Model, tmp_path: Path) -> None:
    dictionary, file = tiny.dictionary(), tmp_path / "sweep.jsonl"
    whole = ablation_sweep(llama, tiny.PROMPTS, dictionary, metric=METRIC)

    def stop(what: str, done: int, total: int) -> None:
        if done > total / 2:
            raise Stopped

    with pytest.raises(Stopped):
        ablation_sweep(
            llama, tiny.PROMPTS, dictionary, metric=METRIC, file=file, budget=1, progress=stop
        )
    with file.open("a") as torn:
        torn.write('{"rows": [{"pro')
    before = file.read_text().count('"effect"')
    assert 0 < before < len(whole)
    seen: list[int] = []
    again = ablation_sweep(
        llama,
        tiny.PROMPTS,
        dictionary,
        metric=METRIC,
        file=file,
        progress=lambda what, done, total: seen.append(done),
    )
    assert seen
    assert again.features == whole.features
    assert torch.allclose(again.matrix(), whole.matrix(), atol=2e-5)
    with pytest.raises(SteerError, match="another sweep"):
        ablation_sweep(llama, tiny.PROMPT, dictionary, metric=METRIC, file=file)


def test_frames(llama: steer.Model) -> None:
    sweep = ablation_sweep(llama, tiny.PROMPTS, tiny.dictionary(), metric=METRIC)
    frame, rows = sweep.frame, sweep.to_rows()
    assert len(rows) == len(sweep)
    assert list(frame["effect"].abs()) == sorted(frame["effect"].abs(), reverse=True)
    assert (
        (frame["low"] <= frame["effect"] + 1e-9) & (frame["effect"] <= frame["high"] + 1e-9)
    ).all()
    assert ((frame["q"] >= frame["p"]) & (frame["q"] <= 1)).all()


@pytest.mark.parametrize("metric", ["nonsense", [METRIC]])
def test_bad_metrics(llama: steer.Model, metric: str | list[Metric]) -> None:
    with pytest.raises(SteerError):
        ablation_sweep(llama, tiny.PROMPTS, tiny.dictionary(), metric=metric)


def test_bad_features(llama: steer.Model) -> None:
    with pytest.raises(SteerError, match="active, all"):
        ablation_sweep(llama, tiny.PROMPT, tiny.dictionary(), "some")
    with pytest.raises(SteerError, match="two different"):
        pair_sweep(llama, tiny.PROMPT, tiny.dictionary(), [3, 3])
