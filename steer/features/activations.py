"""Which features a text activates, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.features.fit import site_of
from steer.lm.continuations import Continuation, batches
from steer.maths.numbers import check_whole
from steer.maths.precision import compute_dtype, exact
from steer.shown import Shown, coloured, visible

if TYPE_CHECKING:
    import pandas

    from steer.lm.language_model import LanguageModel


@dataclass(frozen=True)
class Activation:
    """A feature's activation at a token."""

    position: int
    token: str
    feature: int
    activation: float


@dataclass(frozen=True, eq=False, repr=False)
class FeatureActivations(Shown):
    """All features of a dictionary on one text of s tokens.

    tokens: the text of each token.
    activations [s, width]: in the dictionary's units.
    norms [s]: ‖x‖ at each token.
    """

    text: str
    dictionary: str
    tokens: tuple[str, ...]
    activations: Tensor
    norms: Tensor

    def _title(self) -> str:
        text = self.text if len(self.text) <= 60 else f"{self.text[:60]}…"
        return f"FeatureActivations of {self.dictionary} on {len(self.tokens)} tokens: {text!r}"

    def __repr__(self) -> str:
        strongest = [
            f"{feature.feature} {feature.activation:.3g} at {visible(feature.token)}"
            for feature in self.top_features(5)
        ]
        return f"{self._title()}\nstrongest  {'   '.join(strongest) or 'none is active'}"

    def _repr_html_(self) -> str:
        peaks = [
            max((abs(activation.activation) for activation in top), default=0.0)
            for top in self.top(1)
        ]
        titles = [
            ", ".join(f"{activation.feature}: {activation.activation:.3g}" for activation in top)
            or "none active"
            for top in self.top(3)
        ]
        return f"<p>{coloured(self.tokens, peaks, titles)}</p>"

    def top(self, k: int = 5, *, skip_first: bool = True) -> list[list[Activation]]:
        """The k most active features of each token, strongest first, whichever sign that has.

        The first token's activation is massive and says little; it is left empty by default.
        """
        check_whole("k", k)
        tops = []
        for position, row in enumerate(self.activations):
            index = row.abs().topk(min(k, len(row))).indices
            pairs = zip(index.tolist(), row[index].tolist(), strict=True)
            tops.append(
                [
                    Activation(position, self.tokens[position], feature, value)
                    for feature, value in pairs
                    if value != 0 and not (skip_first and position == 0)
                ]
            )
        return tops

    def top_features(self, k: int = 10, *, skip_first: bool = True) -> list[Activation]:
        """The k features with the largest activation anywhere in the text, at that token."""
        check_whole("k", k)
        rows = self.activations[1:] if skip_first and len(self.tokens) > 1 else self.activations
        offset = len(self.tokens) - len(rows)
        sizes, where = rows.abs().max(dim=0)
        order = sizes.argsort(descending=True)[:k].tolist()
        return [
            Activation(p := int(where[i]) + offset, self.tokens[p], i, rows[where[i], i].item())
            for i in order
            if sizes[i] > 0
        ]

    def to_frame(self) -> pandas.DataFrame:
        """One row per active (token, feature)."""
        import pandas

        positions, features = self.activations.nonzero(as_tuple=True)
        return pandas.DataFrame(
            {
                "position": positions.tolist(),
                "token": [self.tokens[p] for p in positions.tolist()],
                "feature": features.tolist(),
                "activation": self.activations[positions, features].tolist(),
            }
        )

    def to_list(self, k: int = 5) -> list[dict[str, Any]]:
        """Per token its k top features, as plain data."""
        return [
            {
                "position": position,
                "token": self.tokens[position],
                "features": [{"feature": a.feature, "activation": a.activation} for a in top],
            }
            for position, top in enumerate(self.top(k, skip_first=False))
        ]


def features(model: LanguageModel, text: str, dictionary: Dictionary) -> FeatureActivations:
    """Encode one text with the whole dictionary."""
    hookpoint = site_of(model, dictionary)
    ids, mask = model.tokenize([text])
    x = exact(model.collect(ids, mask, [hookpoint])[hookpoint][0])
    activations = encode(dictionary, x)
    tokens: Sequence[str] = [model.token(token) for token in ids[0].tolist()]
    return FeatureActivations(
        text, dictionary.name, tuple(tokens), activations.cpu(), x.norm(dim=-1).cpu()
    )


@torch.inference_mode()
def encode(dictionary: Dictionary, x: Tensor) -> Tensor:
    """All features at each token of one text, x [s, d] -> [s, width], in fp32 or wider."""
    ours = dictionary.to(x.device, compute_dtype(x.dtype))
    return ours.encode_texts(x.unsqueeze(0))[0][0]


@torch.inference_mode()
def encode_feature(
    dictionary: Dictionary, feature: int, x: Tensor, real: Tensor | None = None
) -> Tensor:
    """One feature at each token of texts, x [b, s, d] -> [b, s]; real [b, s]: False at padding."""
    separable = dictionary.separable
    used = dictionary.restrict([feature]) if separable else dictionary
    ours = used.to(x.device, compute_dtype(x.dtype))
    return ours.encode_texts(x, real)[0][..., 0 if separable else feature]


@torch.inference_mode()
def active_share(
    model: LanguageModel,
    continuations: Sequence[Continuation],
    dictionary: Dictionary,
    feature: int,
) -> Tensor:
    """Share [n] of each continuation's own tokens where the feature is active, without edits.

    Raises `PromptError` for a continuation without tokens.
    """
    hookpoint = site_of(model, dictionary)
    shares = torch.zeros(len(continuations), dtype=torch.float64)
    for places, ids, mask in batches(model, continuations):
        x = model.collect(ids, mask, [hookpoint])[hookpoint]
        active = encode_feature(dictionary, feature, x, mask.bool()) != 0
        for place, row in zip(places, active, strict=True):
            shares[place] = row[-len(continuations[place].ids) :].double().mean().cpu()
    return shares
