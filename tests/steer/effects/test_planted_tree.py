"""A model of three sites whose causes are known in closed form: recursion, paths, later features.

Attention writes nothing, the norms are the identity (their ε outweighs x), and the gates of the
MLPs read a constant, so that the blocks are linear:

    block 1: p = A g        block 2: t = B·p + C·g        logit = w_g·g + w_p·p + w_t t

g, p and t are orthonormal directions of the residual stream, and g is the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import steer
from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.effects.downstream.downstream import downstream
from steer.effects.metric import LogitDifference
from steer.effects.paths.path_effects import Freeze, path_effects
from steer.effects.tree.causal_tree import causal_tree
from steer.effects.tree.result import CausalTree, Node
from tests.support import tiny

D, N, EPS = 16, 4, 1e9
UP, DOWN = 90, 91
METRIC = LogitDifference(f"w{UP}", f"w{DOWN}")
TOKENS = range(3, 60)
TEXTS = tuple(f"w{3 + i % 57} w{3 + 7 * i % 57} w{3 + 11 * i % 57}" for i in range(40))

A = torch.tensor([[2.0, 0, 0, 0], [1, 3, 0, 0], [0, 0, 0.5, 0], [0, 0, 1, -1]]).double()
"""A[j, i]: what p_j takes of g_i."""
B = torch.tensor([1.0, 0.5, -0.25, 0]).double()
C = torch.tensor([0, 0, 0, 0.75]).double()
W_G, W_P, W_T = torch.tensor([0.3, -1, 0.2, 0.1]), torch.tensor([1.0, 0.4, 0, -2]), 1.5


@dataclass(frozen=True, eq=False)
class Planted:
    """g [V, 4]: what each token's embedding holds of the features of the first site.

    dictionaries: t; then p and g; then g, of the outputs of blocks 2, 1 and 0.
    """

    model: steer.Model
    dictionaries: tuple[Dictionary, Dictionary, Dictionary]
    g: Tensor

    def values(self, token: int) -> tuple[Tensor, Tensor, float]:
        """g, p and t at a token."""
        g = self.g[token]
        p = A @ g
        return g, p, (B @ p + C @ g).item()


def _dictionary(name: str, rows: Tensor) -> Dictionary:
    return ReLU(
        W_enc=rows.T.contiguous(),
        b_enc=torch.full((len(rows),), -1e-6, dtype=torch.float64),
        W_dec=rows,
        b_dec=torch.zeros(D, dtype=torch.float64),
        config=DictionaryConfig(D, len(rows), name),
        name=name,
        statistics=None,
    )


@cache
def planted() -> Planted:
    generator = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))[0]
    g_rows, p_rows, t_row, constant = basis[:4], basis[4:8], basis[8], basis[9]
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=D, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=N, rms_norm_eps=EPS, hidden_act="relu",
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=tiny.EOS, pad_token_id=tiny.PAD,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).double().eval()
    g = torch.rand(tiny.VOCABULARY, N, generator=generator, dtype=torch.float64) * 3 + 0.5
    g[::3, 0] = 0
    g[1::5, 1] = 0
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(EPS**0.5)
        model.model.embed_tokens.weight.copy_(g @ g_rows + constant)
        for block, read, written in (
            (1, g_rows, A.T @ p_rows),
            (2, p_rows, B.unsqueeze(1) * t_row),
        ):
            mlp = model.model.layers[block].mlp
            mlp.gate_proj.weight.copy_(constant.expand(N, -1))
            mlp.up_proj.weight.copy_(read)
            mlp.down_proj.weight.copy_(written.T)
        # g_3 goes to t past every p, by the way of p_3, which t does not take from (B_3 = 0).
        last = model.model.layers[2].mlp
        last.up_proj.weight[3] = g_rows[3]
        last.down_proj.weight[:, 3] = C[3] * t_row
        out = W_G.double() @ g_rows + W_P.double() @ p_rows + W_T * t_row
        model.lm_head.weight[UP], model.lm_head.weight[DOWN] = out / 2, -out / 2
    dictionaries = (
        _dictionary("resid_post.2", t_row.unsqueeze(0)),
        _dictionary("resid_post.1", torch.cat([p_rows, g_rows])),
        _dictionary("resid_post.0", g_rows),
    )
    return Planted(steer.load(model, tokenizer=tiny.tokenizer()), dictionaries, g)


@cache
def tree() -> CausalTree:
    known = planted()
    return causal_tree(known.model, known.dictionaries, 0, TEXTS, contexts=12)


def drops(node: Node) -> list[dict[int, float]]:
    """In each context, how far the node falls for each feature of the next dictionary."""
    found = []
    for context in node.contexts:
        g, p, _ = planted().values(context.ids[-1])
        if node.level == 0:
            of_p, of_g = B * p.clamp(min=0), C * g
            found.append(dict(enumerate([*of_p.tolist(), *of_g.tolist()])))
        elif node.feature < N:
            found.append(dict(enumerate((A[node.feature] * g).tolist())))
        else:  # g passes block 1 as it is
            found.append({node.feature - N: g[node.feature - N].item()})
    return found


def test_the_target_is_what_was_planted() -> None:
    for context in tree().nodes[0].contexts:
        assert context.activation == pytest.approx(planted().values(context.ids[-1])[2], rel=1e-5)


def test_exactly_the_planted_parents_and_grandparents_are_found() -> None:
    found = tree()
    named = {
        (found.nodes[e.child].level, found.nodes[e.child].feature, found.nodes[e.parent].feature)
        for e in found.edges
    }
    # p_2 lowers t and p_3 does nothing to it; g_3 is read at block 1's output, past every p.
    assert named == {(0, 0, 0), (0, 0, 1), (0, 0, N + 3), (1, 0, 0), (1, 1, 0), (1, 1, 1),
                     (1, N + 3, 3)}  # fmt: skip


def test_every_share_is_exact() -> None:
    found = tree()
    for edge in found.edges:
        child, parent = found.nodes[edge.child], found.nodes[edge.parent]
        each = [drop.get(parent.feature, 0.0) for drop in drops(child)]
        mean = sum(each) / len(each)
        assert edge.drop == pytest.approx(mean, rel=1e-5)
        assert edge.share == pytest.approx(mean / child.activation, rel=1e-5)
        assert edge.low - 1e-9 <= edge.drop <= edge.high + 1e-9
    for place in range(len(found.nodes)):
        own = [edge.drop for edge in found.edges if edge.child == place]
        assert all(one >= other for one, other in pairwise(own))


def test_shares_of_linear_parents_add_up() -> None:
    """All that p_0, p_1 and g_3 take part in is found, one level down and two."""
    found = tree()
    for place, node in enumerate(found.nodes):
        shares = [edge.share for edge in found.edges if edge.child == place]
        if node.level == 1:
            assert sum(shares) == pytest.approx(1, rel=1e-5)
    negative = [B[2].item() * planted().values(c.ids[-1])[1][2].item() for c in _root().contexts]
    left = 1 - sum(negative) / len(negative) / _root().activation
    assert sum(e.share for e in found.edges if e.child == 0) == pytest.approx(left, rel=1e-5)


def _root() -> Node:
    return tree().nodes[0]


@pytest.mark.parametrize("feature", range(N))
def test_direct_and_total_effects_of_paths_are_exact(feature: int) -> None:
    """Direct is the unembedding alone; total goes through p and t as well."""
    known, prompt = planted(), "w5 w7 w10"
    edit = steer.Intervention("resid_post.0", [steer.Ablate(feature, positions="1:")])
    a = known.g[10, feature].item()
    to_p = A[:, feature]
    to_t = (B @ to_p + C[feature]).item()
    direct = -a * W_G[feature].item()
    total = direct - a * ((W_P.double() @ to_p).item() + W_T * to_t)
    effects = path_effects(
        known.model, prompt, edit, {"mlps": Freeze(mlp=True), "attention": Freeze(attention=True)},
        metric=METRIC, dictionaries=known.dictionaries,
    )  # fmt: skip
    assert effects.effect["total"].item() == pytest.approx(total, rel=1e-4, abs=1e-5)
    assert effects.effect["direct"].item() == pytest.approx(direct, rel=1e-4, abs=1e-5)
    assert effects.effect["mlps"].item() == pytest.approx(direct, rel=1e-4, abs=1e-5)
    assert effects.effect["attention"].item() == pytest.approx(total, rel=1e-4, abs=1e-5)
    assert effects.effect["between"].item() == pytest.approx(total - direct, rel=1e-4, abs=1e-5)
    later = downstream(
        known.model, prompt, edit, known.dictionaries[0], dictionaries=known.dictionaries
    )
    assert later.changed[0].change[-1].sum().item() == pytest.approx(-a * to_t, rel=1e-5, abs=1e-6)
