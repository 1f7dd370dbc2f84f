"""The demo's control: a random direction with the edit's norm, at the same tokens."""

from __future__ import annotations

import torch

import steer
from apps.studies.demo import SEED, random_direction
from steer.lm.passes import plain
from steer.maths import metrics
from tests.support import tiny


def test_the_control_is_a_direction_of_the_edit_s_norm_added_by_a_plain_hook(
    llama: steer.Model,
) -> None:
    given = tiny.dictionary()
    edit = steer.Intervention("tiny", [steer.Clamp(5, 9.0)])
    kl, promoted = random_direction(llama, tiny.PROMPT, edit, (given,))
    ids, mask = llama.tokenize([tiny.PROMPT])
    site = llama.site("resid_post.1")
    direction = torch.randn(
        1, tiny.D, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
    )[0]
    x = llama.collect(ids, mask, ["resid_post.1"])["resid_post.1"][0]
    with torch.inference_mode():
        features, _ = given.encode(x)
        delta = (9.0 - features[:, 5:6]) * given.W_dec[5]
    added = delta.norm(dim=-1, keepdim=True) * (direction / direction.norm()).float()
    clean = plain.replace(llama.nn, ids, mask, site, lambda x: x)[0, -1:]
    edited = plain.replace(llama.nn, ids, mask, site, lambda x: x + added)[0, -1:]
    torch.testing.assert_close(kl, metrics.kl(clean, edited).item(), rtol=1e-3, atol=1e-6)
    top = (edited - clean)[0].topk(3).indices.tolist()
    assert [each.token_id for each in promoted[:3]] == top
