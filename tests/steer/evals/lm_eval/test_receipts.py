"""What edits did over an evaluation, and the arguments of the model type."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.model import CachingLM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

import steer
from steer.evals.files import read_interventions
from steer.evals.lm_eval.model import SteerLM
from steer.evals.lm_eval.tally import Tally
from steer.splice.receipt import SilentEditWarning
from steer.splice.record import Record
from tests.steer.evals.lm_eval.conftest import Make
from tests.steer.evals.lm_eval.requests import PAIRS, ask
from tests.support import tiny


def test_the_receipt_counts_tokens_and_requests(make: Make, llama: steer.Model) -> None:
    lm = make(steer.Clamp(5, 9.0), steer.Ablate(7, positions="generated"))
    ask(lm, "loglikelihood", [("w5 w6 w7", " w8 w9"), ("w5", " w8")])
    clamp, ablate = lm.tally.entries
    assert (clamp.requests, clamp.acted_requests, clamp.touched, clamp.acted) == (2, 2, 5, 5)
    # The context's last token and the first of w8 w9; and w5.
    assert (ablate.requests, ablate.touched) == (2, 3)
    read = torch.stack(
        [llama.features(text, tiny.dictionary()).activations[p, 7]
         for text, p in (("w5 w6 w7 w8", 2), ("w5 w6 w7 w8", 3), ("w5", 0))]
    )  # fmt: skip
    assert ablate.acted == int((read != 0).sum())
    assert ablate.mean(ablate.after) in (0.0, None)


def test_tokens_after_a_row_s_end_do_not_count(make: Make, llama: steer.Model) -> None:
    lm = make(steer.Clamp(5, 9.0))
    ids = torch.tensor([[7, tiny.EOS, tiny.PAD, tiny.PAD], [7, 8, 9, tiny.EOS], [3, 4, 5, 6]])
    assert lm._lengths(ids).tolist() == [2, 4, 4]


def test_generated_tokens_count_but_for_the_last(make: Make) -> None:
    lm = make(steer.Clamp(5, 9.0))
    ask(lm, "generate_until", [("w5 w6", {"max_gen_toks": 4, "until": []})])
    assert lm.tally.entries[0].touched == 2 + 3


def test_pads_ends_and_massive_activations() -> None:
    """Two rows: one left-padded, one that ended after its first token; a norm of 50 is massive."""
    ones = torch.ones(2, 3, 1)
    norm = torch.tensor([[9.0, 50.0, 1.0], [1.0, 1.0, 1.0]])
    record = Record(
        absolute=torch.tensor([[-1, 0, 1], [0, 1, 2]]),
        touched=ones.bool(),
        fired=ones.bool(),
        before=ones * 2,
        after=ones * 5,
        reached=ones * 5,
        dose=ones,
        norm=norm,
        delta_norm=torch.ones(2, 3),
        asked=ones,
        moved=ones / 2,
        undone=ones < 0,
        wrote=torch.ones(1, 4),
        site="resid_post.1",
    )
    start = Tally.of([steer.Intervention("tiny", [steer.Clamp(5, 5.0)])])
    (entry,) = start.plus([[record]], torch.tensor([2, 1]), torch.tensor([3, 1])).entries
    assert (entry.requests, entry.acted_requests) == (4, 4)
    assert (entry.touched, entry.fired, entry.changed, entry.acted, entry.massive) == (
        3,
        3,
        3,
        3,
        1,
    )
    assert entry.counted == 2
    assert entry.to_dict()["before"] == 2
    assert entry.to_dict()["relative_dose"] == 1
    assert entry.to_dict()["held"] == 0.5
    assert "1 massive" in str(entry)


SILENT: dict[str, tuple[steer.Edit, str]] = {
    "no such token": (steer.Clamp(5, 9.0, positions=60), "no token of 1 requests"),
    "silent feature": (steer.Scale(5, 1.0), "already what was asked for"),
    "condition": (steer.Clamp(5, 9.0, when=steer.Active(6, above=1e6)), "held it back"),
}


@pytest.mark.parametrize("name", SILENT)
def test_an_edit_that_never_acts_is_told(name: str, make: Make) -> None:
    edit, reason = SILENT[name]
    with pytest.warns(SilentEditWarning, match=reason):
        ask(make(edit, if_silent="warn"), "loglikelihood", PAIRS[:1])
    with pytest.raises(steer.SilentEditError, match=reason):
        ask(make(edit, if_silent="raise"), "loglikelihood", PAIRS[:1])


def test_the_receipt_is_in_lm_eval_s_results(make: Make) -> None:
    lm = make(steer.Clamp(5, 9.0))
    ask(lm, "loglikelihood")
    info = lm.get_model_info()["steer"]
    assert info["receipt"][0]["acted_requests"] == len(PAIRS)
    assert steer.Intervention.from_dict(info["interventions"][0]).edits == (steer.Clamp(5, 9.0),)


# -- arguments -------------------------------------------------------------------------------------


def test_arguments_as_on_lm_eval_s_command_line(folder: Path) -> None:
    files = os.pathsep.join(str(folder / name) for name in ("edit.json", "other.json"))
    text = f"pretrained={folder / 'model'},intervention={files},dtype=float32"
    lm: Any = get_model("steer").create_from_arg_string(text, {"batch_size": 2})
    assert isinstance(lm, SteerLM)
    assert [len(intervention.edits) for intervention in lm.interventions] == [2, 1]
    ask(lm, "loglikelihood", PAIRS[:2])
    assert all(entry.acted for entry in lm.tally.entries)


def test_a_saved_model_scores_as_hf_scores_it(folder: Path) -> None:
    options: dict[str, Any] = {"batch_size": 3, "device": "cpu"}
    hf = HFLM(str(folder / "model"), **options)
    ours = SteerLM(str(folder / "model"), **options)
    assert ask(ours, "loglikelihood") == ask(hf, "loglikelihood")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallelize": True}, "parallelize: not possible with edits"),
        ({"peft": "adapter"}, "peft: not possible with edits"),
        ({"mixed_precision_dtype": "bfloat16"}, "give dtype instead"),
        ({"if_silent": "maybe"}, "if_silent='maybe' is unknown"),
    ],
)
def test_what_can_not_be_edited_is_refused(options: Any, message: str, make: Make) -> None:
    with pytest.raises(steer.SteerError, match=message):
        make(steer.Clamp(5, 9.0), **options)


def test_a_continuation_without_a_token_is_refused(make: Make) -> None:
    with pytest.raises(steer.PromptError, match="must have a token each"):
        ask(make(), "loglikelihood", [("w5 w6", "w7"), ("w5", " w6")])


@pytest.mark.parametrize("option", [{"num_beams": 2}, {"prompt_lookup_num_tokens": 3}])
def test_decoding_that_edits_can_not_follow_is_refused(option: Any, make: Make) -> None:
    with pytest.raises(steer.SteerError, match=next(iter(option))):
        ask(make(), "generate_until", [("w5", {"max_gen_toks": 3, **option})])


def test_bad_interventions_are_found_at_once(make: Make, folder: Path) -> None:
    with pytest.raises(steer.InterventionError, match="there is no file nowhere"):
        read_interventions("nowhere.json")
    with pytest.raises(steer.DictionaryError, match="48"):
        make(steer.Ablate(48))
    with pytest.raises(steer.InterventionError, match="two edits"):
        make(steer.Ablate(4), steer.Clamp(4, 2.0))


def test_the_response_cache_is_refused_under_an_edit(make: Make, tmp_path: Path) -> None:
    with pytest.raises(steer.SteerError, match="use_cache"):
        CachingLM(make(steer.Clamp(5, 9.0)), str(tmp_path / "cache.db"))
    cached: Any = CachingLM(make(), str(tmp_path / "cache.db"))
    assert ask(make(), "generate_until") == ask(make(), "generate_until")
    assert cached.lm.cache_hook.dbdict is not None
