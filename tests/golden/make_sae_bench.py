"""Write the golden figures of sae-bench's core metrics: its own functions on a tiny model.

    pip download sae-bench==0.6.0 --no-deps && unzip sae_bench-0.6.0-py3-none-any.whl -d bench
    python -m tests.golden.make_sae_bench bench/sae_bench/evals/core/main.py

Only the functions that compute are taken from the file, so neither sae-lens nor transformer-lens
is needed: the model is a plain transformers one with plain hooks, and a dictionary's encode and
decode are ours, which the SAELens golden files hold to sae-lens's.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from tests.support import tiny

OUT = Path(__file__).parent / "sae_bench" / "core.json"
BLOCK, CONTEXTS, LENGTH, BATCH = 1, 24, 20, 8
_TAKEN = (
    "calculate_max_cosine_sim",
    "get_featurewise_weight_based_metrics",
    "get_downstream_reconstruction_metrics",
    "get_sparsity_and_variance_metrics",
    "get_recons_loss",
    "calculate_misc_metrics",
)


def dictionary() -> Dictionary:
    """Features of every density, dead ones too, and one decoder row of another norm."""
    found = tiny.dictionary(f"resid_post.{BLOCK}", "standard")
    with torch.no_grad():
        found.b_enc.sub_(torch.linspace(-1, 6, found.width))
        found.W_dec[7] *= 2
    return found


def contexts() -> Tensor:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(3, tiny.VOCABULARY, (CONTEXTS, LENGTH), generator=generator)


class PlainModel:
    """What sae-bench asks of a model, by plain hooks on one block."""

    def __init__(self, module: Any, block: Any) -> None:
        self.module, self.block = module, block

    def __call__(self, ids: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        logits = self.module(ids, use_cache=False).logits.float()
        log_p = logits[:, :-1].log_softmax(-1)
        return logits, -log_p.gather(-1, ids[:, 1:, None]).squeeze(-1)

    def run_with_hooks(self, ids: Tensor, fwd_hooks: Any, **_: Any) -> tuple[Tensor, Tensor]:
        ((_, change),) = fwd_hooks
        handle = self.block.register_forward_hook(lambda m, i, x: change(x, hook=None))
        try:
            return self(ids)
        finally:
            handle.remove()

    def run_with_cache(self, ids: Tensor, names_filter: Any, **_: Any) -> Any:
        kept: list[Tensor] = []
        handle = self.block.register_forward_hook(lambda m, i, x: kept.append(x.clone()))
        try:
            self(ids)
        finally:
            handle.remove()
        return None, {names_filter[0]: kept[0]}


class Store:
    """What sae-bench asks for tokens."""

    def __init__(self, ids: Tensor) -> None:
        self.batches = iter(ids.split(BATCH))

    def get_batch_tokens(self, _: int) -> Tensor:
        return next(self.batches)


@torch.no_grad()
def measure(main: Path, model: Any, block: Any, sae: Dictionary, ids: Tensor) -> dict[str, float]:
    """sae-bench's figures; `main` is its evals/core/main.py."""
    bench = _functions(main)
    config = SimpleNamespace(
        hook_name="site",
        hook_head_index=None,
        hook_layer=0,
        d_sae=sae.width,
        architecture_str="standard",
    )
    theirs = SimpleNamespace(
        cfg=config,
        device="cpu",
        W_enc=sae.W_enc,
        W_dec=sae.W_dec,
        b_enc=sae.b_enc,
        encode=lambda x: sae.encode(x)[0],
        decode=sae.decode,
    )
    plain, batches = PlainModel(model, block), len(ids) // BATCH
    downstream = bench["get_downstream_reconstruction_metrics"](
        theirs, plain, Store(ids), True, True, batches, BATCH
    )
    figures, features = bench["get_sparsity_and_variance_metrics"](
        theirs,
        plain,
        Store(ids),
        n_batches=batches,
        compute_l2_norms=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=True,
        eval_batch_size_prompts=BATCH,
        model_kwargs={},
    )
    features |= bench["get_featurewise_weight_based_metrics"](theirs)
    return {**downstream, **figures, **bench["calculate_misc_metrics"](features)}


def _functions(main: Path) -> dict[str, Any]:
    tree = ast.parse(main.read_text())
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in _TAKEN]
    names: dict[str, Any] = {
        "torch": torch,
        "einops": SimpleNamespace(rearrange=lambda tensor, _: tensor.flatten(0, 1)),
        "partial": partial,
        "Any": Any,
        "Mapping": Mapping,
        "tqdm": lambda values, **_: values,
        **dict.fromkeys(("SAE", "HookedRootModule", "ActivationsStore"), Any),
    }
    exec(compile(tree, str(main), "exec"), names)
    return names


if __name__ == "__main__":
    module = tiny.plain_model("llama")
    found = measure(Path(sys.argv[1]), module, module.model.layers[BLOCK], dictionary(), contexts())
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"version": "sae-bench 0.6.0", **found}, indent=1) + "\n")
