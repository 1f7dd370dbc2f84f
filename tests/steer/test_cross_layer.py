"""Cross-layer transcoders: one dictionary a block, whose edits reach every site that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import steer
from dictionaries import catalogue
from dictionaries.base import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.formats import load_folder
from steer import engine
from steer.check import check
from steer.check_activations import collect, contexts
from tests import plain, tiny
from tests.plain import PlainEdit, PlainTranscoder, path_of
from tests.steer.test_check import texts
from tests.tiny import LAYERS, PROMPTS, WIDTH, D

CONFIG = {
    "model_name": "tiny",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
SCOPE = {
    "hf_hook_point_in": "model.layers.{all}.pre_feedforward_layernorm.output",
    "hf_hook_point_out": "model.layers.{all}.post_feedforward_layernorm.output",
    "model_name": "tiny",
    "architecture": "jump_relu",
    "type": "clt",
}
EDITS = [steer.Clamp(5, 3.0), steer.Scale(9, 3.0, positions="1:"), steer.Ablate(20)]
FORMULAE = [
    PlainEdit(5, "clamp", 3.0),
    PlainEdit(9, "scale", 3.0, lambda position, prompt: position >= 1),
    PlainEdit(20, "ablate"),
]
Blocks = list[dict[str, Tensor]]
"""W_enc [m, d], b_enc, threshold [m], b_dec [d], W_dec [m, blocks from its own on, d] of each."""


def random_blocks() -> Blocks:
    generator = torch.Generator().manual_seed(0)

    def n(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        {
            "W_enc": n(WIDTH, D),
            "b_enc": n(WIDTH),
            "b_dec": n(D),
            "threshold": n(WIDTH).abs(),
            "W_dec": n(WIDTH, LAYERS - layer, D) / D**0.5,
        }
        for layer in range(LAYERS)
    ]


def write_pairs(place: Path, blocks: Blocks) -> Path:
    """As circuit-tracer does."""
    place.mkdir(exist_ok=True)
    for layer, block in enumerate(blocks):
        encoder = {f"{name}_{layer}": t for name, t in block.items() if name != "W_dec"}
        save_file(encoder, place / f"W_enc_{layer}.safetensors")
        save_file({f"W_dec_{layer}": block["W_dec"]}, place / f"W_dec_{layer}.safetensors")
    (place / "config.yaml").write_text(json.dumps(CONFIG))
    return place


def write_scope(place: Path, blocks: Blocks, skip: Tensor | None = None) -> Path:
    """As Gemma Scope 2 does: the encoder turned, and places for earlier blocks, not used."""
    place.mkdir(exist_ok=True)
    for layer, block in enumerate(blocks):
        unused = torch.full((WIDTH, layer, D), 7.0)
        tensors = {name.lower(): tensor for name, tensor in block.items()}
        tensors["w_enc"] = tensors["w_enc"].T.contiguous()
        tensors["w_dec"] = torch.cat([unused, block["W_dec"]], dim=1)
        if skip is not None:
            tensors["affine_skip_connection"] = skip
        save_file(tensors, place / f"params_layer_{layer}.safetensors")
    (place / "config.json").write_text(json.dumps(SCOPE))
    return place


@pytest.fixture(params=[write_pairs, write_scope], ids=["circuit-tracer", "gemma scope 2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """All blocks of one, in either layout."""
    found: Path = request.param(tmp_path / "clt", random_blocks())
    return found


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "clt", random_blocks())


def parts(dictionary: Dictionary) -> list[Dictionary]:
    """A plain transcoder for each site that it writes."""
    assert dictionary.config.hookpoint_out is not None
    sites = [(dictionary.config.hookpoint_out, dictionary.W_dec)]
    if dictionary.later is not None:
        sites += [(site, dictionary.later.at(site)) for site in dictionary.later.hookpoints]
    return [
        replace(
            dictionary, W_dec=rows, later=None, config=replace(dictionary.config, hookpoint_out=out)
        )
        for out, rows in sites
    ]


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_block_is_a_dictionary(folder: Path, layer: int) -> None:
    found, block = catalogue.load(f"{folder}#{layer}"), random_blocks()[layer]
    x = torch.randn(7, D, generator=torch.Generator().manual_seed(9))
    pre = x @ block["W_enc"].T + block["b_enc"]
    torch.testing.assert_close(found.encode(x)[0], pre.relu() * (pre > block["threshold"]))
    assert found.config.hookpoint == f"mlp_in.{layer}"
    for step, part in enumerate(parts(found)):
        assert part.config.hookpoint_out == f"mlp_out.{layer + step}"
        assert torch.equal(part.W_dec, block["W_dec"][:, step])
    assert found.name == f"{folder}#{layer}"
    assert load_folder(catalogue.find(found.name)).name == f"clt#{layer}"
    some = catalogue.load(f"{folder}#{layer}", features=[5, 9])
    for few, all_of_them in zip(parts(some), parts(found), strict=True):
        assert torch.equal(few.W_dec, all_of_them.W_dec[[5, 9]])


def test_the_first_block_reconstructs_its_site(folder: Path) -> None:
    found, block = catalogue.load(f"{folder}#0"), random_blocks()[0]
    x = torch.randn(7, D)
    whole = found.encode(x)[0] @ block["W_dec"][:, 0] + block["b_dec"]
    torch.testing.assert_close(found.reconstruct(x), whole)
    with pytest.raises(DictionaryError, match="part of"):
        catalogue.load(f"{folder}#1").reconstruct(x)


def test_the_linear_part_is_of_the_raw_input(tmp_path: Path) -> None:
    blocks, skip = random_blocks(), torch.randn(D, D)
    plainly = catalogue.load(f"{write_scope(tmp_path / 'a', blocks)}#0")
    affine = catalogue.load(f"{write_scope(tmp_path / 'b', blocks, skip)}#0")
    x = torch.randn(7, D)
    torch.testing.assert_close(affine.reconstruct(x), plainly.reconstruct(x) + x @ skip)


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_every_written_site_moves_by_the_change_times_its_row(
    family: str, layer: int, pairs: Path
) -> None:
    model = tiny.tiny_model(family)
    dictionary = model.dictionary(f"{pairs}#{layer}")
    ids, mask = model.tokenize(list(PROMPTS))
    plans = model.plans([steer.Intervention(dictionary.name, EDITS)])
    ours, (record,) = engine.logits(model.nn, ids, model.span(ids, mask), plans)
    sites = [
        PlainTranscoder(
            path_of(family, str(part.config.hookpoint)),
            path_of(family, str(part.config.hookpoint_out)),
            part,
            FORMULAE,
        )
        for part in parts(dictionary)
    ]
    theirs = plain.logits(tiny.plain_model(family), ids, mask, sites)
    real = mask.bool()
    torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=1e-4)
    change = record.after - record.before
    assert change[real].abs().max() > 0.1
    moved = torch.stack(
        [(change @ part.W_dec[[5, 9, 20]]).norm(dim=-1) for part in parts(dictionary)]
    )
    assert (moved - record.delta_norm).abs().amin(0)[real].max() < 1e-4  # of one of its sites


def test_a_feature_that_skips_its_own_block_acted(llama: steer.Model, tmp_path: Path) -> None:
    blocks = random_blocks()
    blocks[0]["W_dec"][5, 0] = 0
    name = f"{write_pairs(tmp_path / 'clt', blocks)}#0"
    run = llama.generate(
        PROMPTS[0], steer.Intervention(name, steer.Clamp(5, 3.0)), max_new_tokens=3, temperature=0
    )
    (entry,) = run.receipt
    assert entry.acted
    assert entry.relative_dose is not None
    assert entry.relative_dose > 0


@pytest.mark.parametrize("cache", [True, False])
def test_generation_by_name(folder: Path, llama: steer.Model, cache: bool) -> None:
    """Token by token the same as hooks at every site, and one line of the receipt an edit."""
    dictionary = llama.dictionary(f"{folder}#0")
    run = llama.generate(
        PROMPTS[0], steer.Intervention(dictionary.name, EDITS), temperature=0, max_new_tokens=4,
        use_cache=cache, if_silent="ignore",
    )  # fmt: skip
    sites = [
        PlainTranscoder(
            path_of("llama", str(part.config.hookpoint)),
            path_of("llama", str(part.config.hookpoint_out)),
            part,
            FORMULAE,
        )
        for part in parts(dictionary)
    ]
    ids = llama.tokenize([PROMPTS[0]])[0]
    expected = plain.greedy(tiny.plain_model("llama"), ids, 4, sites, tiny.EOS)
    assert list(run.ids) == expected
    assert [entry.dictionary for entry in run.receipt] == [dictionary.name] * len(EDITS)


def test_explain_says_where_it_writes(pairs: Path, llama: steer.Model) -> None:
    plans = [
        llama.explain(steer.Intervention(f"{pairs}#{layer}", steer.Clamp(5, 3.0))).plans[0]
        for layer in (0, LAYERS - 1)
    ]
    assert [plan.writes for plan in plans] == ["mlp_out.0 to mlp_out.2", "mlp_out.2"]
    assert plans[0].payload_bytes > plans[1].payload_bytes


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
    found = check(llama, name, texts())
    assert found.passed, found.verdict
    assert found.as_loaded.fvu < 0.9
    by_file = check(llama, catalogue.find(name), texts())
    assert by_file.as_loaded == found.as_loaded
    assert by_file.delta_ce == found.delta_ce
    if layer:  # without an earlier block it is another reconstruction
        blocks[0]["W_dec"].zero_()
        worse = check(llama, f"{write(tmp_path / 'other', blocks)}#{layer}", texts())
        assert worse.as_loaded.fvu > found.as_loaded.fvu + 0.05
        assert worse.as_loaded.l0 == found.as_loaded.l0


def test_a_check_needs_the_blocks_before(pairs: Path, llama: steer.Model) -> None:
    (pairs / "W_enc_0.safetensors").unlink()
    with pytest.raises(DictionaryError, match="no block 0"):
        check(llama, f"{pairs}#1", texts())
    with pytest.raises(DictionaryError, match="not beside it"):
        check(llama, load_folder(pairs / "W_enc_1.safetensors"), texts())


@pytest.mark.parametrize("error", ["drop", "frozen"])
def test_the_error_of_a_block_is_not_known(error: Any, pairs: Path, llama: steer.Model) -> None:
    for layer in (0, 1):
        edit = steer.Intervention(f"{pairs}#{layer}", EDITS, error=error)
        with pytest.raises(steer.InterventionError, match="use error='keep'"):
            llama.plans([edit], clean=slice(0, 1))
        with pytest.raises(FormatError, match="cross-layer"):
            catalogue.load(f"{pairs}#{layer}").save_pretrained(pairs / "copy")


def test_effects_of_one_site_say_so(pairs: Path, llama: steer.Model) -> None:
    from steer.effects.direct_effect import direct_logit_effect
    from steer.exchange import steering_vector

    name = f"{pairs}#0"
    edit = steer.Intervention(name, steer.Add(5, 3.0))
    effect = steer.logit_effect(llama, PROMPTS[:1], edit, if_silent="ignore")
    assert effect.controls is None
    assert effect.kl.item() > 0
    for run in (
        lambda: steer.logit_effect(llama, PROMPTS[:1], edit, draws=2),
        lambda: direct_logit_effect(llama, llama.dictionary(name), 5),
        lambda: steering_vector(llama, edit),
    ):
        with pytest.raises(steer.InterventionError, match="cross-layer transcoder"):
            run()


def test_the_folder_itself_holds_several(folder: Path) -> None:
    with pytest.raises(FormatError, match=r"blocks 0 to 2: name one, such as .*clt#0"):
        load_folder(folder)
    with pytest.raises(FormatError, match="no block 7; it holds 0 to 2"):
        catalogue.load(f"{folder}#7")


def test_a_crosscoder_reads_several_sites(tmp_path: Path) -> None:
    folder = write_scope(tmp_path / "clt", random_blocks())
    (folder / "config.json").write_text(json.dumps(SCOPE | {"type": "crosscoder"}))
    with pytest.raises(FormatError, match="holds a crosscoder, which reads several sites"):
        catalogue.load(f"{folder}#1")


def spoilt(folder: Path, how: str) -> None:
    block = random_blocks()[1]
    decoder = {"W_dec_1": block.pop("W_dec")}
    encoder = {f"{name}_1": tensor for name, tensor in block.items()}
    match how:
        case "no block":
            (folder / "W_dec_1.safetensors").unlink()
        case "cut":
            path = folder / "W_enc_1.safetensors"
            path.write_bytes(path.read_bytes()[:200])
        case "flat":
            decoder = {"W_dec_1": decoder["W_dec_1"].flatten(1)}
        case "turned":
            encoder["W_enc_1"] = encoder["W_enc_1"].T.contiguous()
        case "nan":
            decoder["W_dec_1"][0, 0, 0] = torch.nan
        case "negative":
            encoder["threshold_1"] = -encoder["threshold_1"]
        case "extra":
            encoder["evil"] = torch.zeros(1)
        case "config":
            (folder / "config.yaml").write_text("feature_input_hook: [1]")
        case "yaml":
            (folder / "config.yaml").write_text("!!python/object/apply:os.system ['touch trace']")
    if how not in ("no block", "cut", "config", "yaml"):
        save_file(encoder, folder / "W_enc_1.safetensors")
        save_file(decoder, folder / "W_dec_1.safetensors")


@pytest.mark.parametrize(
    "how", ["no block", "cut", "flat", "turned", "nan", "negative", "extra", "config", "yaml"]
)
def test_damaged_files(how: str, pairs: Path) -> None:
    spoilt(pairs, how)
    with pytest.raises(FormatError):
        catalogue.load(f"{pairs}#1")
