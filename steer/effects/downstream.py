"""Which features of a later dictionary an edit changes, by how much, and at which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine_paths
from steer.cache import Progress
from steer.edits import Intervention
from steer.effects.clean import Clean
from steer.effects.edited import EditedPrompt, edited_prompts, written_site
from steer.effects.statistics import benjamini_hochberg, bootstrap, sign_flip
from steer.effects.sweep import TEXT
from steer.errors import InterventionError
from steer.hookpoints import Site
from steer.positions import Positions
from steer.precision import compute_dtype, exact

if TYPE_CHECKING:
    import pandas

    from steer.model import Model


@dataclass(frozen=True, eq=False)
class Changed:
    """The features of one prompt of s tokens that change at any counted token.

    tokens [s]: their texts. features [k]: ids. counted [s]: whether the token counts.
    before, after [s, k]: activations in the clean and in the edited run.
    """

    tokens: tuple[str, ...]
    counted: Tensor
    features: Tensor
    before: Tensor
    after: Tensor

    @property
    def change(self) -> Tensor:
        """Edited minus clean at each token, [s, k]; also at tokens that do not count."""
        return self.after - self.before


@dataclass(frozen=True, eq=False)
class Downstream:
    """Changes of a later dictionary's features under an intervention, edited minus clean.

    prompts: one `Changed` each. intervention: as JSON. at: which tokens count.
    """

    changed: tuple[Changed, ...]
    prompts: tuple[str, ...]
    dictionary: str
    intervention: str
    at: str
    dtype: str

    @property
    def features(self) -> list[int]:
        """Ids of all features that change on any prompt."""
        return sorted({f for each in self.changed for f in each.features.tolist()})

    def matrix(self, column: str = "change") -> Tensor:
        """`before`, `after` or `change`, the mean over the counted tokens, [features, prompts]."""
        place = {feature: number for number, feature in enumerate(self.features)}
        found = torch.zeros(len(place), len(self.changed), dtype=torch.float64)
        for number, each in enumerate(self.changed):
            index = [place[feature] for feature in each.features.tolist()]
            found[index, number] = getattr(each, column)[each.counted].double().mean(0).cpu()
        return found

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a feature, the largest change first.

        before, after: mean activation over counted tokens and over the prompts where it changes.
        change: mean over counted tokens and all prompts, 0 where it does not change; low, high:
            its bootstrap interval over prompts; p: sign-flip test that it is 0; q:
            Benjamini-Hochberg over the features; prompts: on how many it changes.
        token, position, peak: where it changes most on any prompt, and by how much there.
        """
        import pandas

        change = self.matrix()
        acting = self._acting()
        low, high = bootstrap(change, level=level, seed=seed)
        p = sign_flip(change, seed=seed)
        on = acting.sum(1)
        columns = {
            "before": self.matrix("before").sum(1) / on,
            "after": self.matrix("after").sum(1) / on,
            "change": change.mean(1),
            "low": low,
            "high": high,
            "p": p,
            "q": benjamini_hochberg(p),
            "prompts": on,
        }
        frame = pandas.DataFrame({name: value.tolist() for name, value in columns.items()})
        frame.insert(0, "feature", self.features)
        frame = frame.assign(**self._peaks())
        order = frame["change"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    @property
    def frame(self) -> pandas.DataFrame:
        """`to_frame()` with its defaults."""
        return self.to_frame()

    def top(self, k: int = 10) -> list[tuple[int, float]]:
        """The k features that change most: (feature, mean change)."""
        frame = self.to_frame().head(k)
        return list(zip(frame["feature"].tolist(), frame["change"].tolist(), strict=True))

    def to_rows(self) -> pandas.DataFrame:
        """One row a prompt, token and feature that changes there, in the order of the text."""
        import pandas

        rows: list[dict[str, Any]] = []
        for number, each in enumerate(self.changed):
            for place, column in each.change.nonzero().tolist():
                rows.append(
                    {
                        "prompt": number,
                        "position": place,
                        "token": each.tokens[place],
                        "feature": int(each.features[column]),
                        "before": each.before[place, column].item(),
                        "after": each.after[place, column].item(),
                        "change": each.change[place, column].item(),
                    }
                )
        columns = ["prompt", "position", "token", "feature", "before", "after", "change"]
        return pandas.DataFrame(rows, columns=columns)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame().head(top) if top else self.to_frame()
        return {
            "dictionary": self.dictionary,
            "intervention": self.intervention,
            "at": self.at,
            "dtype": self.dtype,
            "prompts": list(self.prompts),
            "changed": len(self.features),
            "features": frame.astype(object).where(frame.notna(), None).to_dict("records"),
        }

    def _acting(self) -> Tensor:
        place = {feature: number for number, feature in enumerate(self.features)}
        found = torch.zeros(len(place), len(self.changed), dtype=torch.bool)
        for number, each in enumerate(self.changed):
            found[[place[feature] for feature in each.features.tolist()], number] = True
        return found

    def _peaks(self) -> dict[str, list[Any]]:
        """The token, position and size of each feature's largest change."""
        best: dict[int, tuple[float, int, str]] = {}
        for each in self.changed:
            sizes = torch.where(each.counted.unsqueeze(1), each.change, 0.0)
            places = sizes.abs().argmax(0).tolist()
            for column, (feature, place) in enumerate(
                zip(each.features.tolist(), places, strict=True)
            ):
                size = sizes[place, column].item()
                if abs(size) > abs(best.get(feature, (0.0, 0, ""))[0]):
                    best[feature] = size, place, each.tokens[place]
        found = [best[feature] for feature in self.features]
        return {
            "token": [token for _, _, token in found],
            "position": [place for _, place, _ in found],
            "peak": [size for size, _, _ in found],
        }


def downstream(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention,
    other: Dictionary,
    *,
    at: Positions = TEXT,
    dictionaries: Sequence[Dictionary] = (),
    progress: Progress | None = None,
) -> Downstream:
    """What an intervention does to the features of a dictionary that reads a later site.

    at: which tokens count; by default all but the first, whose massive activation sets off
        thousands of features. Tokens before the first edited one cannot change.
    dictionaries: to look the intervention's up in before the catalogue.

    The edited run starts at the first edited token and the clean one at the first token, so that
    changes of a millionth of an activation are rounding.

    Raises `InterventionError` if `other` reads no later site than the intervention writes,
    `SilentEditError` if nothing is changed on any prompt, and what `Model.plans` raises.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    site = model.site(model.site_of(other))
    _check_order(written_site(model, intervention, dictionaries, len(texts)), site, other)
    ours = other.to(device=model.device, dtype=compute_dtype(model.module.dtype))
    found = []
    for edited in edited_prompts(model, texts, intervention, dictionaries, others=[site]):
        found.append(_changed(edited, ours, site, at))
        if progress:
            progress("reading later features", edited.number + 1, len(texts))
    return Downstream(
        changed=tuple(found),
        prompts=texts,
        dictionary=other.name,
        intervention=intervention.to_json(),
        at=str(at),
        dtype=model.dtype,
    )


def later_activations(clean: Clean, delta: Tensor, site: Site) -> Tensor:
    """Activations [b, s, d] at a later site kept in `clean.others`, with delta [b, s, d] added.

    The model runs no further than that site. Rows that add nothing are the clean activations.
    """
    whole = clean.others[site].expand(len(delta), -1, -1).clone()
    acting = (delta != 0).flatten(1).any(1)
    if acting.any():
        start = clean.start(delta[acting])
        with clean.model.lock:
            found = engine_paths.reach(clean.model.nn, start, site)
        whole[acting, clean.length - found.shape[1] :] = found
    return whole


def _changed(edited: EditedPrompt, other: Dictionary, site: Site, at: Positions) -> Changed:
    clean = edited.clean
    counted = clean.touched(at)
    with torch.inference_mode():
        after_x = later_activations(clean, edited.delta.unsqueeze(0), site)[0]
        before = other.encode(exact(clean.others[site]))[0]
        after = other.encode(exact(after_x))[0]
        kept = ((after != before) & counted.unsqueeze(-1)).any(0).nonzero().flatten()
    return Changed(
        tokens=tuple(clean.model.token(token) for token in clean.ids.tolist()),
        counted=counted,
        features=kept,
        before=before[:, kept],
        after=after[:, kept],
    )


def _check_order(written: Site, read: Site, other: Dictionary) -> None:
    if read.hookpoint.order <= written.hookpoint.order:
        raise InterventionError(
            f"{other.name or 'the other dictionary'} reads {read.hookpoint}, and the intervention "
            f"writes {written.hookpoint}: name a dictionary of a later site"
        )
