"""The site's live tensor, activations, logits, and a site replaced: passes without an edit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isdatadescriptor
from typing import Any

import torch
from torch import Tensor

from steer.lm.anatomy.values import Site
from steer.lm.passes import Envoy, save


@contextmanager
def quiet() -> Iterator[None]:
    """An open `tracer.iter[:]` ends by design when generation does; nnsight warns each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was never reached")
        yield


def module_at(nn: Any, path: str) -> Any:
    """The envoy of a module; one called `output`, as what an envoy serves is, has a prefix."""
    for name in path.split("."):
        taken = isdatadescriptor(getattr(Envoy, name, None))
        nn = getattr(nn, f"{Envoy.OVERLOAD_PREFIX}{name}" if taken else name)
    return nn


def read(nn: Any, site: Site) -> Tensor:
    """The site's live tensor [b, s, d]: of a tuple or list, its first."""
    envoy = module_at(nn, site.path)
    value = envoy.input if site.side == "input" else envoy.output
    if site.alone:
        value = value.clone()
        envoy.input = value
    return value[0] if isinstance(value, tuple | list) else value


def add(nn: Any, site: Site, delta: Tensor) -> None:
    """Add delta [b, s, d] at the site, on whatever device that block is."""
    x = read(nn, site)
    x[:] += delta.to(x.device)


def collect(nn: Any, ids: Tensor, mask: Tensor, sites: list[Site]) -> dict[Site, Tensor]:
    """Activations at the sites, the model run no further than the last of them."""
    ordered = sorted(set(sites), key=lambda site: site.hookpoint.order)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs) as tracer:
        saved: list[Tensor] = save([])
        for site in ordered:
            saved.append(read(nn, site).clone())
        tracer.stop()
    return dict(zip(ordered, saved, strict=True))


def logits(nn: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits [b, s, V] of one forward pass."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs, use_cache=False) as tracer:
        output = save(tracer.result)
    return output.logits


def input_embedding(nn: Any) -> str:
    """Path of the module that the token ids go into."""
    wanted = nn._module.get_input_embeddings()
    return next(path for path, module in nn._module.named_modules() if module is wanted)


def replace(
    nn: Any, ids: Tensor, mask: Tensor, site: Site, replacement: Callable[[Tensor], Tensor]
) -> Tensor:
    """Logits [b, s, V] with the site's activations x [b, s, d] replaced by `replacement(x)`."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs, use_cache=False) as tracer:
        x = read(nn, site)
        x[:] = replacement(x)
        output = save(tracer.result)
    return output.logits
