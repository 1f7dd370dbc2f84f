"""Detectors on planted activity: what was planted is what is found, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
import torch
from torch import Tensor

from dictionaries.baselines import neurons, random_directions
from steer.interpretation.activity import find_activity, matching_threshold
from steer.interpretation.detectors import Activity, Detector, detect, token_entropy
from steer.interpretation.views import VIEWS, View, groupings, positions, quoted

TEXTS = [" the", " The", "the", " cat", "ing", " running", " jumping", "\n", "7", "(", ".", " of"]
THE, CAPITAL, PIECE, CAT, ING, RUN, JUMP, NEWLINE, SEVEN, BRACKET, STOP, OF = range(len(TEXTS))
CONTEXTS, LENGTH = 40, 32
PARTITIONS = groupings(TEXTS)


def tokens(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(TEXTS), (CONTEXTS, LENGTH), generator=generator)


def planted(active: Sequence[Tensor]) -> Activity:
    """Activity of features that are active where the masks [contexts, length] are set."""
    pairs = [mask.flatten().nonzero().flatten() for mask in active]
    heldout = torch.zeros(CONTEXTS, LENGTH, dtype=torch.bool)
    heldout[::4] = True
    position = torch.cat(pairs)
    return Activity(
        feature=torch.cat([torch.full_like(p, i) for i, p in enumerate(pairs)]),
        position=position,
        value=1.0 + position,
        features=len(active),
        fit=~heldout.flatten(),
        heldout=heldout.flatten(),
    )


def only(mask: Tensor) -> Detector:
    (detector,) = detect(planted([mask]), tokens(), PARTITIONS)
    return detector


def parts(text: str) -> set[str]:
    """The groups of a rule; those with most hits come first, so their order varies."""
    return set(text.removeprefix("token ").split(" or "))


def shifted(mask: Tensor, by: int) -> Tensor:
    found = torch.zeros_like(mask)
    if by > 0:
        found[:, by:] = mask[:, :-by]
    else:
        found[:, :by] = mask[:, -by:]
    return found


RULES: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "a token": (lambda t: t == CAT, "token", 'token " cat"'),
    "two tokens": (lambda t: (t == CAT) | (t == OF), "token", 'token " cat" or " of"'),
    "after": (lambda t: shifted(t == OF, 1), "previous token", 'after " of"'),
    "two after": (lambda t: shifted(t == OF, 2), "two back", 'two after " of"'),
    "before": (lambda t: shifted(t == BRACKET, -1), "next token", 'before "("'),
    "a pair": (lambda t: (t == CAT) & shifted(t == OF, 1), "pair", '" of cat"'),
}


@pytest.mark.parametrize(("rule", "view", "text"), RULES.values(), ids=RULES.keys())
def test_a_planted_rule_is_found(rule: Callable[[Tensor], Tensor], view: str, text: str) -> None:
    detector = only(rule(tokens()))
    assert (detector.precision, detector.recall, detector.f1) == (1, 1, 1)
    assert (detector.view, parts(detector.text)) == (view, parts(text))


def test_case_and_space_are_one_word() -> None:
    t = tokens()
    word = View("word", "word", 0, 1, "word {}")
    mask = (t == THE) | (t == CAPITAL) | (t == PIECE)
    (detector,) = detect(planted([mask]), t, PARTITIONS, [word])
    assert (detector.f1, detector.text) == (1, 'word "the"')


def test_endings_and_shapes() -> None:
    t = tokens()
    endings = [view for view in VIEWS if view.name == "long ending"]
    shapes = [view for view in VIEWS if view.name == "shape"]
    (ending,) = detect(planted([(t == RUN) | (t == JUMP)]), t, PARTITIONS, endings)
    (shape,) = detect(planted([(t == SEVEN) | (t == NEWLINE)]), t, PARTITIONS, shapes)
    assert (ending.f1, ending.text) == (1, 'ends in "ing"')
    assert (shape.f1, parts(shape.text)) == (1, {"a digit", "a line break"})


def test_activity_that_follows_no_rule_has_none() -> None:
    mask = torch.rand(CONTEXTS, LENGTH, generator=torch.Generator().manual_seed(3)) < 0.1
    detector = only(mask)
    assert detector.f1 < 0.4
    density = mask[::4].float().mean().item()
    assert detector.chance == pytest.approx(2 * density / (1 + density))
    assert detector.support == int(mask[::4].sum())


def test_the_rule_is_chosen_without_the_text_that_judges_it() -> None:
    t = tokens()
    fit_only = t == CAT
    fit_only[::4] = t[::4] == OF  # the held-out contexts say otherwise
    detector = only(fit_only)
    assert detector.text == 'token " cat"'
    assert (detector.precision, detector.recall, detector.f1) == (0, 0, 0)


def test_the_best_set_is_the_best_of_all_sets() -> None:
    t = tokens()
    noise = torch.rand(t.shape, generator=torch.Generator().manual_seed(5))
    mask = noise < torch.linspace(0, 0.9, len(TEXTS))[t]
    everywhere = torch.ones(t.numel(), dtype=torch.bool)
    activity = planted([mask])
    activity = Activity(
        activity.feature, activity.position, activity.value, 1, everywhere, everywhere
    )
    view = View("token", "token", 0, len(TEXTS), "{}")
    (detector,) = detect(activity, t, PARTITIONS, [view])

    def f1(group: tuple[int, ...]) -> float:
        predicted = torch.isin(t, torch.tensor(group))
        return 2 * int((predicted & mask).sum()) / int(predicted.sum() + mask.sum())

    sizes = range(1, len(TEXTS) + 1)
    best = max(f1(group) for size in sizes for group in combinations(range(len(TEXTS)), size))
    assert detector.f1 == pytest.approx(best)


def test_features_do_not_disturb_each_other() -> None:
    t = tokens()
    masks = [rule(t) for rule, _, _ in RULES.values()]
    together = detect(planted(masks), t, PARTITIONS)
    assert [each.text for each in together] == [only(mask).text for mask in masks]
    assert [each.feature for each in together] == list(range(len(masks)))


def test_a_feature_silent_in_either_part_has_no_detector() -> None:
    t = tokens()
    silent, judged = t == CAT, t == CAT
    silent[::4] = False
    judged = judged & ~silent
    rules = detect(planted([silent, judged, t == OF]), t, PARTITIONS)
    assert [each.feature for each in rules] == [2]


def test_entropy_is_that_of_the_tokens() -> None:
    t = tokens()
    one, four = t == CAT, (t == CAT) | (t == OF) | (t == STOP) | (t == THE)
    entropy = token_entropy(planted([one, four]), t)
    counts = torch.bincount(t[four]).double()
    share = counts[counts > 0] / counts.sum()
    assert entropy[0] == 0
    assert entropy[1].item() == pytest.approx(-(share * share.log()).sum().item())
    assert entropy[1] < math.log(4) + 1e-9


def test_a_view_outside_the_context_sees_nothing() -> None:
    t = tokens()
    for view in VIEWS:
        ids, _ = positions(view, t, PARTITIONS)
        assert ids.shape == t.shape
        if view.offset < 0 or view.grouping == "pair":
            assert (ids[:, 0] == -1).all()
        if view.offset > 0:
            assert (ids[:, -1] == -1).all()


def test_the_groups_with_most_hits_are_named_first() -> None:
    weights = torch.arange(1.0, len(TEXTS) + 1) ** 2
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(weights, CONTEXTS * LENGTH, replacement=True, generator=generator)
    t = drawn.view(CONTEXTS, LENGTH)
    (detector,) = detect(planted([t < 6]), t, PARTITIONS, [VIEWS[0]])
    chosen_on = t[torch.arange(CONTEXTS) % 4 != 0]
    counts = torch.bincount(chosen_on[chosen_on < 6])
    assert len(counts.unique()) == 6
    named = [quoted(TEXTS[token]) for token in counts.argsort(descending=True)[:4].tolist()]
    assert detector.text == "token " + " or ".join([*named, "2 more"])
    assert detector.f1 == 1


def test_names_are_on_one_line() -> None:
    assert quoted("a\n\tb") == '"a\\n\\tb"'


# -- where features are active -----------------------------------------------------------------


def activations() -> Tensor:
    return torch.randn(CONTEXTS, LENGTH, 6, generator=torch.Generator().manual_seed(1))


def test_activity_is_where_features_are_positive() -> None:
    x, keep = activations(), torch.ones(CONTEXTS, LENGTH, dtype=torch.bool)
    keep[:, 0] = False
    heldout = torch.arange(CONTEXTS) % 4 == 0
    activity = find_activity(neurons(6), x, keep, heldout)
    features = neurons(6).encode(x)[0] * keep.unsqueeze(-1)
    expected = features.flatten(0, 1).T.nonzero()
    assert torch.equal(torch.stack([activity.feature, activity.position], dim=1).long(), expected)
    assert torch.equal(activity.value, features.flatten(0, 1)[expected[:, 1], expected[:, 0]])
    assert not (activity.fit & activity.heldout).any()
    assert torch.equal(activity.fit | activity.heldout, keep.flatten())


def test_the_strongest_share() -> None:
    x, keep = activations(), torch.ones(CONTEXTS, LENGTH, dtype=torch.bool)
    whole = find_activity(neurons(6), x, keep, torch.arange(CONTEXTS) % 4 == 0)
    tenth = whole.strongest(0.1)
    for feature in range(12):
        values = whole.value[whole.feature == feature].sort(descending=True).values
        kept = tenth.value[tenth.feature == feature].sort(descending=True).values
        assert torch.equal(kept, values[: math.ceil(0.1 * len(values))])


def test_a_matching_threshold_gives_the_density() -> None:
    x = activations().flatten(0, 1)
    directions = random_directions(6, 9)
    density = torch.linspace(0, 0.4, 9)
    threshold = matching_threshold(directions, x, density)
    found = (directions.encode(x)[0] > threshold).float().mean(0)
    torch.testing.assert_close(found, density, atol=1 / len(x), rtol=0)
