"""Edits that take their values or directions from other texts, and the error policies."""

from __future__ import annotations

import pytest
import torch

import steer
from dictionaries.architectures import JumpReLU
from dictionaries.config import DictionaryConfig
from steer.edits import (
    AddDirection,
    Clamp,
    Intervention,
    Patch,
    ProjectOut,
    Resample,
)
from steer.edits.directions import Difference
from steer.errors import InterventionError
from steer.lm.passes import plain, save
from steer.splice import passes
from steer.splice.record import Record
from tests.support.tiny import PROMPT, WIDTH, D, dictionary, tiny_model

OTHER = "w50 w51 w52"


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


def _residual(
    model: steer.Model, intervention: Intervention, given: object
) -> tuple[torch.Tensor, Record]:
    """What the site holds without the splice on PROMPT, [s, d], and what the splice did."""
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([intervention], [given])  # type: ignore[list-item]
    clean = model.collect(ids, mask, ["resid_post.1"])["resid_post.1"][0]
    _, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    return clean, record


def test_patch_takes_the_activation_at_the_same_position(model: steer.Model) -> None:
    given = dictionary()
    source = model.features(OTHER, given).activations
    feature = int((source[1] > 0).nonzero()[0])
    _, record = _residual(model, Intervention("tiny", [Patch(feature, OTHER)]), given)
    after = record.after[0, :, 0]
    torch.testing.assert_close(after[:3], source[:, feature])
    assert torch.equal(after[3:], record.before[0, 3:, 0])
    assert not record.fired[0, 3:, 0].any()


def test_patching_a_prompt_with_itself_changes_nothing(model: steer.Model) -> None:
    given = dictionary()
    edits = [Patch(feature, PROMPT) for feature in range(WIDTH)]
    _, record = _residual(model, Intervention("tiny", edits), given)
    assert record.delta_norm.max() < 1e-5


def test_resample_draws_from_the_reference_and_depends_on_the_seed(model: steer.Model) -> None:
    given = dictionary()
    pool = torch.cat([model.features(text, given).activations[1:, 5] for text in (OTHER, PROMPT)])
    drawn = []
    for seed in (0, 0, 1):
        edit = Resample(5, [OTHER, PROMPT], seed)
        _, record = _residual(model, Intervention("tiny", [edit]), given)
        drawn.append(record.after[0, :, 0])
        nearest = (record.after[0, :, :1] - pool).abs().min(-1).values
        assert nearest.max() < 1e-5
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_difference_of_means_is_that_of_the_last_tokens(model: steer.Model) -> None:
    source = Difference(["w3 w4", "w9"], [OTHER])
    ends = []
    for text in ("w3 w4", "w9", OTHER):
        ids, mask = model.tokenize([text])
        ends.append(model.collect(ids, mask, ["resid_post.1"])["resid_post.1"][0, -1])
    wanted = (ends[0] + ends[1]) / 2 - ends[2]
    (plan,) = model.plans([Intervention("resid_post.1", [AddDirection(source)])])
    added = plan.edits[0].amount * plan.W_dec[0]
    torch.testing.assert_close(added, wanted, rtol=1e-4, atol=1e-5)


def test_projecting_out_is_idempotent_and_is_not_a_feature_ablation(model: steer.Model) -> None:
    given = dictionary()
    row = given.W_dec[7]
    edit = ProjectOut(steer.DecoderRow("tiny", 7))
    clean, record = _residual(model, Intervention("tiny", [edit]), given)
    assert record.reached.abs().max() < 1e-5
    once = clean - (clean @ row)[:, None] * row
    assert (once.norm(dim=-1) <= clean.norm(dim=-1) + 1e-6).all()
    twice = once - (once @ row)[:, None] * row
    torch.testing.assert_close(once, twice)
    features = given.encode(clean)[0][:, 7]
    assert not torch.allclose(clean - features[:, None] * row, once, atol=1e-3)


def test_frozen_error_is_that_of_the_clean_run(model: steer.Model) -> None:
    """Edit block 0 and freeze the error at block 1: x' = decode(encode(x_edited)) + clean error."""
    early, late = dictionary("resid_post.0", seed=4), dictionary("resid_post.1")
    early, late = _named(early, "early"), _named(late, "late")
    interventions = [Intervention("early", [Clamp(3, 4.0)]), Intervention("late", [], "frozen")]
    ids, mask = model.tokenize([PROMPT, PROMPT])
    plans = model.plans(interventions, [early, late], rows=slice(1, 2), clean=slice(0, 1))
    logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)

    def replaced(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        out[1] = late.reconstruct(x[1]) + x[0] - late.reconstruct(x[0])
        return out

    early_only = model.plans(interventions[:1], [early], rows=slice(1, 2))
    with torch.inference_mode(), model.nn.trace({"input_ids": ids, "attention_mask": mask}) as t:
        passes.apply(model.nn, early_only, model.span(ids, mask), {})
        x = model.nn.model.layers[1].output
        x[:] = replaced(x)
        wanted = save(t.result)
    torch.testing.assert_close(logits, wanted.logits, rtol=1e-4, atol=1e-4)


def test_frozen_error_needs_the_clean_run(model: steer.Model) -> None:
    with pytest.raises(InterventionError, match="logit_effect"):
        model.generate(
            PROMPT, Intervention("tiny", [Clamp(1, 2.0)], "frozen"), dictionaries=[dictionary()]
        )


def _named(given: object, name: str) -> JumpReLU:
    from dataclasses import replace

    return replace(given, name=name)  # type: ignore[type-var, return-value]


def _transcoder() -> JumpReLU:
    given = dictionary("mlp_in.1")
    config = DictionaryConfig(D, WIDTH, "mlp_in.1", d_out=D, hookpoint_out="mlp_out.1")
    skip = torch.randn(D, D, generator=torch.Generator().manual_seed(1))
    return JumpReLU(
        given.W_enc, given.b_enc, given.W_dec, given.b_dec, config, "tiny",
        threshold=torch.zeros(WIDTH), W_skip=skip,
    )  # fmt: skip


def test_transcoder_reads_its_input_and_writes_its_output(model: steer.Model) -> None:
    transcoder = _transcoder()
    ids, mask = model.tokenize([PROMPT])
    sites = model.collect(ids, mask, ["mlp_in.1", "mlp_out.1"])
    plans = model.plans([Intervention("tiny", [Clamp(4, 3.0)])], [transcoder])
    logits, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    f = transcoder.encode(sites["mlp_in.1"])[0][..., 4]
    torch.testing.assert_close(record.before[..., 0], f)
    wanted = sites["mlp_out.1"] + (3.0 - f)[..., None] * transcoder.W_dec[4]
    patched = plain.replace(
        model.nn, ids, mask, model.site("mlp_out.1"), lambda x: wanted.to(x.dtype)
    )
    torch.testing.assert_close(logits, patched, rtol=1e-5, atol=1e-5)
    assert record.reached.isnan().all()


def test_dropping_a_transcoders_error_keeps_its_skip_term(model: steer.Model) -> None:
    transcoder = _transcoder()
    ids, mask = model.tokenize([PROMPT])
    x = model.collect(ids, mask, ["mlp_in.1"])["mlp_in.1"]
    plans = model.plans([Intervention("tiny", [], "drop")], [transcoder])
    logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    site = model.site("mlp_out.1")
    patched = plain.replace(model.nn, ids, mask, site, lambda _: transcoder.reconstruct(x))
    torch.testing.assert_close(logits, patched, rtol=1e-4, atol=1e-4)
