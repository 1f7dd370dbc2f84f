"""One prompt's clean pass, and what many edited copies of it do from there on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from steer.edits.positions import Positions, canonical, resolve, select
from steer.effects.passes.finite import check_behind, check_clean, check_deltas
from steer.lm.anatomy import Site
from steer.lm.hookpoints import Hookpoint
from steer.lm.passes import resumed
from steer.lm.passes.resumed import Resume, Takes
from steer.model import Model

Also = Sequence[tuple[Site, Tensor]]
"""Later sites that change too, and what is added there [b, s, d]."""


@dataclass(frozen=True, eq=False)
class Edited:
    """What b edited copies gave, from position `start` of the prompt on.

    logits [b, p, V]: at the last position (p = 1), or at every position from `start`.
    sites: activations [b, s, d] at the sites that were asked for, all s positions.
    clean: logits of the unedited run that they are to be compared with, its last positions.
    """

    logits: Tensor
    start: int
    sites: tuple[Tensor, ...]
    clean: Tensor


@dataclass(frozen=True, eq=False)
class Clean:
    """A clean pass over one prompt of s tokens, kept so that edits at `site` resume from it.

    ids [s]; x [s, d_site]: what stands at the site.
    logits [p, V]: of all positions (p = s), or of the last one (p = 1).
    entry [s, d]: the residual stream that goes into block `first`, the first one to run again; not
        used where no block is skipped and the site is inner.
    inner: the site, if it is inside that block; None where the entry is the site.
    others: activations [s, d] at more sites that were asked for.
    """

    model: Model
    site: Site
    ids: Tensor
    x: Tensor
    entry: Tensor
    logits: Tensor
    first: int
    inner: Site | None
    others: dict[Site, Tensor]
    cache: Any

    @property
    def length(self) -> int:
        return len(self.ids)

    def at(self, site: Site) -> Clean:
        """The same pass, resumed at another site; `others` must have what `needed` names."""
        first, inner, entry = _resumes(self.model, site)
        streams = {**self.others, self.site: self.x}
        return replace(
            self, site=site, x=streams[site], entry=streams[entry], first=first, inner=inner
        )

    def touched(self, positions: Positions) -> Tensor:
        """Mask [s] of the prompt's tokens that the positions mean."""
        return touched(self.model, self.ids, positions)

    def start(self, delta: Tensor, every: bool = False, also: Also = ()) -> Resume:
        """Where a pass with delta [b, s, d_site] added at the site resumes.

        Raises `NonFiniteError` for a delta that overflows.
        """
        check_deltas(self.model, self.ids, self.x, [delta, *(more for _, more in also)])
        first = self._first_changed([delta, *(more for _, more in also)])
        rows, tail = len(delta), slice(first, None)
        entry = self.entry[tail].expand(rows, -1, -1)
        ids = self.ids.expand(rows, -1)
        return Resume(
            ids=ids[:, tail],
            mask=torch.ones_like(ids),
            skipped=self.model.anatomy.below(self.first),
            entry=entry + delta[:, tail] if self.inner is None else entry,
            inner=self.inner,
            delta=None if self.inner is None else delta[:, tail],
            also=[(site, more[:, tail]) for site, more in also],
            cache=_cut(self.cache, first, rows) if first else None,
            takes=Takes.of(self.model.module),
            keep=0 if every else 1,
        )

    def resume(
        self,
        delta: Tensor,
        *,
        every: bool = False,
        sites: Sequence[Site] = (),
        also: Also = (),
    ) -> Edited:
        """Run b copies of the prompt, with delta [b, s, d_site] added at the site of each.

        every: logits at every position from the first changed one on, not at the last alone.
        sites: later sites to read; they must be in `others`, and come after those of `also`.
        also: later sites that change too, in the order of the forward pass.

        Raises `NonFiniteError` if anything overflows.
        """
        begin = self.start(delta, every, also)
        with self.model.lock:
            logits, tails = resumed.resume(self.model.nn, begin, sites)
        self.check(delta, logits)
        first = self.length - begin.ids.shape[1]
        whole = [
            torch.cat([self.others[site][:first].expand(len(delta), -1, -1), tail], dim=1)
            for site, tail in zip(sites, tails, strict=True)
        ]
        return Edited(logits, first, tuple(whole), self.logits)

    def check(self, delta: Tensor, values: Tensor) -> None:
        """Raise `NonFiniteError` if values [b, ...] with delta [b, s, d] added overflow."""
        check_behind(self.model, self.ids, self.x, delta, values)

    def _first_changed(self, deltas: Sequence[Tensor]) -> int:
        """The first position that any row changes; the last one if none does."""
        if not _croppable(self.cache):
            return 0
        changed = torch.stack([(delta != 0).any(-1).any(0) for delta in deltas]).any(0).nonzero()
        return int(changed[0]) if len(changed) else self.length - 1


