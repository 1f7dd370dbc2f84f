"""A Llama whose weights do what a planted graph says, and the dictionaries of its sites.

A neuron of an MLP is relu(gate·x) · (up·x), and the stream carries a constant, so that relus of
sums, products and, from two neurons, caps can be written down. Two kinds of worlds:

    exact  orthonormal directions; norms are the identity, since their ε outweighs x; nothing else
           is in the stream
    rough  directions that are not orthogonal; real norms, so that every feature has a little to do
           with every other; weights with noise; and in the stream an error that no feature explains
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from apps.studies.truth.graph import COUNT, OUTPUTS, WIDTHS, G, Gate, Graph, planted_graph
from dictionaries.architectures import JumpReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.loading import load
from steer.model import Model

WORLDS = ("exact", "rough")
D, HEADS, NEURONS, VOCABULARY, LENGTH = 96, 4, 48, 240, 8
FIRST, SILENT = 3, 3 + OUTPUTS
"""The first output token, and one whose logit reads nothing."""
DENSITY, LEAST, MOST = 0.22, 0.5, 2.0
"""Share of the tokens that hold a feature of g, and its activations where they do."""
THRESHOLD = 0.1
_CONSTANT = {"exact": 1.0, "rough": 80.0}
_EPS = {"exact": 1e9, "rough": 1e-6}
_TEXTS = 1500
_NOISE, _ERROR, _SHARP = 0.0005, 1.0, 2.0


@dataclass(frozen=True, eq=False)
class World:
    """graph: what is true of the model; dictionaries: of the sites 0, 1 and 2."""

    graph: Graph
    model: Model
    dictionaries: tuple[Dictionary, Dictionary, Dictionary]

    def prompts(self, feature: int, count: int, seed: int) -> list[str]:
        """At most so many texts at whose last token a feature is active."""
        ids, active = self._texts
        there = active[:, feature].nonzero().flatten()
        order = torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))
        return [" ".join(f"w{token}" for token in ids[i].tolist()) for i in there[order[:count]]]

    @cached_property
    def _texts(self) -> tuple[Tensor, Tensor]:
        """Ids of random texts, and which features are active at the last token of each."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(SILENT + 1, VOCABULARY, (_TEXTS, LENGTH), generator=generator)
        x = self.model.collect(ids, torch.ones_like(ids), ["resid_post.2"])["resid_post.2"]
        with torch.inference_mode():
            return ids, self.dictionaries[2].encode(x[:, -1])[0] > 0


def planted_world(kind: str, seed: int) -> World:
    """The same world for the same kind (of `WORLDS`) and seed."""
    graph = planted_graph(seed)
    generator = torch.Generator().manual_seed(1_000 + seed)
    basis = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))[0]
    rows = basis[: COUNT + 1]
    if kind == "rough":
        mixed = torch.randn(COUNT + 1, COUNT + 1, generator=generator, dtype=torch.float64)
        rows = torch.nn.functional.normalize(rows + 0.08 * mixed @ rows, dim=-1)
    readers = torch.linalg.pinv(rows).T.contiguous()
    module = _module(kind)
    with torch.no_grad():
        _plant(module, graph, rows, readers, kind, generator)
        if kind == "rough":
            outside = basis[COUNT + 1 :]
            error = torch.randn(VOCABULARY, len(outside), generator=generator).double() @ outside
            error *= _ERROR / error.norm(dim=-1, keepdim=True)
            module.model.embed_tokens.weight += error.float()
            for block in module.model.layers:
                for weight in (*block.self_attn.parameters(), *block.mlp.parameters()):
                    weight += _NOISE * torch.randn(weight.shape, generator=generator)
    of_sites = [
        _dictionary(site, rows[:width], readers[:width]) for site, width in enumerate(WIDTHS)
    ]
    dictionaries = (of_sites[0], of_sites[1], of_sites[2])
    return World(graph, load(module, tokenizer=_tokenizer()), dictionaries)


