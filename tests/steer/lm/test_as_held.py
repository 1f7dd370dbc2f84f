"""Models as people hold them: offloaded, wrapped, compressed, with images. Right, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen2_5_VLConfig

import steer
from steer.lm.anatomy import anatomy_of
from tests.conformance.build import build
from tests.support import plain, tiny

CPU = torch.device("cpu")
EDIT = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(3), 2.0)])
Held = Callable[[Path], Any]


def on_cpu(folder: Path) -> Any:
    return accelerate.cpu_offload(tiny.build("llama"), execution_device=CPU)


def on_disk(folder: Path) -> Any:
    accelerate.disk_offload(module := tiny.build("llama"), folder / "weights", execution_device=CPU)
    return module


def on_both(folder: Path) -> Any:
    """A block in two on the disk, as `device_map="auto"` does where memory ends."""
    tiny.build("llama").save_pretrained(folder)
    parts = ("model.embed_tokens", "model.rotary_emb", "model.norm", "lm_head")
    places = dict.fromkeys(parts, "cpu")
    places |= {f"model.layers.{n}": "disk" if n % 2 else "cpu" for n in range(tiny.LAYERS)}
    return AutoModelForCausalLM.from_pretrained(
        folder, device_map=places, offload_folder=folder / "weights"
    )


def compiled(folder: Path) -> Any:
    return torch.compile(tiny.build("llama"))


def adapted(folder: Path) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(
        tiny.build("llama"), peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
    )


def with_a_static_cache(folder: Path) -> Any:
    module = tiny.build("llama")
    module.generation_config.cache_implementation = "static"
    return module


@pytest.mark.parametrize("hold", [on_cpu, on_disk, on_both, compiled, adapted, with_a_static_cache])
def test_it_is_the_model_that_is_held(hold: Held, tmp_path: Path, llama: steer.Model) -> None:
    """To the bit: logits, texts with and without an edit, an effect, widths."""
    model = steer.load(hold(tmp_path), tokenizer=tiny.tokenizer())
    ids, mask = model.tokenize([tiny.PROMPT])
    assert torch.equal(model.logits(ids, mask), llama.logits(ids, mask))
    runs = [m.generate(tiny.PROMPT, EDIT, max_new_tokens=5, temperature=0) for m in (model, llama)]
    assert runs[0].ids == runs[1].ids
    assert runs[0].baseline.ids == runs[1].baseline.ids
    batches = [m.generate_batch(tiny.PROMPTS, EDIT, max_new_tokens=3) for m in (model, llama)]
    assert [run.ids for run in batches[0]] == [run.ids for run in batches[1]]
    effects = [steer.logit_effect(m, tiny.PROMPT, EDIT, draws=0) for m in (model, llama)]
    assert torch.equal(effects[0].delta_logit, effects[1].delta_logit)
    for kind in ("attn_z", "mlp_hidden"):
        assert model.site(f"{kind}.1").width == llama.site(f"{kind}.1").width


@pytest.mark.parametrize("hold", [on_cpu, on_disk, on_both, compiled, with_a_static_cache])
def test_its_fingerprint_is_of_its_weights(hold: Held, tmp_path: Path, llama: steer.Model) -> None:
    model = steer.load(hold(tmp_path), tokenizer=tiny.tokenizer())
    assert model.fingerprint == llama.fingerprint
    assert not hasattr(model.module, "hf_device_map") or hold is on_both


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.filterwarnings("ignore")
def test_packed_weights(bits: int, tmp_path: Path) -> None:
    """Sites are as wide as what flows there, and an edit is what a plain hook does."""
    pytest.importorskip("bitsandbytes")
    tiny.save_packable(tmp_path)
    packed = BitsAndBytesConfig(
        load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_compute_dtype=torch.float32
    )
    module = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=packed)
    model = steer.load(module, tokenizer=tiny.tokenizer())
    assert [model.site(f"{kind}.1").width for kind in ("attn_z", "mlp_hidden")] == [64, 128]
    ids, _ = model.tokenize([tiny.PROMPT])
    vector = torch.ones(64) / 8
    edit = steer.AddDirection(steer.Vector(vector.tolist()), 3.0)
    effect = steer.logit_effect(
        model, tiny.PROMPT, steer.Intervention("resid_post.1", [edit]), draws=0
    )
    handle = module.model.layers[1].register_forward_hook(lambda *given: given[2] + 3 * vector)
    edited = plain.logits(module, ids)[0, -1]
    handle.remove()
    clean = plain.logits(module, ids)[0, -1]
    torch.testing.assert_close(effect.delta_logit[0], edited - clean, atol=2e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_activations_quantised_by_one_scale_of_all_rows_are_refused() -> None:
    module = torch.ao.quantization.quantize_dynamic(
        tiny.build("llama"), {torch.nn.Linear}, dtype=torch.qint8
    )
    with pytest.raises(steer.ModelError, match="in a batch is not what it is alone, as where"):
        steer.load(module, tokenizer=tiny.tokenizer())


@pytest.mark.parametrize("kind", ["quantized", "offloaded"])
def test_caches_that_rows_were_not_tried_in_are_refused(kind: str) -> None:
    module = tiny.build("llama")
    module.generation_config.cache_implementation = kind
    with pytest.raises(steer.ModelError, match=f"a cache that is {kind}.*cache_implementation"):
        steer.load(module, tokenizer=tiny.tokenizer())


def test_a_multimodal_model_is_read_as_text_by_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its position ids have three axes; what it wrote last must not move what it reads next."""
    module = build("qwen2_5_vl")
    assert type(module.config) is Qwen2_5_VLConfig
    module.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = steer.load(tmp_path, device="cpu")
    assert "not supported" not in capfd.readouterr().err
    ids, mask = model.tokenize([tiny.PROMPT])
    torch.testing.assert_close(model.logits(ids, mask), plain.logits(module, ids))
    dictionary = tiny.dictionary("resid_post.1")
    before = steer.ablation_sweep(model, [tiny.PROMPT], dictionary).to_dict(3)["features"]
    run = model.generate(tiny.PROMPT, EDIT, max_new_tokens=4, temperature=0)
    alone = module.generate(ids, attention_mask=mask, max_new_tokens=4, do_sample=False)
    assert list(run.baseline.ids) == alone[0, ids.shape[1] :].tolist()
    assert steer.ablation_sweep(model, [tiny.PROMPT], dictionary).to_dict(3)["features"] == before


def test_blocks_that_hand_on_more_than_the_stream_are_run() -> None:
    """Zaya's routers read the router of the block below: nothing can be skipped."""
    assert not anatomy_of(build("zaya")).resumes
    assert anatomy_of(build("llama")).resumes


def test_what_a_model_keeps_of_the_stream_is_told() -> None:
    """Inkling 2 keeps what its first block reads for later ones: an edit there is of both."""
    model = steer.load(build("inkling2_text"), tokenizer=tiny.tokenizer())
    with pytest.raises(steer.HookpointError, match=r"no resid_pre; .*read elsewhere too"):
        model.site("resid_pre.0")
    assert model.site("resid_post.1").width == 32


def test_texts_of_a_model_that_loses_its_rows_behind_a_cache_are_refused() -> None:
    """transformers' RWKV writes other texts in a batch than alone."""
    model = steer.load(build("rwkv"), tokenizer=tiny.tokenizer())
    with pytest.raises(steer.PromptError, match=r"writes from its cache .* is not what each row"):
        model.generate(tiny.PROMPT, EDIT, max_new_tokens=4)
    assert steer.logit_effect(model, [tiny.PROMPT], EDIT, draws=0).kl > 0
