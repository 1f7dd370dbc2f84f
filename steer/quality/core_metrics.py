"""SAEBench's core metrics of a dictionary, by the definitions of sae-bench 0.6.0 (`evals/core`).

Two of its definitions are kept for comparison although they say little. `explained_variance` takes
(E‖x‖² / d)² for the squared mean ‖E x‖², so it is near 1 − E‖x − x̂‖² / E‖x‖² and turns negative
where norms are large; `mse` divides by the number of tokens twice. `fvu` is the usual figure.
KL is from log-softmax: sae-bench's log of softmax is NaN where a probability underflows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import keep_mask
from steer.errors import DictionaryError
from steer.features.contexts import BATCH, OUTLIER_MEDIANS, collect
from steer.features.contexts import contexts as read_contexts
from steer.features.norm_gain import after_gain
from steer.lm.language_model import LanguageModel
from steer.progress import Progress
from steer.quality.check import refuse_other_model
from steer.quality.core_sums import Downstream, Sums
from steer.quality.docstrings import docstrings
from steer.quality.replacement import Replacement, replaced_logits

_CATEGORIES = {
    "model_behavior_preservation": ("kl_div_score", "kl_div_with_ablation", "kl_div_with_sae"),
    "model_performance_preservation": (
        *("ce_loss_score", "ce_loss_with_ablation", "ce_loss_with_sae", "ce_loss_without_sae"),
    ),
    "reconstruction_quality": (
        *("explained_variance", "explained_variance_legacy", "mse", "cossim", "fvu"),
    ),
    "shrinkage": ("l2_norm_in", "l2_norm_out", "l2_ratio", "relative_reconstruction_bias"),
    "sparsity": ("l0", "l1"),
    "misc_metrics": (
        *("freq_over_1_percent", "freq_over_10_percent"),
        *("normalized_freq_over_1_percent", "normalized_freq_over_10_percent"),
        *("average_max_encoder_cosine_sim", "average_max_decoder_cosine_sim", "frac_alive"),
    ),
    "token_stats": ("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"),
}


_PASSES = 3
"""Clean, spliced and ablated."""


@dataclass(frozen=True)
class CoreMetrics:
    """Names and units are sae-bench's; `fvu` and the last three are not.

    outliers: whether first tokens and massive activations were counted and replaced, as there.
    """

    kl_div_score: float
    kl_div_with_ablation: float
    kl_div_with_sae: float
    ce_loss_score: float
    ce_loss_with_ablation: float
    ce_loss_with_sae: float
    ce_loss_without_sae: float
    explained_variance: float
    explained_variance_legacy: float
    mse: float
    cossim: float
    fvu: float
    l2_norm_in: float
    l2_norm_out: float
    l2_ratio: float
    relative_reconstruction_bias: float
    l0: float
    l1: float
    freq_over_1_percent: float
    freq_over_10_percent: float
    normalized_freq_over_1_percent: float
    normalized_freq_over_10_percent: float
    average_max_encoder_cosine_sim: float
    average_max_decoder_cosine_sim: float
    frac_alive: float
    total_tokens_eval_reconstruction: int
    total_tokens_eval_sparsity_variance: int
    dictionary: str
    hookpoint: str
    outliers: bool

    def to_dict(self) -> dict[str, dict[str, float | int | str | bool]]:
        """Nested by category, as sae-bench writes `eval_result_metrics`."""
        flat = asdict(self)
        nested = {name: {key: flat.pop(key) for key in keys} for name, keys in _CATEGORIES.items()}
        return {**nested, "about": flat}


def core_metrics(
    model: LanguageModel,
    dictionary: Dictionary,
    contexts: Tensor,
    *,
    cutoff: float | None = None,
    batch: int = 16,
    known: Tensor | None = None,
    progress: Progress | None = None,
) -> CoreMetrics:
    """All core metrics on contexts [n, length] of token ids, without padding.

    cutoff: the first token of a context and positions whose norm is above it are neither counted
    nor replaced; None counts and replaces every position, as sae-bench does.
    batch: contexts at a time; `mse`, `explained_variance` and the bias depend on it, as there.
    known: the site's activations [n, length, d], if they have been read already.
    Raises `DictionaryError` for a dictionary of another model, or a transcoder.
    """
    source, out = refuse_other_model(model, dictionary)
    if source != out:
        raise DictionaryError(
            f"{dictionary.name or 'the dictionary'} reads {source} and writes {out}: the core "
            "metrics are of a reconstruction; check it without --full"
        )
    ours = dictionary.to(device=model.device)
    downstream, sums = Downstream(), Sums(dictionary.width)
    for start in range(0, len(contexts), batch):
        rows = slice(start, start + batch)
        ids = contexts[rows].long().to(model.device)
        x = None if known is None else known[rows]
        for passes in _measure(model, ours, ids, source, cutoff, downstream, sums, x):
            if progress:
                done = start * _PASSES + passes * len(ids)
                progress("measuring", done, _PASSES * len(contexts))
    if progress:
        progress("comparing rows", 0, 1)
    return CoreMetrics(
        **downstream.result(),
        **sums.result(),
        **_weights(dictionary),
        total_tokens_eval_reconstruction=contexts.numel(),
        total_tokens_eval_sparsity_variance=int(sums.tokens),
        dictionary=dictionary.name or "unnamed",
        hookpoint=source,
        outliers=cutoff is None,
    )


def full_check(
    model: LanguageModel,
    dictionary: Dictionary | str | Path,
    texts: Sequence[str] | None = None,
    *,
    outliers: bool = False,
    tokens: int = 16_384,
    progress: Progress | None = None,
) -> CoreMetrics:
    """`core_metrics` on texts, Python's docstrings if None, as `steer.quality.check` reads them.

    outliers: count and replace first tokens and massive activations too, as sae-bench does.
    """
    loaded = dictionary if isinstance(dictionary, Dictionary) else catalogue.load(dictionary)
    loaded = after_gain(model, loaded)
    ids = read_contexts(model, docstrings() if texts is None else texts, tokens)
    if outliers:
        return core_metrics(model, loaded, ids, progress=progress)
    site, parts = refuse_other_model(model, loaded)[0], []
    for rows in ids.split(BATCH):
        parts += collect(model, rows, site)
        if progress:
            progress("reading", min(BATCH * len(parts), len(ids)), len(ids))
    x = torch.cat(parts)
    cutoff = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[1]
    return core_metrics(model, loaded, ids, cutoff=cutoff, known=x, progress=progress)


@torch.inference_mode()
def _measure(
    model: LanguageModel,
    dictionary: Dictionary,
    ids: Tensor,
    hookpoint: str,
    cutoff: float | None,
    downstream: Downstream,
    sums: Sums,
    known: Tensor | None,
) -> Iterator[int]:
    """One batch: the site read, reconstructed and zeroed; yields how many of `_PASSES` are done."""

    def kept(x: Tensor) -> Tensor:
        if cutoff is None:
            return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        mask = x.float().norm(dim=-1) <= cutoff
        mask[:, 0] = False
        return mask

    def reconstructed(x: Tensor) -> Tensor:
        features, norm = dictionary.encode(x.float())
        rebuilt = dictionary.decode(features, norm)
        mask = kept(x)
        sums.add(x[mask].float(), features[mask], rebuilt[mask])
        return torch.where(mask.unsqueeze(-1), rebuilt.to(x.dtype), x)

    changes: dict[str, Replacement] = {
        "sae": reconstructed,
        "ablation": lambda x: torch.where(kept(x).unsqueeze(-1), 0, x),
    }
    clean: Tensor | None = None
    passes = replaced_logits(model, ids, model.site(hookpoint), changes, known)
    for number, (name, logits) in enumerate(passes, start=1):
        clean = logits if clean is None else clean
        downstream.add(name, clean, logits, ids)
        yield number


@torch.inference_mode()
def _weights(dictionary: Dictionary) -> dict[str, float]:
    return {
        "average_max_encoder_cosine_sim": _max_cosine(dictionary.W_enc.T),
        "average_max_decoder_cosine_sim": _max_cosine(dictionary.W_dec),
    }


def _max_cosine(rows: Tensor, batch: int = 512) -> float:
    """Mean over rows [m, d] of the largest cosine with another row."""
    unit = torch.nn.functional.normalize(rows.float(), dim=1)
    largest = []
    for start in range(0, len(unit), batch):
        cosines = unit[start : start + batch] @ unit.T
        here = torch.arange(len(cosines))
        cosines[here, here + start] = -torch.inf
        largest.append(cosines.amax(1))
    return torch.cat(largest).mean().item()
