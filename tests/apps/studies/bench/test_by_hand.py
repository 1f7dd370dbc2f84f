"""What is timed side by side does the same: by hand, and by this package."""

from __future__ import annotations

import torch

import steer
from apps.studies.bench.by_hand import batched, one_hook
from tests.support import tiny

SAE = tiny.dictionary()
PROMPT = tiny.PROMPT


def test_a_batched_tail_by_hand_is_the_sweep(llama: steer.Model) -> None:
    ids, _ = llama.tokenize([PROMPT])
    features, kl = batched(llama.module, ids, SAE, layer=1)
    sweep = steer.ablation_sweep(llama, PROMPT, SAE, positions="1:")
    ours = {row["feature"]: row["effect"] for row in sweep.rows}
    assert sorted(ours) == features.tolist()
    expected = torch.tensor([ours[feature] for feature in features.tolist()])
    assert torch.allclose(kl, expected, atol=1e-5)


def test_a_hook_by_hand_is_an_edit(llama: steer.Model) -> None:
    ids, _ = llama.tokenize([PROMPT])
    row = SAE.W_dec[5]
    edit = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Vector(row), 2.0)])
    after = one_hook(
        llama.module.get_submodule(llama.anatomy.stack)[1],
        llama.module,
        ids,
        (2.0 * row / row.norm()).expand(ids.shape[1], -1),
    )
    effect = steer.logit_effect(llama, PROMPT, edit, draws=0)
    with torch.inference_mode():
        before = llama.module(ids).logits[0, -1]
    assert torch.allclose(after - before, effect.delta_logit[0], atol=1e-4)
