"""The direct logit effect of a feature, "direct, frozen-norm": linear, and exact at the last site.

    Δ logits = P(a d) ⊙ gain / scale · W_Uᵀ

with a the change of the feature's activation, d its decoder row, and the final norm's scale held
at its value in a clean run. It is what the edit would do if every later block ignored it. The
logits are those before a cap, where a model has one (Gemma 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from dictionaries.extras import need
from steer.effects.controls.compared import by_kind, said
from steer.effects.controls.matching import Matched, matched_features
from steer.effects.controls.trials import matched_trials, random_trials
from steer.effects.passes.clean import run_clean
from steer.errors import ModelError
from steer.features.fit import check_dictionary, refuse_later
from steer.lm import anatomy
from steer.lm.norm import Norm
from steer.lm.prompts import as_texts
from steer.lm.unembedding import direct_logits, norm_of
from steer.maths.numbers import check_number, check_whole
from steer.maths.precision import exact
from steer.maths.statistics import Interval, interval
from steer.model import Model
from steer.runs.explain import NEUTRAL
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure

LABEL = "direct, frozen-norm"
_TOLERANCE = 0.02
"""Relative; a model may compute its logits in half precision."""


@dataclass(frozen=True)
class TokenChange:
    """A token whose logit changes, with the mean over prompts and its interval.

    random, matched: the mean |change| of its logit under controls; None if there are none.
    """

    token: str
    token_id: int
    delta_logit: float
    low: float
    high: float
    random: float | None = None
    matched: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None; without the controls that there are not."""
        plain = {name: None if value != value else value for name, value in vars(self).items()}
        absent = [kind for kind in ("random", "matched") if getattr(self, kind) is None]
        return {name: value for name, value in plain.items() if name not in absent}


