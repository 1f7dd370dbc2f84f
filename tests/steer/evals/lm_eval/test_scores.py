"""Our model type of lm-eval: `hf` without edits, a plain hook with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

import steer
from dictionaries.dictionary import Dictionary
from steer.evals.lm_eval.model import SteerLM
from tests.steer.evals.lm_eval.conftest import Make
from tests.steer.evals.lm_eval.requests import PAIRS, REQUESTS, ask
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite

every_kind = pytest.mark.parametrize("kind", REQUESTS)


# -- nothing changes -----------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("cache", [True, False])
def test_without_edits_scores_are_hf_s_bit_for_bit(kind: str, cache: bool, make: Make) -> None:
    module = tiny.plain_model("llama")
    hf = HFLM(module, tokenizer=tiny.tokenizer(), batch_size=3, logits_cache=cache)
    assert ask(make(logits_cache=cache), kind) == ask(hf, kind)


@every_kind
def test_it_is_so_in_every_family(kind: str, family: str) -> None:
    hf = HFLM(tiny.plain_model(family), tokenizer=tiny.tokenizer(), batch_size=2)
    ours = SteerLM(tiny.tiny_model(family), batch_size=2, progress=False)
    assert ask(ours, kind) == ask(hf, kind)


@every_kind
def test_an_edit_that_does_nothing_leaves_every_bit(kind: str, make: Make, hf: HFLM) -> None:
    assert ask(make(steer.Scale(5, 1.0), steer.Add(7, 0.0)), kind) == ask(hf, kind)


@every_kind
def test_a_batch_size_can_be_found_out(kind: str, make: Make) -> None:
    options: dict[str, Any] = {"batch_size": "auto", "max_batch_size": 8}
    hf = HFLM(tiny.plain_model("llama"), tokenizer=tiny.tokenizer(), **options)
    assert ask(make(steer.Scale(5, 1.0), **options), kind) == ask(hf, kind)


def test_sampling_draws_the_same_noise(make: Make, hf: HFLM) -> None:
    options = {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "max_gen_toks": 12}
    found = []
    for lm in (hf, make()):
        torch.manual_seed(4)
        found.append(ask(lm, "generate_until", [("w5 w6", options), ("w9 w8 w7", options)]))
    assert found[0] == found[1]


@every_kind
def test_the_model_is_as_before_after_an_error(kind: str, make: Make, hf: HFLM) -> None:
    lm = make(steer.Clamp(5, 9.0))
    with pytest.raises(IndexError, match="out of range"):  # in the embedding, edits in place
        lm._loglikelihood_tokens([(None, [10_000], [5])], disable_tqdm=True)
    assert ask(make(), kind) == ask(hf, kind)


def test_two_edited_models_of_one_module_do_not_mix(make: Make) -> None:
    one, other, clean = make(steer.Clamp(5, 9.0)), make(steer.Ablate(7)), make()
    first = [ask(lm, "loglikelihood") for lm in (one, other, clean)]
    assert [ask(lm, "loglikelihood") for lm in (clean, one, other)] == [first[2], *first[:2]]
    assert first[0] != first[1] != first[2] != first[0]


# -- what edits do ---------------------------------------------------------------------------------

EDITS: dict[str, tuple[list[steer.Edit], list[PlainEdit]]] = {
    "clamp": ([steer.Clamp(5, 9.0)], [PlainEdit(5, "clamp", 9.0)]),
    "two features of one layer": (
        [steer.Clamp(5, 9.0), steer.Add(11, 6.0)],
        [PlainEdit(5, "clamp", 9.0), PlainEdit(11, "add", 6.0)],
    ),
    "prompt": (
        [steer.Clamp(5, 9.0, positions="prompt")],
        [PlainEdit(5, "clamp", 9.0, plain.prompt_only)],
    ),
    "generated": (
        [steer.Add(5, 9.0, positions="generated")],
        [PlainEdit(5, "add", 9.0, plain.generated_only)],
    ),
    "first token": (
        [steer.Add(5, 9.0, positions=0)],
        [PlainEdit(5, "add", 9.0, plain.only_at(0))],
    ),
}


def by_hand(pair: tuple[str, str], sites: list[PlainSite]) -> float:
    """Log-probability of a continuation, read with a plain hook."""
    context, continuation = (
        tiny.tokenizer()(text, return_tensors="pt")["input_ids"][0] for text in pair
    )
    ids = torch.cat([context, continuation])[None, :-1]
    logits = plain.logits(tiny.plain_model("llama"), ids, sites=sites, prompt=len(context))
    scores = logits[0, len(context) - 1 :].log_softmax(-1)
    return scores.gather(1, continuation[:, None]).sum().item()


@pytest.mark.parametrize("name", EDITS)
def test_likelihoods_are_those_under_a_plain_hook(name: str, make: Make, sae: Dictionary) -> None:
    edits, same = EDITS[name]
    site = PlainSite("model.layers.1", "output", sae, same)
    asked = [pair for pair in PAIRS if pair[0] and len(pair[0].split()) < 60]
    expected = [by_hand(pair, [site]) for pair in asked]
    scores = [score for score, _ in ask(make(*edits), "loglikelihood", asked)]
    assert scores == pytest.approx(expected, abs=1e-4)
    clean = [score for score, _ in ask(make(), "loglikelihood", asked)]
    assert max(abs(a - b) for a, b in zip(scores, clean, strict=True)) > 1e-2


def test_several_sites_and_dictionaries(llama: steer.Model, sae: Dictionary) -> None:
    other = tiny.dictionary("mlp_out.2", seed=8)
    object.__setattr__(other, "name", "other")
    given = [
        steer.Intervention("tiny", [steer.Clamp(5, 9.0)]),
        steer.Intervention("other", [steer.Add(3, 5.0)]),
        steer.Intervention("resid_post.0", [steer.AddDirection(steer.Random(2), 4.0)]),
    ]
    lm = SteerLM(llama, given, (sae, other), batch_size=4, progress=False)
    sites = [
        PlainSite("model.layers.1", "output", sae, [PlainEdit(5, "clamp", 9.0)]),
        PlainSite("model.layers.2.mlp", "output", other, [PlainEdit(3, "add", 5.0)]),
    ]
    together = ask(lm, "loglikelihood", PAIRS[:2])
    only_two = SteerLM(llama, given[:2], (sae, other), batch_size=4, progress=False)
    scores = [score for score, _ in ask(only_two, "loglikelihood", PAIRS[:2])]
    assert scores == pytest.approx([by_hand(pair, sites) for pair in PAIRS[:2]], abs=1e-4)
    assert together != ask(only_two, "loglikelihood", PAIRS[:2])
    assert [entry.acted > 0 for entry in lm.tally.entries] == [True] * 3


@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "last", 2, "1:4"])
def test_a_likelihood_reads_the_continuation_as_generation_writes_it(
    positions: Any, make: Make, llama: steer.Model, sae: Dictionary
) -> None:
    """The text that greedy decoding gives under an edit is the likeliest one under it, with the
    log-probabilities that decoding had."""
    edit = steer.Clamp(5, 9.0, positions=positions)
    given = steer.Intervention("tiny", [edit])
    context = "w5 w6 w7 w31"
    run = llama.generate(
        context, given, temperature=0, max_new_tokens=6, dictionaries=(sae,), watch=range(96)
    )
    text = " " + llama.tokenizer.decode(run.ids)
    logprobs = {logprob.id: logprob.edited for logprob in run.logprobs}
    expected = sum(logprobs[token][step] for step, token in enumerate(run.ids))
    others = [("w9", " w8 w7 w7 w8 w7 w7 w8 w7"), ("w3 w4", " w5")]
    (score, greedy), *_ = ask(make(edit), "loglikelihood", [(context, text), *others])
    assert greedy
    assert score == pytest.approx(expected, abs=1e-4)


def test_generation_is_that_of_model_generate(
    make: Make, llama: steer.Model, sae: Dictionary
) -> None:
    edit = steer.Clamp(5, 9.0, positions="generated")
    contexts = ["w5 w6 w7", "w9", "w60 w61 w62 w63 w64"]
    runs = llama.generate_batch(
        contexts,
        [steer.Intervention("tiny", [edit])],
        max_new_tokens=9,
        temperature=0,
        dictionaries=(sae,),
    )
    answers = ask(
        make(edit), "generate_until", [(context, {"max_gen_toks": 9}) for context in contexts]
    )
    assert answers == [run.text for run in runs]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_padding_is_never_touched(size: int, make: Make) -> None:
    """What stands beside a request in its batch, and so how far it is padded, does not matter."""
    edits = [steer.Clamp(5, 9.0), steer.Add(9, 3.0, positions="last")]
    alone = [ask(make(*edits, batch_size=1), "loglikelihood", [pair])[0][0] for pair in PAIRS]
    lm = make(*edits, batch_size=size)
    assert [score for score, _ in ask(lm, "loglikelihood")] == pytest.approx(alone, abs=1e-4)
    # Read are all tokens but the last of each text, and no more than the model's 64.
    lengths = [min(64, len(f"{a or 'x'}{b if a else ' ' + b}".split()) - 1) for a, b in PAIRS]
    shared = lengths[1]  # PAIRS[1] and PAIRS[2] are one row
    assert lm.tally.entries[0].touched == sum(lengths) - shared
    assert lm.tally.entries[1].touched == len(PAIRS) - 1


SPLIT = [("w5 w6", " w7 w8"), ("w5 w6 w7", " w8")]


@pytest.mark.parametrize("pairs", [SPLIT, SPLIT[::-1]])
def test_a_text_split_at_two_places(pairs: list[tuple[str, str]], make: Make) -> None:
    """One row serves both; lm-eval's own model reads the shorter one off the wrong positions."""
    apart = [ask(make(), "loglikelihood", [pair])[0] for pair in pairs]
    assert ask(make(), "loglikelihood", pairs) == apart


def test_requests_share_a_row_only_if_their_prompts_end_alike(make: Make) -> None:
    """The same text in two ways: what is prompt in one is generated in the other."""
    edit = steer.Add(5, 9.0, positions="last")
    apart = [ask(make(edit), "loglikelihood", [pair])[0][0] for pair in SPLIT]
    together = [score for score, _ in ask(make(edit), "loglikelihood", SPLIT)]
    assert together == pytest.approx(apart, abs=1e-5)
    assert abs(together[0] - together[1]) > 1e-2