def _plant(
    module: Any, graph: Graph, rows: Tensor, readers: Tensor, kind: str, generator: torch.Generator
) -> None:
    """Write the graph into a model of zeros. rows, readers [COUNT + 1, d]; the last is constant."""
    for name, weight in module.named_parameters():
        weight.zero_()
        if "norm" in name:
            weight.fill_(_EPS["exact"] ** 0.5 if kind == "exact" else _CONSTANT[kind] / D**0.5)
    one = readers[-1] / _CONSTANT[kind]
    there = torch.rand(VOCABULARY, G, generator=generator) < DENSITY
    for first, second in graph.couples:
        there[:, second] = there[:, first]
    spread = LEAST + (MOST - LEAST) * torch.rand(VOCABULARY, G, generator=generator)
    g = torch.where(there, spread, 0.0).double()
    module.model.embed_tokens.weight.copy_(g @ rows[:G] + _CONSTANT[kind] * rows[-1])
    _plant_heads(module.model.layers[1].self_attn, graph, rows, readers, one)
    for block, (low, high) in ((1, (G, WIDTHS[1])), (2, (WIDTHS[1], WIDTHS[2]))):
        gates = [gate for gate in graph.gates if low <= gate.child < high]
        _plant_gates(module.model.layers[block].mlp, gates, rows, readers, one)
    for output, weights in enumerate(graph.reads):
        read = [weight * readers[feature] for feature, weight in weights.items()]
        module.lm_head.weight[FIRST + output] = torch.stack(read).sum(0)


def _plant_heads(attention: Any, graph: Graph, rows: Tensor, readers: Tensor, one: Tensor) -> None:
    """Each head's last pair of dimensions hardly turns with the position, and is its key."""
    size = D // HEADS
    for number, head in enumerate(graph.heads):
        first, last = number * size, (number + 1) * size - 1
        if head.key is not None:
            attention.q_proj.weight[last] = size**0.5 * _SHARP * one
            attention.k_proj.weight[last] = readers[head.key]
        attention.v_proj.weight[first] = readers[head.value]
        of_mean = LENGTH / 4 if head.key is None else 1
        attention.o_proj.weight[:, first] = of_mean * rows[head.child]


def _plant_gates(
    mlp: Any, gates: Sequence[Gate], rows: Tensor, readers: Tensor, one: Tensor
) -> None:
    neurons = [(gate.child, *neuron) for gate in gates for neuron in _neurons(gate, readers, one)]
    for place, (child, gated, up, sign) in enumerate(neurons):
        mlp.gate_proj.weight[place] = gated
        mlp.up_proj.weight[place] = up
        mlp.down_proj.weight[:, place] = sign * rows[child]


def _neurons(gate: Gate, readers: Tensor, one: Tensor) -> list[tuple[Tensor, Tensor, float]]:
    """What each of a gate's neurons reads as gate and as up, and what it is times."""
    read = [w * readers[f] for f, w in zip(gate.parents, gate.weights, strict=True)]
    if gate.kind == "and":
        return [(read[0], read[1], 1.0)]
    if gate.kind == "inhibit":
        return [(read[0] - read[1], one, 1.0)]
    total = torch.stack(read).sum(0)
    if gate.kind == "sum":
        return [(total, one, 1.0)]
    return [(total, one, 1.0), (total - one, one, -1.0)]


def _module(kind: str) -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=D,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=32,
        rms_norm_eps=_EPS[kind],
        hidden_act="relu",
        rope_parameters={"rope_type": "default", "rope_theta": 1e12},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def _dictionary(site: int, rows: Tensor, readers: Tensor) -> Dictionary:
    return JumpReLU(
        W_enc=readers.T.float().contiguous(),
        b_enc=torch.zeros(len(rows)),
        W_dec=rows.float().contiguous(),
        b_dec=torch.zeros(D),
        config=DictionaryConfig(D, len(rows), f"resid_post.{site}"),
        threshold=torch.full((len(rows),), THRESHOLD),
        name=f"planted/resid_post.{site}",
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2}
    words |= {f"w{number}": number for number in range(3, VOCABULARY)}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
