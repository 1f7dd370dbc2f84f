"""Which features steer? Output and input score of Arad et al. 2025, from one pass a prompt.

ℓ are the 20 tokens that the logit lens reads off a feature's decoder row. The output score asks
whether they come up when the feature is pushed hard at the last token of a neutral prompt:

    S_out = (1 − min rank of ℓ / |V|) · max p of ℓ    after  f ← f + 10 · (largest f there)

The input score is the share of the feature's top contexts whose strongest token is in ℓ. Features
rarely have both, and only those with a high output score steer.

Read off the authors' code (technion-cs-nlp/saes-are-good-for-steering, `output_score.py`): the
edit is made at the last position alone, the largest activation is over all features at that token,
and the error term stays. They score on one neutral prompt; here it is the mean over the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.beside.statistics import WINDOW
from dictionaries.dictionary import Dictionary
from steer.effects.passes.changes import clean_for, encode_clean
from steer.errors import SteerError
from steer.lm.unembedding import direct_logits
from steer.maths.precision import exact
from steer.model import Model

if TYPE_CHECKING:
    from steer.progress import Progress

NEUTRAL = ("In my experience,", "From my experience,")
LENS = 20
STRENGTH = 10.0
_BATCH = 256


@dataclass(frozen=True, eq=False, repr=False)
class FeatureScores:
    """Scores of n features.

    output [n]: mean over the prompts, 0 to 1; input [n]: 0 to 1, NaN for a feature without contexts
    or a dictionary without statistics.
    lens [n, top]: ids of ℓ, strongest first.
    """

    features: tuple[int, ...]
    output: Tensor
    input: Tensor
    lens: Tensor

    def __repr__(self) -> str:
        best = [f"{feature} {self.output[i]:.3g}" for i, feature in self._best(5)]
        return f"FeatureScores of {len(self.features):,} features; output  {'   '.join(best)}"

    def _best(self, count: int) -> list[tuple[int, int]]:
        order = self.output.argsort(descending=True, stable=True)[:count].tolist()
        return [(i, self.features[i]) for i in order]

    def at_least(self, output: float) -> list[int]:
        """Features whose output score is `output` or more, best first."""
        order = self.output.argsort(descending=True, stable=True).tolist()
        return [self.features[i] for i in order if self.output[i].item() >= output]


def lens_tokens(
    model: Model, dictionary: Dictionary, features: Sequence[int], top: int = LENS
) -> Tensor:
    """Ids [n, top] of the tokens with the largest direct logits, strongest first."""
    rows = dictionary.W_dec[list(features)].to(model.device)
    parts = [direct_logits(model, part).topk(top).indices for part in rows.split(_BATCH)]
    return torch.cat(parts).cpu()


def feature_scores(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int] | None = None,
    *,
    prompts: Sequence[str] = NEUTRAL,
    top: int = LENS,
    strength: float = STRENGTH,
    progress: Progress | None = None,
) -> FeatureScores:
    """Both scores of these features; of all if None.

    Raises `DictionaryError` for a feature out of range, `SteerError` for none or for no prompt.
    """
    chosen = list(range(dictionary.width) if features is None else features)
    dictionary.check_features(chosen)
    if not chosen or not prompts or isinstance(prompts, str):
        raise SteerError("give one or more features, and one or more prompts, to score")
    lens = lens_tokens(model, dictionary, chosen, top)
    output = torch.zeros(len(chosen), dtype=torch.float64)
    for number, prompt in enumerate(prompts):
        output += _output(model, dictionary, chosen, lens, prompt, strength) / len(prompts)
        if progress:
            progress("scoring features", number + 1, len(prompts))
    return FeatureScores(tuple(chosen), output, _input(dictionary, chosen, lens), lens)


@torch.inference_mode()
def _output(
    model: Model,
    dictionary: Dictionary,
    features: list[int],
    lens: Tensor,
    prompt: str,
    strength: float,
) -> Tensor:
    """S_out [n] on one prompt."""
    ids, _ = model.tokenize([prompt])
    clean = clean_for(model, ids[0], dictionary, every=False)
    read = clean.others.get(model.site(model.site_of(dictionary)), clean.x)[-1]
    largest, scale = encode_clean(clean, dictionary)[-1].max(), _scale(dictionary, read)
    scores = []
    for start in range(0, len(features), _BATCH):
        part = slice(start, start + _BATCH)
        rows = dictionary.W_dec[features[part]].to(clean.x.device)
        delta = torch.zeros(len(rows), *clean.x.shape, dtype=clean.x.dtype, device=clean.x.device)
        delta[:, -1] = (strength * largest * scale * rows).to(delta.dtype)
        scores.append(output_score(exact(clean.resume(delta).logits[:, -1]), lens[part]))
    return torch.cat(scores).cpu()


def _scale(dictionary: Dictionary, x: Tensor) -> Tensor | float:
    """What a unit of a feature writes is multiplied by, where the dictionary normalises x [d]."""
    _, norm = dictionary.normalise(exact(x))
    return 1.0 if norm.scale is None else norm.scale


def output_score(logits: Tensor, lens: Tensor) -> Tensor:
    """S_out [n] from logits [n, V] after the edit and the lens's token ids [n, top], float64."""
    index = lens.to(logits.device)
    best = logits.gather(1, index).amax(1, keepdim=True)
    rank = (logits > best).sum(1).double()  # the best rank among ℓ is that of its likeliest token
    p = logits.double().softmax(-1).gather(1, index).amax(1)
    return (1 - rank / logits.shape[1]) * p


def _input(dictionary: Dictionary, features: list[int], lens: Tensor) -> Tensor:
    """Share [n] of top contexts whose strongest token is in ℓ."""
    if dictionary.statistics is None:
        return torch.full((len(features),), torch.nan, dtype=torch.float64)
    strongest = dictionary.statistics.contexts[features][:, :, WINDOW[0]].cpu()
    there = strongest >= 0
    hits = (strongest.unsqueeze(-1) == lens.unsqueeze(1)).any(-1) & there
    return hits.sum(1).double() / there.sum(1)


def random_filter(values: Tensor, count: int, *, draws: int = 10_000, seed: int = 0) -> Tensor:
    """The control of a filter: means [draws] of `count` of values [n], drawn without replacement.

    A filter that helps lies above nearly all of them.
    """
    if not 0 < count <= len(values):
        raise SteerError(f"{count} of {len(values)} features can't be drawn; allowed: 1 to all")
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(draws, len(values), generator=generator).argsort(1)[:, :count]
    return values.double()[order].mean(1)