@dataclass(frozen=True, eq=False, repr=False)
class DirectEffect(Shown):
    """logits [n, V]: change of the last token's logits on n prompts; scales [n]: the norm's."""

    logits: Tensor
    scales: Tensor
    feature: int
    amount: float
    dictionary: str
    dtype: str
    prompts: tuple[str, ...]
    tokens: tuple[tuple[TokenChange, ...], tuple[TokenChange, ...]]
    matched: Matched | None = None

    def _title(self) -> str:
        return (
            f"DirectEffect ({LABEL}): feature {self.feature} of {self.dictionary} times "
            f"{self.amount:g}, on {len(self.prompts)} prompts"
        )

    def to_frame(self) -> pandas.DataFrame:
        """One row a token, the promoted first, then the suppressed."""
        import pandas

        return pandas.DataFrame([token.to_dict() for token in (*self.promoted, *self.suppressed)])

    def plot(self) -> Figure:
        """The tokens that change most, before the controls."""
        need("plotly")
        from steer.figures.effects import token_bars

        return token_bars(self)

    @property
    def promoted(self) -> tuple[TokenChange, ...]:
        return self.tokens[0]

    @property
    def suppressed(self) -> tuple[TokenChange, ...]:
        return self.tokens[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""

        return {
            "label": LABEL,
            "dictionary": self.dictionary,
            "feature": self.feature,
            "amount": self.amount,
            "dtype": self.dtype,
            "prompts": list(self.prompts),
            "matched": said(self.matched),
            "scales": self.scales.tolist(),
            "promoted": [token.to_dict() for token in self.promoted],
            "suppressed": [token.to_dict() for token in self.suppressed],
        }


def direct_logit_effect(
    model: Model,
    dictionary: Dictionary,
    feature: int,
    *,
    amount: float = 1.0,
    prompts: Sequence[str] | str = NEUTRAL,
    top: int = 10,
    draws: int = 8,
    seed: int = 0,
) -> DirectEffect:
    """What adding `amount` of a feature at the last token would do by the direct path alone.

    amount: in the residual's units, so times ‖decoder row‖ a length.
    prompts: only the scale of the final norm at their last token is taken from them.
    draws: random directions of that length, and features about as dense with it; 0 for none.

    Raises `InterventionError` for a dictionary that does not write to the residual stream,
    `DictionaryError` for a feature out of range, `ModelError` for an unknown final norm or for
    logits that are not made by norm and unembedding alone.
    """
    check_number("amount", amount)
    check_whole("draws", draws)
    check_dictionary(dictionary)
    texts = as_texts(prompts)
    refuse_later(dictionary.later, "the direct logit effect is")
    anatomy.check_residual(model.site(dictionary.config.hookpoint_out or model.site_of(dictionary)))
    dictionary.check_features([feature])
    norm, last, read = norm_of(model), model.last_site, model.site_of(dictionary)
    scales, matched = list[Tensor](), None
    for text in texts:
        ids = model.tokenize([text])[0][0]
        clean = run_clean(model, ids, last, [model.site(read)], every=False)
        if draws:
            matched = matched or matched_features(clean, dictionary, [feature], draws, seed)
        _check_head(model, norm, clean.x[-1], clean.logits[-1])
        scales.append(norm.scale(clean.x[-1]))
    with torch.inference_mode():
        scale = torch.stack(scales)
        row = amount * exact(dictionary.W_dec[feature]).to(scale)
        logits = direct_logits(model, row.unsqueeze(0)) / scale
        sizes = _control_sizes(model, dictionary, row, matched, draws, seed, scale)
    return DirectEffect(
        logits=logits,
        scales=scale.flatten().cpu(),
        feature=feature,
        amount=amount,
        dictionary=dictionary.name,
        dtype=model.precision,
        prompts=texts,
        tokens=(
            top_tokens(model, logits, top, controls=sizes),
            top_tokens(model, logits, top, -1, controls=sizes),
        ),
        matched=matched,
    )


def _control_sizes(
    model: Model,
    dictionary: Dictionary,
    row: Tensor,
    matched: Matched | None,
    draws: int,
    seed: int,
    scale: Tensor,
) -> dict[str, Tensor]:
    """Mean |change| of every logit, [V], by directions as long as the row [d]; scale [n, 1]."""
    if not draws:
        return {}
    trials = random_trials(row.unsqueeze(0), draws, seed)
    if matched is not None:
        trials += matched_trials(row.unsqueeze(0), dictionary, matched.others, 1.0)
    moved = direct_logits(model, torch.cat([trial.delta for trial in trials])).abs()
    return {k: change.mean(0) * (1 / scale).mean() for k, change in by_kind(trials, moved).items()}


def top_tokens(
    model: Model,
    logits: Tensor,
    k: int,
    sign: int = 1,
    *,
    controls: Mapping[str, Tensor] | None = None,
) -> tuple[TokenChange, ...]:
    """The k tokens whose mean logit change [n, V] is highest, or with sign -1 lowest.

    Only tokens that go up, or with sign -1 down: none where nothing changes.
    controls: the mean |change| of every logit, [V], by kind of control.
    """
    mean = sign * logits.mean(0)
    index = [token for token in mean.topk(k).indices.tolist() if mean[token] > 0]

    def change(token: int) -> TokenChange:
        rise: Interval = interval(logits[:, token].cpu())
        size = {kind: values[token].item() for kind, values in (controls or {}).items()}
        return TokenChange(model.token(token), token, rise.mean, rise.low, rise.high, **size)

    return tuple(change(token) for token in index)


def _check_head(model: Model, norm: Norm, x: Tensor, logits: Tensor) -> None:
    """The model's logits [V] must be its norm and unembedding of x [d], and a cap where it has one.

    Some models scale their logits besides; the direct effect would be off by that factor.
    """
    head = model.module.get_output_embeddings()
    with torch.inference_mode():
        expected = norm(x) @ exact(head.weight).T
        if getattr(head, "bias", None) is not None:
            expected = expected + exact(head.bias)
        cap = getattr(model.module.config.get_text_config(), "final_logit_softcapping", None)
        if cap:
            expected = cap * torch.tanh(expected / cap)
        gap = ((expected - exact(logits)).norm() / expected.norm()).item()
    if gap > _TOLERANCE:
        raise ModelError(
            f"the logits of {model.name} are not its final norm and unembedding alone (they differ "
            f"by {gap:.1%}), so a direct effect can't be read from them; use steer.path_effects"
        )
