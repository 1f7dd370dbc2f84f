"""Few-shot prompts whose answer is the gender of a name, after the paper's first version.

Two families, 3 + 3 shots in random order, then the question. Names are single tokens, so that all
prompts of a family are equally long and the question starts at the same place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from apps.studies.ioi_prompts import token_ids, whole_words
from steer.errors import PromptError

if TYPE_CHECKING:
    from steer.model import Model

_MEN = (
    "James John Robert Michael William David Richard Joseph Thomas Charles Christopher Daniel "
    "Matthew Anthony Donald Steven Paul Andrew Joshua Kenneth Kevin Brian George Timothy Ronald "
    "Edward Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin Scott "
    "Benjamin Samuel Gregory Alexander Patrick Frank Raymond Dennis Jerry Tyler Aaron Jose Adam "
    "Nathan Henry Douglas Peter Noah Ethan Jeremy Walter Keith Roger Sean Gerald Carl Harold "
    "Arthur Lawrence Bryan Bruce Gabriel Alan Juan Albert Elijah Wayne Vincent Ralph Russell "
    "Bradley Philip Eugene Simon Oliver Martin Leo Luke Ian Tom Jim Mike Dave Steve Fred Victor "
    "Hugo Oscar Louis Ben Ted Harry Howard Isaac Marcus Neil Ivan Stanley Leonard"
)
_WOMEN = (
    "Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty "
    "Margaret Sandra Emily Michelle Carol Amanda Dorothy Melissa Deborah Stephanie Rebecca Sharon "
    "Laura Kathleen Amy Angela Shirley Anna Emma Nicole Helen Samantha Katherine Christine Rachel "
    "Janet Catherine Maria Heather Diane Ruth Julie Olivia Joyce Victoria Lauren Christina Joan "
    "Judith Andrea Hannah Martha Teresa Ann Sara Abigail Alice Julia Judy Sophia Isabella Diana "
    "Charlotte Marie Jane Kate Ella Lucy Sophie Clara Eva Claire Ellen Anne Molly Mia Jenny Sally "
    "Annie Maya Nina Sue Ada Bella Caroline Eleanor Esther Florence Rosa Edith Katie Wendy Monica "
    "Eliza Louise Naomi Tara Grace Lily Rose"
)
MEN, WOMEN = tuple(_MEN.split()), tuple(_WOMEN.split())
OBJECTS = ("cat", "car", "dog", "book", "pen", "mouse", "chair", "table", "phone", "computer")
SHOTS = 3


@dataclass(frozen=True)
class Family:
    """question: ends where the answer comes; rest: what follows it in a shot.

    answers: for a man and for a woman, one token each.
    """

    name: str
    question: str
    answers: tuple[str, str]
    rest: str


FAMILIES = (
    Family("name → male/female", " My name is {name} and I am a", (" male", " female"), "."),
    Family(
        "name → he/she", " {name} went to the store, and", (" he", " she"), " bought a {thing}."
    ),
)


@dataclass(frozen=True, eq=False)
class Prompts:
    """n prompts of one family.

    ids [n, s]; start: place of the question's name, from which on the answer's gender is known.
    male [n]; names: of each prompt, in the order of the rows.
    answers: token ids for a man and for a woman.
    """

    family: Family
    ids: Tensor
    start: int
    male: Tensor
    names: tuple[str, ...]
    answers: tuple[int, int]

    @property
    def correct(self) -> Tensor:
        """Column [n] of `answers` that is right."""
        return (~self.male).long()


def split_names(
    model: Model,
    per_gender: int,
    seed: int,
    men: Sequence[str] = MEN,
    women: Sequence[str] = WOMEN,
) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """(name, is a man) to fit with and, of other names, to test with; half men, half women.

    per_gender: how many of either gender in either half, or all there are. Raises `PromptError` if
    there are fewer than six of a gender.
    """
    chance = random.Random(seed)
    fit: list[tuple[str, bool]] = []
    test: list[tuple[str, bool]] = []
    for names, male in ((men, True), (women, False)):
        single = whole_words(model, names)
        if len(single) < 2 * (SHOTS + 1):
            raise PromptError(
                f"{model.name} has only {len(single)} of {len(names)} names as single tokens; "
                f"{2 * (SHOTS + 1)} are needed"
            )
        chance.shuffle(single)
        half = min(per_gender, len(single) // 2)
        fit += [(name, male) for name in single[:half]]
        test += [(name, male) for name in single[half : 2 * half]]
    return fit, test


def prompts(
    model: Model,
    family: Family,
    asked: Sequence[tuple[str, bool]],
    shots: Sequence[tuple[str, bool]],
    per_name: int,
    seed: int,
) -> Prompts:
    """`per_name` prompts for each name, with shots of other names. Raises `PromptError` if a shot
    or a question does not have the same number of tokens throughout."""
    chance = random.Random(f"{seed} {family.name}")
    rows, names, male, starts = [], [], [], set()
    for name, is_man in asked:
        for _ in range(per_name):
            before = "".join(_shots(family, name, shots, chance))
            head = family.question.split("{name}")[0] + name
            with_name = token_ids(model, before + head)
            rows.append(token_ids(model, before + family.question.format(name=name)))
            starts.add(len(with_name) - 1)
            names.append(name)
            male.append(is_man)
    if len({len(row) for row in rows}) > 1 or len(starts) > 1:
        raise PromptError(
            f"{family.name}: prompts differ in tokens; use one-token names and things"
        )
    answers = model.token_id(family.answers[0]), model.token_id(family.answers[1])
    ids = torch.tensor(rows)
    return Prompts(family, ids, starts.pop(), torch.tensor(male), tuple(names), answers)


def _shots(
    family: Family, asked: str, pool: Sequence[tuple[str, bool]], chance: random.Random
) -> list[str]:
    chosen = []
    for wanted in (True, False):
        others = [name for name, male in pool if male == wanted and name != asked]
        chosen += [(name, wanted) for name in chance.sample(others, SHOTS)]
    chance.shuffle(chosen)
    return [
        (family.question + family.answers[0 if male else 1] + family.rest).format(
            name=name, thing=chance.choice(OBJECTS)
        )
        for name, male in chosen
    ]
