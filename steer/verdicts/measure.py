"""What the arms do on the prompts: the claim chosen on some, and tested on the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.effects.passes.clean import run_clean
from steer.errors import SilentEditError, SteerError
from steer.maths.metrics import change
from steer.model import Model
from steer.progress import Progress
from steer.verdicts.arms import Arms, Text, last_change
from steer.verdicts.claim import Sides, chosen
from steer.verdicts.cost import Prices
from steer.verdicts.panel import Behaviour
from steer.verdicts.protocol import EDIT, RANDOM


@dataclass(frozen=True, eq=False)
class Measured:
    """Changes of the claimed difference on n held-out prompts in w wordings.

    arms [n, w, arms]: on the edit's claim, but for random directions on their own where each has
        chosen one; asking [n, w]: the prompt that asks, without an edit.
    sides: the edit's claim; lost: of each behaviour that could be tested, what it lost.
    untested: behaviours that could not, with the reason.
    """

    sides: Sides
    arms: Tensor
    asking: Tensor
    lost: dict[str, Lost]
    untested: dict[str, str]


@dataclass(frozen=True, eq=False)
class Lost:
    """clean [q]: logit of right minus wrong on q questions; edit [q], random [q, draws]: falls."""

    clean: Tensor
    edit: Tensor
    random: Tensor


def measure(arms: Arms, prices: Prices, progress: Progress | None = None) -> Measured:
    """Run the prompts. Raises `SilentEditError` if the edit changes nothing on any of them."""
    protocol, scales = arms.protocol, prices.scales
    order = torch.randperm(
        len(protocol.prompts), generator=torch.Generator().manual_seed(protocol.seed)
    ).tolist()
    split = 0 if protocol.claim is not None else protocol.choosing
    choosing, testing = (
        [protocol.prompts[number] for number in sorted(part)]
        for part in (order[:split], order[split:])
    )
    own = _claims(arms, scales, [wordings[0] for wordings in choosing])
    rows, asked, acted = [], [], False
    for number, wordings in enumerate(testing):
        if progress:
            progress("prompts", number, len(testing))
        texts = [arms.text(wording) for wording in wordings]
        acted |= any(bool(text.deltas[0].any()) for text in texts)
        rows.append(torch.stack([_changes(text, scales, own) for text in texts]))
        asked.append([_asking(arms, *pair, own[0]) for pair in zip(wordings, texts, strict=True)])
    if not acted:
        raise SilentEditError(
            f"the edit changes nothing on these {len(testing)} prompts, so there is nothing to "
            "judge; see what is active with Model.features"
        )
    tested = dict(_panel(arms, scales, own[0]))
    return Measured(
        sides=own[0],
        arms=torch.stack(rows),
        asking=torch.tensor(asked, dtype=torch.float64),
        lost={name: lost for name, lost in tested.items() if isinstance(lost, Lost)},
        untested={name: why for name, why in tested.items() if isinstance(why, str)},
    )


def _claims(arms: Arms, scales: Tensor, prompts: Sequence[str]) -> list[Sides]:
    """What each arm is measured on: its own choice for the edit and the random directions."""
    stated = arms.protocol.claim
    if stated is not None:
        return [stated.resolve(arms.model)] * len(arms.names)
    choosers = arms.numbered(EDIT, RANDOM)
    total = torch.zeros((), dtype=torch.float64)
    for prompt in prompts:
        total = (
            total + arms.text(prompt, elsewhere=False).measured(choosers, scales, last_change).cpu()
        )
    own = [chosen(change, arms.protocol.tokens) for change in total]
    return own + [own[0]] * (len(arms.names) - len(own))


def _changes(text: Text, scales: Tensor, own: Sequence[Sides]) -> Tensor:
    """How each arm changes what it is measured on, [arms]."""
    change = text.measured(range(len(own)), scales, last_change)
    return torch.stack([sides.of(of) for sides, of in zip(own, change, strict=True)]).cpu()


def _asking(arms: Arms, prompt: str, text: Text, sides: Sides) -> float:
    """How the claimed difference changes when the prompt names its tokens."""
    model, words = arms.model, [arms.model.token(token).strip() for token in sides.more]
    asking = arms.protocol.asking.format(words=", ".join(words), prompt=prompt)
    ids = model.tokenize([asking])[0][0]
    asked = run_clean(model, ids, arms.plan.out, every=False).logits[-1]
    return sides.of(change(text.clean.logits[-1].double(), asked.double())).item()


def _panel(arms: Arms, scales: Tensor, sides: Sides) -> Iterator[tuple[str, Lost | str]]:
    for behaviour in arms.protocol.panel:
        try:
            questions = _read(arms.model, behaviour)
        except SteerError:
            yield behaviour.name, "its words are not single tokens of this model"
            continue
        if {right for _, right, _ in questions} & {*sides.more, *sides.less}:
            yield behaviour.name, "the claim is about its tokens"
            continue
        lost = _lost(arms, scales, questions)
        can = lost.clean.mean() > 0
        yield behaviour.name, lost if can else "the unedited model can't do it"


def _read(model: Model, behaviour: Behaviour) -> list[tuple[str, int, int]]:
    return [(p, model.token_id(r), model.token_id(w)) for p, r, w in behaviour.questions]


def _lost(arms: Arms, scales: Tensor, questions: Sequence[tuple[str, int, int]]) -> Lost:
    members = arms.numbered(EDIT, RANDOM)
    clean, lost = [], []
    for prompt, right, wrong in questions:
        text, side = arms.text(prompt, elsewhere=False), Sides((right,), (wrong,))
        clean.append(side.of(text.clean.logits[-1].double()).cpu())
        lost.append(-side.of(text.measured(members, scales, last_change)).cpu())
    change = torch.stack(lost)
    return Lost(torch.stack(clean), change[:, 0], change[:, 1:])