def run_clean(
    model: Model, ids: Tensor, site: Site, others: Sequence[Site] = (), *, every: bool = True
) -> Clean:
    """Run one prompt, ids [s] without padding, and keep what edits at the site need.

    others: more sites to keep; every: logits of every position, not of the last alone.
    Raises `NonFiniteError` if the model overflows by itself.
    """
    first, inner, entry = _resumes(model, site)
    wanted = sorted({site, entry, *others}, key=lambda wanted_site: wanted_site.hookpoint.order)
    batch = ids.unsqueeze(0)
    with model.lock:
        saved, logits, cache = resumed.clean_pass(
            model.nn,
            batch,
            torch.ones_like(batch),
            wanted,
            keep=0 if every else 1,
            cached=True,
        )
    check_clean(model, ids, logits[0])
    streams = {wanted_site: value[0] for wanted_site, value in zip(wanted, saved, strict=True)}
    return Clean(
        model=model,
        site=site,
        ids=ids,
        x=streams[site],
        entry=streams[entry],
        logits=logits[0],
        first=first,
        inner=inner,
        others={other: streams[other] for other in others},
        cache=cache,
    )


def needed(model: Model, site: Site) -> list[Site]:
    """What a pass has to keep for `Clean.at`."""
    _, _, entry = _resumes(model, site)
    return list(dict.fromkeys((site, entry)))


def _resumes(model: Model, site: Site) -> tuple[int, Site | None, Site]:
    """`Clean.first` and `Clean.inner` of a site, and where `Clean.entry` is read."""
    first, inner = _resume_point(site) if model.anatomy.resumes else (0, site)
    whole = inner is None or first == 0
    return first, inner, site if whole else model.site(Hookpoint(first, "resid_pre"))


def _resume_point(site: Site) -> tuple[int, Site | None]:
    """The first block to run again, and the site if it has to be edited inside that block."""
    layer, kind = site.hookpoint.layer, site.hookpoint.kind
    if kind == "resid_post":
        return layer + 1, None
    return layer, None if kind == "resid_pre" and layer else site


def _croppable(cache: Any) -> bool:
    """Whether the cache is plain keys and values, so that a prefix of it is a slice."""
    layers = getattr(cache, "layers", None) or ()
    return bool(layers) and all(
        type(layer).__name__ == "DynamicLayer" and layer.keys is not None for layer in layers
    )


def _cut(cache: Any, length: int, rows: int) -> Any:
    """The cache's first positions, for b rows; views, so nothing is copied for skipped blocks."""
    cut = copy.copy(cache)
    cut.layers = []
    for layer in cache.layers:
        part = _Prefix()
        part.lazy_initialization(layer.keys, layer.values)
        part.keys = layer.keys[:, :, :length].expand(rows, -1, -1, -1)
        part.values = layer.values[:, :, :length].expand(rows, -1, -1, -1)
        cut.layers.append(part)
    return cut


class _Prefix(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """Hands out its keys and values with the new ones behind them, and keeps only its own.

    A resumed pass is never continued, and every block's new keys and values would be a third of
    what it holds.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([self.keys, key_states], dim=-2),
            torch.cat([self.values, value_states], dim=-2),
        )


def touched(model: Model, ids: Tensor, positions: Positions) -> Tensor:
    """Mask [s] of the tokens of a text [s] that positions mean."""
    rows = ids.unsqueeze(0)
    span = model.span(rows, torch.ones_like(rows))
    return select(resolve(canonical(positions), model.token_id), span)[0]
