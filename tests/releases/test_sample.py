"""Of the sixty planted releases, a few of each kind; `python -m tests.releases` does them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.releases.plans import DEVIATING, PLANS, SOUND, with_figures_alone
from tests.releases.prove import Outcome, prove

NAMES = ("s1", "s5", "b1", "n2", "n4", "t2", "t4", "d1", "d3", "a4", "o3", "k5", "k9", "k12")
LESS = ("b1", "n2", "a3", "o2", "k1", "k6")
"""Of which there are figures alone. A verdict on them may be that there is none."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Outcome]:
    plans = [PLANS[name] for name in NAMES] + [with_figures_alone(PLANS[name]) for name in LESS]
    return prove(plans, tmp_path_factory.mktemp("releases"))


def test_there_are_sixty_of_every_kind() -> None:
    assert (len(DEVIATING), len(SOUND), len(PLANS)) == (40, 20, 60)
    kinds = Counter(plan.deviates for plan in DEVIATING)
    assert set(kinds) == {"site", "block", "norm", "transposed", "dtype", "bias", "bos"}
    assert min(kinds.values()) >= 5
    for some in (DEVIATING, SOUND):
        kinds_of_encoders = {plan.truth.kind for plan in some}
        assert kinds_of_encoders == {"standard", "topk", "batchtopk", "jumprelu", "gated"}


@pytest.mark.parametrize("name", NAMES)
def test_a_release_is_certified(name: str, outcomes: Sequence[Outcome]) -> None:
    outcome = outcomes[NAMES.index(name)]
    assert outcome.right, outcome.said


@pytest.mark.parametrize("name", LESS)
def test_less_evidence_gives_no_false_verdict(name: str, outcomes: Sequence[Outcome]) -> None:
    outcome = outcomes[len(NAMES) + LESS.index(name)]
    assert not outcome.false, outcome.said


def test_they_were_fetched_from_the_hub(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        assert outcome.record["dictionary"].startswith("hf://org/saes/")
        assert outcome.record["files"]
