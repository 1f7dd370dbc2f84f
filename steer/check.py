"""Whether a dictionary was loaded right: its figures on real tokens, and of other readings of it.

A table of conventions can be wrong and everything still runs, so nothing is trusted here but the
activations: a convention that is right reconstructs them, with few features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries import catalogue, releases
from dictionaries.activations import keep_mask
from dictionaries.base import Dictionary
from steer import engine, metrics
from steer.check_text import docstrings
from steer.conventions import AS_LOADED, Figures, before_gain, figures, readings
from steer.errors import DictionaryError, HookpointError, PromptError
from steer.evals.splice_loss import splice_loss
from steer.model import Model

TOKENS, CONTEXT = 4096, 256
OUTLIER_MEDIANS = 4.0
_LEAST_TOKENS = 32
_CLEARLY = 0.02
"""A reading is better than the one as loaded if its FVU is lower by this much at least."""
_BATCH = 4


@dataclass(frozen=True)
class Check:
    """What was seen on `tokens` kept tokens; first tokens and massive activations are left out.

    as_loaded: figures of the dictionary as it was loaded; delta_ce: nats that splicing it costs.
    published: l0, fvu, delta_ce that its card or the catalogue states, where it does.
    readings: figures by convention, the one as loaded first.
    best: the reading that fits best; gain: how much lower its FVU is than that as loaded.
    """

    dictionary: str
    model: str
    dtype: str
    hookpoint: str
    tokens: int
    delta_ce: float
    published: dict[str, float]
    readings: dict[str, Figures]
    best: str

    @property
    def as_loaded(self) -> Figures:
        return self.readings[AS_LOADED]

    @property
    def gain(self) -> float:
        return self.as_loaded.fvu - self.readings[self.best].fvu

    @property
    def passed(self) -> bool:
        """No other reading fits better, and it beats the mean activation."""
        return self.best == AS_LOADED and self.as_loaded.fvu < 1

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.best != AS_LOADED:
            found = self.readings[self.best]
            return (
                f"not loaded as it was meant: “{self.best}” fits better, FVU {found.fvu:.3f} "
                f"instead of {self.as_loaded.fvu:.3f}, at L0 {found.l0:.1f}"
            )
        if self.as_loaded.fvu >= 1:
            return (
                f"fits no reading: FVU {self.as_loaded.fvu:.3g} at {self.hookpoint} is no better "
                "than the mean activation; it belongs to another site or model"
            )
        others = {k: f.fvu for k, f in self.readings.items() if k != AS_LOADED}
        nearest = min(others, key=lambda name: others[name])
        return f"loaded right: next is “{nearest}” with FVU {others[nearest]:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; figures that are not finite are None."""
        data = asdict(self) | {
            "readings": {name: asdict(each) for name, each in self.readings.items()},
            "gain": self.gain,
            "passed": self.passed,
            "verdict": self.verdict,
        }
        return _finite(data)

    def __str__(self) -> str:
        head = f"{self.dictionary} at {self.hookpoint} of {self.model}, {self.dtype}"
        lines = [f"{head}, {self.tokens:,} tokens"]
        seen = {"l0": self.as_loaded.l0, "fvu": self.as_loaded.fvu, "delta_ce": self.delta_ce}
        labels = {"l0": "L0", "fvu": "FVU", "delta_ce": "ΔCE (nats)"}
        for name, value in seen.items():
            stated = self.published.get(name)
            beside = "" if stated is None else f"   published {stated:.3f}"
            lines.append(f"  {labels[name]:<11}{value:8.3f}{beside}")
        lines.append(f"  {'silent':<11}{self.as_loaded.dead_share:8.1%}   on these tokens")
        for name, each in self.readings.items():
            lines.append(f"  FVU {each.fvu:10.3f}   L0 {each.l0:8.1f}   {name}")
        return "\n".join([*lines, self.verdict])


def check(
    model: Model, dictionary: Dictionary | str | Path, texts: Sequence[str] | None = None
) -> Check:
    """Measure a dictionary on a few thousand tokens, and try other readings of its file.

    texts: what to read; Python's own docstrings if None.
    Raises `DictionaryError` if it is plainly of another model: another width or fingerprint.
    """
    if not isinstance(dictionary, Dictionary):
        dictionary = catalogue.load(dictionary)
    source, out = refuse_other_model(model, dictionary)
    ids = _contexts(model, docstrings() if texts is None else texts)
    dictionary = dictionary.to(device=model.device, dtype=torch.float32)
    x, y = _collect(model, ids, source, out)
    keep, cutoff = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)
    others = {name: _kept(*pair) for name, pair in _others(model, ids, source, out, x, y).items()}
    published = _published(dictionary)
    tried = {each.name: figures(each) for each in readings(dictionary, *_kept(x, y), others)}
    if source == out:
        delta = splice_loss(model, dictionary, ids, x[keep].mean(0), cutoff, batch=_BATCH).delta
    else:
        delta = _transcoded(model, dictionary, ids, x, out)
    return Check(
        dictionary=dictionary.name or "unnamed",
        model=model.name,
        dtype=model.dtype,
        hookpoint=source,
        tokens=int(keep.sum()),
        delta_ce=delta,
        published=published,
        readings=tried,
        best=_best(tried, _sparse_enough(dictionary, published)),
    )


