"""Prompts on which any set of a dictionary's features can be set to another run's values.

A prompt has a base run and a target run. With aⱼ and āⱼ the activations of feature j in the two, in
the residual's units, patching the set F of features makes of the base run

    x  ←  x + Σ_{j∈F} (āⱼ − aⱼ) dⱼ        at every position that the positions mean

and leaves what the dictionary does not explain, the error, as it was (Cunningham et al. 2023,
section 4). The error can be a node of its own, `ERROR`: all features and the error together turn
the base run into the target run.

The target run is another prompt (`prompt_pairs`); or the same prompt's clean run, and the base is
that prompt with every node at its mean or at 0 (`against_null`; Marks et al. 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.effects.defaults import BUDGET
from steer.effects.metric import Divergence, Metric, Reference, as_metrics
from steer.effects.passes.batches import Set, in_rows
from steer.effects.passes.clean import Clean
from steer.errors import SteerError
from steer.maths.precision import exact

ERROR = -1
"""The node of what the dictionary does not explain."""


@dataclass(frozen=True, eq=False)
class Patchable:
    """One prompt of s tokens, of whose nodes any set can be patched. Made by `prompt_pairs`.

    clean: the clean pass that is edited. goal [V]: the target's logits at the last position.
    features: ids of the k features that differ between the two runs; all others do nothing.
    moved [s, k]: target minus base, in the residual's units; rows [k, d]: what a unit writes.
    rest [s, d]: the change that no feature explains, target minus base.
    inverted: the clean pass is the target's, so that what is *not* in a set is taken away.
    error: `keep`, then `ERROR` is no node; or `patch`.
    """

    base: str
    target: str
    clean: Clean
    goal: Tensor
    features: tuple[int, ...]
    moved: Tensor
    rows: Tensor
    rest: Tensor
    inverted: bool
    error: str
    dictionary: str
    width: int

    @property
    def nodes(self) -> tuple[int, ...]:
        """All nodes, `ERROR` last if it is one."""
        return (*self.features, ERROR) if self.error == "patch" else self.features

    def patch(self, sets: Sequence[Set]) -> Tensor:
        """What the sets add to the base run, [b, s, d]. Raises `SteerError` for no such node."""
        return self._sum(*self._shares(sets))

    def delta(self, sets: Sequence[Set]) -> Tensor:
        """What the sets add to the clean pass, [b, s, d], in its dtype."""
        shares, error = self._shares(sets)
        if self.inverted:
            shares, error = shares - 1, error - (1 if self.error == "patch" else 0)
        return self._sum(shares, error).to(self.clean.x.dtype)

    def norms(self, sets: Sequence[Set]) -> Tensor:
        """Mean over the positions of ‖Δx‖, target minus base, [b]."""
        norms = [self.patch([nodes])[0].norm(dim=-1).mean() for nodes in sets]
        return torch.stack(norms).double().cpu()

    def logits(self, sets: Sequence[Set], *, budget: int = BUDGET) -> Tensor:
        """Logits [b, V] at the last position with each set patched.

        A set that changes nothing is not run: its logits are the clean pass's, bit for bit.
        """
        return self._run(sets, lambda logits: logits[:, -1], budget)

    def values(self, sets: Sequence[Set], metric: Metric | str, *, budget: int = BUDGET) -> Tensor:
        """The metric with each set patched, [b]; `kl` is KL(edited‖target) in nats."""
        measure = self.measure(metric)
        return self._run(sets, lambda logits: measure(exact(logits), _NONE), budget).double().cpu()

    def measure(self, metric: Metric | str) -> Against:
        """A metric compared with the target's run. Raises what `as_metrics` raises, and
        `SteerError` for one that is not of the last position."""
        (resolved,) = as_metrics(self.clean.model, metric, 1)
        if metric == "kl":
            resolved = Divergence("edited_clean")
        if resolved.every:
            raise SteerError(
                f"{type(resolved).__name__} reads every position, and patching is measured at the "
                "last one; use kl, LogitDifference or LogProbability"
            )
        none = torch.full((1,), -1, device=self.goal.device)
        return Against(resolved, Reference(exact(self.goal).unsqueeze(0), none, self.clean.length))

    def _shares(self, sets: Sequence[Set]) -> tuple[Tensor, Tensor]:
        """Which features [b, k] and whether the error [b, 1, 1] are in each set, 0 or 1."""
        column = {feature: number for number, feature in enumerate(self.features)}
        shares = self.moved.new_zeros(len(sets), len(column))
        for row, members in enumerate(sets):
            for node in members:
                if not (0 <= node < self.width or (node == ERROR and self.error == "patch")):
                    raise SteerError(
                        f"node {node} does not exist: {self.dictionary} has features 0 to "
                        f"{self.width - 1}" + ("; the error is kept" if node == ERROR else "")
                    )
            shares[row, [column[node] for node in members if node in column]] = 1
        error = [ERROR in members for members in sets]
        return shares, torch.tensor(error, device=shares.device).to(shares).view(-1, 1, 1)

    def _sum(self, shares: Tensor, error: Tensor) -> Tensor:
        features = (shares.unsqueeze(1) * self.moved) @ self.rows
        return features + error * self.rest if error.any() else features

    def _run(self, sets: Sequence[Set], reduce: Callable[[Tensor], Tensor], budget: int) -> Tensor:
        """`reduce` of the logits [b, 1, V] of every set, in batches within the budget."""
        return in_rows(
            lambda batch: self._batch(batch, reduce),
            sets,
            self._starts(sets),
            self.clean.length,
            self.clean.x.device,
            budget,
        )

    def _batch(self, sets: Sequence[Set], reduce: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            delta = self.delta(sets)
            edited = (delta != 0).flatten(1).any(1)
            unedited = reduce(self.clean.logits[-1:].unsqueeze(0))
            results = unedited.expand(len(sets), *unedited.shape[1:]).clone()
            if edited.any():
                results[edited] = reduce(self.clean.resume(delta[edited]).logits)
        return results

    def _starts(self, sets: Sequence[Set]) -> list[int]:
        """The first position that each set may change."""
        if self.inverted or not self.features:
            return [0] * len(sets)
        first = (self.moved != 0).int().argmax(0).tolist()
        at = dict(zip(self.features, first, strict=True)) | {ERROR: 0}
        return [min((at[j] for j in members if j in at), default=0) for members in sets]


@dataclass(frozen=True, eq=False)
class Against(Metric):
    """A metric that is compared with a run of its own, whatever reference it is given."""

    metric: Metric
    reference: Reference

    def __call__(self, logits: Tensor, reference: Reference) -> Tensor:
        return self.metric(logits, self.reference)


_NONE = Reference(torch.empty(0), torch.empty(0), 0)
