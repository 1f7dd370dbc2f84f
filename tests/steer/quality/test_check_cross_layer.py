"""A block of a cross-layer transcoder is checked with the blocks that write its site too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import catalogue
from dictionaries.errors import DictionaryError
from dictionaries.formats import load_folder
from steer.features.contexts import collect, contexts
from steer.quality.check import check
from tests.steer.quality.test_check import texts
from tests.support.cross_layer import Blocks, random_blocks, write_pairs, write_scope
from tests.support.tiny import LAYERS, WIDTH


def fitted(model: steer.Model) -> Blocks:
    """Least squares: each site from the features of all blocks up to it, so that it fits well."""
    blocks, ids = random_blocks(), contexts(model, texts())

    def activations(hookpoint: str) -> Tensor:
        return collect(model, ids, hookpoint)[0][:, 1:].flatten(0, 1)

    read = []
    for layer, block in enumerate(blocks):
        x = activations(f"mlp_in.{layer}")
        block["b_enc"] -= block["W_enc"] @ x.mean(0)
        pre = x @ block["W_enc"].T + block["b_enc"]
        read.append(pre.relu() * (pre > block["threshold"]))
    for site in range(LAYERS):
        y = activations(f"mlp_out.{site}")
        known = torch.cat([*read[: site + 1], torch.ones(len(y), 1)], dim=1).double()
        rows = torch.linalg.lstsq(known, y.double(), driver="gelsd").solution.float()
        blocks[site]["b_dec"] = rows[-1].clone()
        for layer in range(site + 1):
            own = rows[layer * WIDTH : (layer + 1) * WIDTH]
            blocks[layer]["W_dec"][:, site - layer] = own
    return blocks


@pytest.mark.parametrize("write", [write_pairs, write_scope])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_block_is_checked_together_with_those_before_it(
    write: Callable[[Path, Blocks], Path], layer: int, llama: steer.Model, tmp_path: Path
) -> None:
    blocks = fitted(llama)
    name = f"{write(tmp_path / 'clt', blocks)}#{layer}"
    checked = check(llama, name, texts())
    assert checked.passed, checked.verdict
    assert checked.as_loaded.fvu < 0.9
    by_file = check(llama, catalogue.find(name), texts())
    assert by_file.as_loaded == checked.as_loaded
    assert by_file.delta_ce == checked.delta_ce
    if layer:  # without an earlier block it is another reconstruction
        blocks[0]["W_dec"].zero_()
        worse = check(llama, f"{write(tmp_path / 'other', blocks)}#{layer}", texts())
        assert worse.as_loaded.fvu > checked.as_loaded.fvu + 0.05
        assert worse.as_loaded.l0 == checked.as_loaded.l0


def test_a_check_needs_the_blocks_before(clt: Path, llama: steer.Model) -> None:
    (clt / "W_enc_0.safetensors").unlink()
    with pytest.raises(DictionaryError, match="no block 0"):
        check(llama, f"{clt}#1", texts())
    with pytest.raises(DictionaryError, match="not beside it"):
        check(llama, load_folder(clt / "W_enc_1.safetensors"), texts())
