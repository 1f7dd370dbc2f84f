"""What a job consists of: how many units, the operations of each, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from steer.costs.shape import Shape
from steer.errors import SteerError

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "8bit": 1, "4bit": 0.5}
"""Of a weight."""
ADAM = 4
"""Copies of the weights that training holds: themselves, gradients and two moments."""


@dataclass(frozen=True)
class Work:
    """unit: what is counted; flops: of one unit.

    model_bytes, beside_bytes: held by a machine that does it: weights, and dictionary, state and
    batches. disk_bytes: written. bf16: whether it can run at the rate of bf16.
    """

    job: str
    unit: str
    units: float
    flops: float
    model_bytes: float
    beside_bytes: float
    disk_bytes: float


def sweep_work(
    shape: Shape,
    *,
    prompts: int,
    features: int,
    tokens: int,
    layer: int,
    width: int,
    dtype: str,
    budget: int,
) -> Work:
    """An exact sweep behind block `layer`: a row a prompt and feature that acts there.

    tokens: of a prompt. A row runs from the first token at which its feature acts, on average the
    middle one; only blocks behind the site, and the last token's logits.
    """
    check(prompts=prompts, features=features, tokens=tokens, width=width)
    check_layer(shape, layer)
    behind = shape.depth - 1 - layer
    flops = shape.block_flops(behind, tokens / 2, 0.75 * tokens) + shape.unembedding_flops
    return Work(
        job=f"sweep of {features:,} features on {prompts:,} prompts of {tokens} tokens",
        unit="rows",
        units=float(prompts * features),
        flops=flops,
        model_bytes=shape.parameters * BYTES[dtype],
        beside_bytes=2 * 4 * shape.d * width + budget,
        disk_bytes=140.0 * prompts * features,
    )


def harvest_work(
    shape: Shape, *, tokens: int, layer: int, sites: int, context: int, dtype: str
) -> Work:
    """Activations of some sites, the last behind block `layer`, in bf16 on a disk."""
    check(tokens=tokens, sites=sites, context=context)
    check_layer(shape, layer)
    return Work(
        job=f"harvest of {tokens:,} tokens at {sites} sites",
        unit="tokens",
        units=float(tokens),
        flops=shape.block_flops(layer + 1, 1, context / 2),
        model_bytes=shape.parameters * BYTES[dtype],
        beside_bytes=16.0 * context * shape.d * 4 * 8,
        disk_bytes=2.0 * tokens * shape.d * sites,
    )


def train_work(d: int, *, samples: int, width: int, k: int, batch: int) -> Work:
    """Training a dictionary of the TopK family: one dense product a sample chooses the active
    features, all else is sparse."""
    check(samples=samples, width=width, k=k, batch=batch)
    return Work(
        job=f"training {width:,} features on {samples:,} samples",
        unit="samples",
        units=float(samples),
        flops=2.0 * d * width + 12.0 * d * k,
        model_bytes=0.0,
        beside_bytes=ADAM * 4.0 * 2 * d * width + 3.0 * 4 * batch * width,
        disk_bytes=4.0 * 2 * d * width,
    )


def check(**counts: int) -> None:
    """Raise `SteerError` for a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise SteerError(f"{name}={count} is not allowed: 1 or more")


def check_layer(shape: Shape, layer: int) -> None:
    """Raise `SteerError` for a block that the model does not have."""
    if not 0 <= layer < shape.depth:
        raise SteerError(f"{shape.name} has blocks 0 to {shape.depth - 1}, not {layer}")
