"""Every format that reads a config refuses a key that it does not know, and reads real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.files.numbered import blocks_in
from dictionaries.formats import hoagyc, load_folder
from dictionaries.formats.saelens.folder import write
from tests.support import GOLDEN

NAMES = ("cfg.json", "config.json", "hyperparams.json", "config.yaml", "conf.yaml")
CONFIGS = sorted(
    path.relative_to(GOLDEN)
    for name in NAMES
    for path in GOLDEN.rglob(name)
    if not (name == "config.json" and path.parts[-3] == "sparsify")  # the run's, not read for it
)
ROOMS = {path.parts[0] for path in CONFIGS}


def read(folder: Path) -> object:
    """The folder's dictionary, or its first block's."""
    return load_folder(next(iter(blocks_in(folder).values()), folder))


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    text = path.read_text()
    as_json = path.suffix == ".json"
    said = change(json.loads(text) if as_json else yaml.safe_load(text))
    path.write_text(json.dumps(said) if as_json else yaml.safe_dump(said))


def test_formats_with_a_config_are_here() -> None:
    assert {"saelens", "sparsify", "llama_scope", "dictionary_learning", "circuit_tracer"} <= ROOMS


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_an_unknown_key_is_refused_with_its_value(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / config.parent.name
    shutil.copytree((GOLDEN / config).parent, folder)
    read(folder)
    rewrite(folder / config.name, lambda said: {**said, "input_unit_norm": "made up"})
    with pytest.raises(FormatError, match=r"input_unit_norm = 'made up', which is not known"):
        read(folder)


def saelens(tmp_path: Path, case: str, **changes: Any) -> Path:
    folder = Path(shutil.copytree(GOLDEN / "saelens" / case, tmp_path / case))
    rewrite(folder / "cfg.json", lambda said: {**said, **changes})
    return folder


@pytest.mark.parametrize("key", ["activation_fn_str", "activation_fn"])
@pytest.mark.parametrize("case", ["standard", "old_jumprelu", "gated", "transcoder"])
def test_another_activation_is_not_read_as_relu(case: str, key: str, tmp_path: Path) -> None:
    load_folder(saelens(tmp_path, case, **{key: "relu"}))
    shutil.rmtree(tmp_path / case)
    with pytest.raises(FormatError, match=rf"{key} = 'gelu', which can't be read"):
        load_folder(saelens(tmp_path, case, **{key: "gelu"}))


@pytest.mark.parametrize("key", ["activation_fn_str", "activation_fn"])
def test_tanh_relu_is_computed(key: str, tmp_path: Path) -> None:
    """As sae_lens before 6.0 has it: relu, then tanh; and no format has a name for it since."""
    relu = load_folder(saelens(tmp_path / "relu", "standard"))
    tanh = load_folder(saelens(tmp_path / "tanh", "standard", **{key: "tanh-relu"}))
    x = torch.randn(9, relu.config.d_in, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tanh.encode(x)[0], relu.encode(x)[0].tanh())
    torch.testing.assert_close(tanh.restrict([1, 3]).encode(x)[0], tanh.encode(x)[0][:, [1, 3]])
    assert relu.encode(x)[0].max() > 1
    with pytest.raises(FormatError, match="SAELens has no architecture tanh_relu"):
        write(tanh, tmp_path / "out")
    with pytest.raises(FormatError, match="activation_fn"):
        load_folder(saelens(tmp_path / "gated", "gated", **{key: "tanh-relu"}))


@pytest.mark.parametrize(
    ("case", "changes", "named"),
    [
        ("standard", {"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm = True"),
        ("standard", {"k": 5}, "k = 5"),
        ("old_topk", {"activation_fn_kwargs": {"k": 5, "postact_fn": "Tanh"}}, r"s\.postact_fn"),
        ("standard", {"reshape_activations": "heads"}, "reshape_activations = 'heads'"),
        ("old_standard", {"hook_head_index_out": 2}, "hook_head_index_out = 2"),
        ("standard", {"normalize_activations": "constant_scalar_rescale"}, "temporal alone"),
        ("temporal", {"use_pos_encoding": True}, "use_pos_encoding = True"),
        ("old_topk", {"model_from_pretrained_kwargs": {"rotate": 1}}, r"kwargs\.rotate = 1"),
    ],
)
def test_saelens(case: str, changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=named):
        load_folder(saelens(tmp_path, case, **changes))


@pytest.mark.parametrize("site", ["blocks.3.attn.hook_z", "blocks.3.hook_resid_pre"])
def test_folded_value_biases_move_attn_z_alone(site: str, tmp_path: Path) -> None:
    metadata = {"hook_name": site, "model_from_pretrained_kwargs": {"fold_value_biases": True}}
    folder = saelens(tmp_path, "standard", metadata=metadata)
    if "hook_z" not in site:
        assert load_folder(folder).config.hookpoint == "resid_pre.3"
        return
    with pytest.raises(FormatError, match="says fold_value_biases"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("act_fn", "relu"),
        ("norm_activation", "token-wise"),
        ("apply_decoder_bias_to_pre_encoder", True),
        ("use_glu_encoder", True),
        ("sae_type", "crosscoder"),
    ],
)
def test_llama_scope(key: str, value: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "llama_scope" / "residual", tmp_path / "residual"))
    rewrite(folder / "hyperparams.json", lambda said: {**said, key: value})
    with pytest.raises(FormatError, match=rf"{key} = .*, which can't be read"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("part", "key", "value", "named"),
    [
        ("trainer", "norm_factor", 2.0, r"trainer\.norm_factor = 2\.0"),
        ("buffer", "unit_norm", True, r"buffer\.unit_norm = True"),
        ("trainer", "dict_size", 25, "expected"),
        ("trainer", "activation_dim", 9, "expected"),
    ],
)
def test_dictionary_learning(part: str, key: str, value: Any, named: str, tmp_path: Path) -> None:
    golden = GOLDEN / "dictionary_learning" / "batchtopk"
    folder = Path(shutil.copytree(golden, tmp_path / "batchtopk"))

    def change(said: dict[str, Any]) -> dict[str, Any]:
        return {**said, part: {**said.get(part, {}), key: value}}

    rewrite(folder / "config.json", change)
    with pytest.raises(FormatError, match=named):
        load_folder(folder)


@pytest.mark.parametrize("case", ["gemma_scope_2", "gemma_scope_2_affine"])
def test_gemma_scope_2_and_its_linear_part_agree(case: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "circuit_tracer" / case, tmp_path / case))
    skips = load_folder(folder).W_skip is not None
    rewrite(folder / "config.json", lambda said: {**said, "affine_connection": not skips})
    with pytest.raises(FormatError, match=r"affine_connection = .* affine_skip_connection"):
        load_folder(folder)
    rewrite(folder / "config.json", lambda said: {**said, "affine_connection": skips})
    load_folder(folder)


STATES: dict[str, dict[str, Tensor]] = {
    "goodfire": {
        "encoder_linear.weight": torch.ones(6, 4),
        "encoder_linear.bias": torch.zeros(6),
        "decoder_linear.weight": torch.ones(4, 6),
        "decoder_linear.bias": torch.zeros(4),
    },
    "openai": {
        "encoder.weight": torch.ones(6, 4),
        "latent_bias": torch.zeros(6),
        "decoder.weight": torch.ones(4, 6),
        "pre_bias": torch.zeros(4),
    },
}


def test_openai_says_more_than_tensors(tmp_path: Path) -> None:
    torch.save({**STATES["openai"], "activation": "ReLU"}, tmp_path / "8.pt")
    load_folder(tmp_path)
    torch.save({**STATES["openai"], "normalize": True}, tmp_path / "8.pt")
    with pytest.raises(FormatError, match=r"8\.pt says normalize = True, which is not known"):
        load_folder(tmp_path)


def test_the_seed_paper_s_attributes(tmp_path: Path) -> None:
    from dictionaries.files.archives import Loaded

    torch.save(STATES["goodfire"], tmp_path / "a.pt")  # any file, for its storages
    stored = {**torch.load(tmp_path / "a.pt", mmap=True), "scale": 2.0}
    with pytest.raises(FormatError, match=r"scale = 2\.0"):
        Loaded(tmp_path / "a.pt", stored, keys=hoagyc.KEYS)


# -- crosscoders, and where circuit-tracer's hooks are -----------------------------------------


def test_a_crosscoder_is_refused_before_a_block_of_it_is_advised(tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    for layer in (5, 9):
        (folder / f"params_layer_{layer}.safetensors").touch()
    (folder / "config.json").write_text(json.dumps({"type": "crosscoder"}))
    with pytest.raises(FormatError, match="holds a crosscoder, which reads several sites at once"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("Qwen/Qwen3-4B", "mlp_out.5"),
        ("meta-llama/Llama-3.2-1B", "mlp_out.5"),
        ("google/gemma-2-2b", "model.layers.5.mlp:output"),
        ("google/gemma-3-270m", "model.layers.5.mlp:output"),
        ("allenai/OLMo-2-1124-7B", "model.layers.5.mlp:output"),
    ],
)
def test_the_mlp_s_own_output(model: str, written: str, tmp_path: Path) -> None:
    """Before the norm that some models have after it: there it is no site of the residual."""
    folder = Path(shutil.copytree(GOLDEN / "circuit_tracer" / "relu", tmp_path / "relu"))
    said = {"model_name": model, "feature_output_hook": "mlp.hook_out"}
    rewrite(folder / "config.yaml", lambda before: {**before, **said})
    assert load_folder(folder).config.hookpoint_out == written