def refuse_other_model(model: Model, dictionary: Dictionary) -> tuple[str, str]:
    """The hookpoints that it reads and writes. Raises `DictionaryError` for another model's."""
    trained_on = (dictionary.card or {}).get("fingerprint")
    if trained_on and trained_on != model.fingerprint:
        raise DictionaryError(
            f"{dictionary.name} was trained on a model with fingerprint {trained_on}, and "
            f"{model.name} has {model.fingerprint}: load the model that it was trained on"
        )
    source = model.site_of(dictionary)
    config = dictionary.config
    out = str(model.site(config.hookpoint_out or source).hookpoint)
    width = model.width(model.site(out))
    if (config.d_out or config.d_in) != width:
        raise DictionaryError(
            f"{dictionary.name or 'the dictionary'} writes a site of width "
            f"{config.d_out or config.d_in}, and {out} of {model.name} has width {width}: it "
            "belongs to another model or site"
        )
    return source, out


def _contexts(model: Model, texts: Sequence[str]) -> Tensor:
    """Token ids [n, length] of the texts joined, with a BOS each if the tokenizer adds one."""
    joined: list[int] = []
    for text in texts:
        joined += model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    joined = joined[:TOKENS]
    if len(joined) < _LEAST_TOKENS:
        raise PromptError(
            f"the texts have {len(joined)} tokens; a check needs at least {_LEAST_TOKENS}"
        )
    length = min(CONTEXT, model.context - 1, len(joined) // 2)
    ids = torch.tensor(joined[: len(joined) // length * length], device=model.device)
    ids = ids.view(-1, length)
    return _with_bos(model, ids) if _adds_bos(model) else ids


def _adds_bos(model: Model) -> bool:
    bos = model.tokenizer.bos_token_id
    return bos is not None and model.tokenizer("a")["input_ids"][0] == bos


def _with_bos(model: Model, ids: Tensor) -> Tensor:
    return torch.cat([ids.new_full((len(ids), 1), model.tokenizer.bos_token_id), ids], dim=1)


def _collect(model: Model, ids: Tensor, *hookpoints: str) -> list[Tensor]:
    """float32 activations [n, length, d] at each hookpoint."""
    parts = [
        model.collect(rows, torch.ones_like(rows), list(hookpoints)) for rows in ids.split(_BATCH)
    ]
    return [torch.cat([part[name].float() for part in parts]) for name in hookpoints]


def _kept(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The positions that count, of x and y [n, length, d] -> [kept, d] each."""
    keep = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[0]
    return x[keep], y[keep]


def _others(
    model: Model, ids: Tensor, source: str, out: str, x: Tensor, y: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Other sites that a file may have meant, and the other custom with BOS."""
    kind, _, layer = source.rpartition(".")
    others = {}
    opposite = {"resid_post": "resid_pre", "resid_pre": "resid_post"}.get(kind)
    if opposite and source == out:
        (other,) = _collect(model, ids, f"{opposite}.{layer}")
        side = "block input" if opposite == "resid_pre" else "block output"
        others[f"{side}, {opposite}.{layer}"] = (other, other)
    if kind == "mlp_in" and (middle := _middle(model, ids, layer)) is not None:
        norm = model.module.get_submodule(model.site(source).path)
        plain = before_gain(norm, middle)
        others["before the norm's gain"] = (plain, plain if source == out else y)
        others[f"before the norm, resid_mid.{layer}"] = (middle, middle if source == out else y)
    if model.tokenizer.bos_token_id is not None:
        added = _adds_bos(model)
        changed = ids[:, 1:] if added else _with_bos(model, ids)
        pair = _collect(model, changed, source, out)
        others["without BOS" if added else "with BOS"] = (pair[0], pair[1])
    return others


def _middle(model: Model, ids: Tensor, layer: str) -> Tensor | None:
    try:
        model.site(f"resid_mid.{layer}")
    except HookpointError:  # attention and MLP in parallel
        return None
    return _collect(model, ids, f"resid_mid.{layer}")[0]


def _published(dictionary: Dictionary) -> dict[str, float]:
    """l0, fvu and delta_ce, from the card or else from the catalogue of releases."""
    card = dictionary.card or {}
    stated: dict[str, float] = {
        name: card[name] for name in ("l0", "fvu", "delta_ce") if name in card
    }
    return stated or releases.figures(dictionary.name)


def _sparse_enough(dictionary: Dictionary, published: dict[str, float]) -> float:
    """Largest L0 of a reading that counts: with enough active features anything reconstructs."""
    k = published.get("l0", getattr(dictionary, "k", None))
    return 2 * k if k else float(dictionary.config.d_in)


def _best(tried: dict[str, Figures], most: float) -> str:
    """Lowest FVU among the sparse ones; the one as loaded unless another is clearly better."""
    sparse = {name: each.fvu for name, each in tried.items() if 0 < each.l0 <= most}
    if not sparse:
        return AS_LOADED
    best = min(sparse, key=lambda name: sparse[name])
    return best if sparse.get(AS_LOADED, float("inf")) - sparse[best] > _CLEARLY else AS_LOADED


def _transcoded(model: Model, dictionary: Dictionary, ids: Tensor, x: Tensor, out: str) -> float:
    """ΔCE of writing a transcoder's output in place of the site's own, at kept positions."""
    keep = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[0]
    site, total = model.site(out), 0.0
    for rows, read, kept in zip(*(t.split(_BATCH) for t in (ids, x, keep)), strict=True):
        written, mask, where = dictionary.reconstruct(read), torch.ones_like(rows), kept[..., None]
        for sign, change in ((-1, lambda y: y), (1, _writer(written, where))):
            with model.lock:
                logits = engine.replace(model.nn, rows, mask, site, change)
            total += sign * metrics.cross_entropy(logits, rows).sum().item()
    return total / (ids.shape[0] * (ids.shape[1] - 1))


def _writer(written: Tensor, where: Tensor) -> Any:
    return lambda y: torch.where(where, written.to(y.dtype), y)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return None if isinstance(data, float) and abs(data) == float("inf") else data
