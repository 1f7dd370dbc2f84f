"""Activations on disk, and which positions count."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore, Contexts, as_bytes, keep_mask

SITES = {"resid_post.1": 4, "mlp_hidden.1": 6}


def contexts(n: int = 6, seed: int = 0) -> Contexts:
    generator = torch.Generator().manual_seed(seed)
    return Contexts(
        tokens=torch.randint(0, 90, (n, 5), generator=generator, dtype=torch.int32),
        source=torch.arange(n, dtype=torch.uint8) % 2,
        heldout=torch.arange(n) % 3 == 0,
        sources=("one", "other"),
    )


def test_contexts_are_saved_and_loaded(tmp_path: Path) -> None:
    written = contexts()
    written.save(tmp_path / "contexts.safetensors")
    read = Contexts.load(tmp_path / "contexts.safetensors")
    for name in ("tokens", "source", "heldout"):
        assert torch.equal(getattr(read, name), getattr(written, name))
    assert read.sources == ("one", "other")


def test_written_batch_by_batch_in_any_order(tmp_path: Path) -> None:
    values = {site: torch.randn(6, 5, d).to(torch.bfloat16) for site, d in SITES.items()}
    for start in (4, 0, 2):
        store = ActivationStore(tmp_path / "store", SITES)  # as a new process would
        store.create(contexts())
        store.write(start, {site: value[start : start + 2] for site, value in values.items()})
    for site, value in values.items():
        assert torch.equal(store.mapped(site), value)
    whole, last = store.digests([(0, 6), (4, 2)])
    for site, value in values.items():
        assert whole[site] == hashlib.sha256(as_bytes(value)).hexdigest()
        assert last[site] == hashlib.sha256(as_bytes(value[4:])).hexdigest()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """Linux has a file to which nothing can be written."""
    store = ActivationStore(tmp_path, {"resid_post.1": 4})
    store.create(contexts())
    (tmp_path / "resid_post.1.bf16").unlink()
    (tmp_path / "resid_post.1.bf16").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"no space left on device.*the same command goes on"):
        store.write(0, {"resid_post.1": torch.zeros(2, 5, 4)})


def test_who_begins_at_the_same_moment_takes_no_rows_away(tmp_path: Path) -> None:
    """The other process has written, and this one has not seen its contexts yet."""
    store = ActivationStore(tmp_path, SITES)
    store.create(contexts())
    values = {site: torch.randn(2, 5, d).to(torch.bfloat16) for site, d in SITES.items()}
    store.write(0, values)
    (tmp_path / "contexts.safetensors").unlink()
    store.create(contexts())
    for site, value in values.items():
        assert torch.equal(store.mapped(site)[:2], value)


def test_other_contexts_are_refused(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, SITES)
    store.create(contexts())
    with pytest.raises(TrainingError, match="activations of other contexts"):
        store.create(contexts(seed=1))


def test_an_unknown_site(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, SITES)
    store.create(contexts())
    with pytest.raises(TrainingError, match=r"no activations of x\.1; harvested: resid_post\.1"):
        store.mapped("x.1")


def test_first_positions_and_outliers_do_not_count() -> None:
    norms = torch.tensor([[900.0, 1.0, 2.0, 3.0], [1.0, 2.0, 50.0, 2.0]])
    mask, cutoff = keep_mask(norms, 4.0)
    assert cutoff == 8.0
    assert mask.tolist() == [[False, True, True, True], [False, True, False, True]]
