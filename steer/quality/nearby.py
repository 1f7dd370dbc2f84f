"""Activations at the sites near by that a file may have meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from dictionaries.training.activations import keep_mask
from steer.errors import HookpointError
from steer.features.contexts import OUTLIER_MEDIANS, collect, with_bos
from steer.lm.language_model import LanguageModel
from steer.lm.norm import Norm
from steer.quality.conventions import Sample

_FEW = 1024
"""Tokens that are enough to tell blocks apart."""
_AT_ONCE = 4
_OPPOSITE = {"resid_post": "resid_pre", "resid_pre": "resid_post"}
_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_in", "attn_z")


def sample(x: Tensor, y: Tensor, given: Tensor | None = None) -> Sample:
    """x, y and given [n, length, d], without first tokens and outliers of x."""
    return Sample(x, y, keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[0], given)


def others(
    model: LanguageModel, ids: Tensor, source: str, out: str, x: Tensor, y: Tensor
) -> Iterator[tuple[str, Sample]]:
    """Other sites near by that a file may have meant, and the other custom with BOS."""
    kind, _, layer = source.rpartition(".")
    opposite = _OPPOSITE.get(kind)
    if opposite and source == out:
        (other,) = collect(model, ids, f"{opposite}.{layer}")
        side = "block input" if opposite == "resid_pre" else "block output"
        yield f"{side}, {opposite}.{layer}", sample(other, other)
    if kind == "mlp_in" and (middle := _middle(model, ids, layer)) is not None:
        norm = Norm.of(model.module.get_submodule(model.site(source).path), model.d)
        plain = norm.before_gain(middle)
        yield "before the norm's gain", sample(plain, plain if source == out else y)
        yield (
            f"before the norm, resid_mid.{layer}",
            sample(middle, middle if source == out else y),
        )
    if model.tokenizer.bos_token_id is not None:
        added = bool((ids[:, 0] == model.tokenizer.bos_token_id).all())
        pair = collect(model, ids[:, 1:] if added else with_bos(model, ids), source, out)
        yield "without BOS" if added else "with BOS", sample(pair[0], pair[1])
    # the block's other side is the next one's already
    steps = {"resid_post": [1], "resid_pre": [-1]}.get(kind if source == out else "", [-1, 1])
    yield from blocks(model, ids, source, out, [int(layer) + step for step in steps])


def other_sites(
    model: LanguageModel, ids: Tensor, source: str, out: str
) -> Iterator[tuple[str, Sample]]:
    """The other sites of the block that are as wide; none for a transcoder."""
    kind, _, layer = source.rpartition(".")
    if source != out:
        return
    for other in _KINDS:
        try:
            site = model.site(f"{other}.{layer}")
        except HookpointError:
            continue
        if other not in (kind, _OPPOSITE.get(kind)) and model.width(site) == model.width(
            model.site(source)
        ):
            (x,) = collect(model, ids[: -(-_FEW // ids.shape[1])], f"{other}.{layer}")
            yield f"another site, {other}.{layer}", sample(x, x)


def blocks(
    model: LanguageModel, ids: Tensor, source: str, out: str, layers: Sequence[int]
) -> Iterator[tuple[str, Sample]]:
    """The same sites of other blocks, where the model has them; on few tokens if many."""
    kind, _, layer = source.rpartition(".")
    kind_out, _, layer_out = out.rpartition(".")
    shift, depth = int(layer_out) - int(layer), model.depth
    inside = [i for i in layers if i != int(layer) and 0 <= i < depth and 0 <= i + shift < depth]
    few = ids if len(inside) <= 2 else ids[: -(-_FEW // ids.shape[1])]
    for start in range(0, len(inside), _AT_ONCE):
        some = inside[start : start + _AT_ONCE]
        names = [(f"{kind}.{i}", f"{kind_out}.{i + shift}") for i in some]
        wanted = list(dict.fromkeys(name for pair in names for name in pair))
        streams = dict(zip(wanted, collect(model, few, *wanted), strict=True))
        for read, written in names:
            yield f"another block, {read}", sample(streams[read], streams[written])


def _middle(model: LanguageModel, ids: Tensor, layer: str) -> Tensor | None:
    try:
        model.site(f"resid_mid.{layer}")
    except HookpointError:  # attention and MLP in parallel
        return None
    return collect(model, ids, f"resid_mid.{layer}")[0]
