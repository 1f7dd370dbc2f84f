"""Known releases of dictionaries, as data: where they are, what they are of, what they claim.

Figures are only those that the release itself states, so most are None: a name such as `L0_50` is
a statement, a plot is not. None says that nothing was stated, not that nothing is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A family of dictionaries on the model hub.

    address: `hf://org/repo/path`; {layer} and other names in braces stand for what varies.
    sites: our hookpoints, without the layer; format: the module of `dictionaries.formats`.
    l0, variance_explained: as stated by the release for all its members.
    """

    address: str
    model: str
    sites: str
    format: str
    l0: float | None = None
    variance_explained: float | None = None


RELEASES: dict[str, Release] = {
    "gpt2-small-res-jb": Release(
        "hf://jbloom/GPT2-Small-SAEs-Reformatted/blocks.{layer}.hook_resid_pre",
        "gpt2",
        "resid_pre",
        "saelens",
    ),
    "gemma-scope-res": Release(
        "hf://google/gemma-scope-{size}-res/layer_{layer}/width_{width}/average_l0_{l0}",
        "google/gemma-2",
        "resid_post",
        "gemma_scope",
    ),
    "gemma-scope-att": Release(
        "hf://google/gemma-scope-{size}-att/layer_{layer}/width_{width}/average_l0_{l0}",
        "google/gemma-2",
        "attn_z",
        "gemma_scope",
    ),
    "gemma-scope-mlp": Release(
        "hf://google/gemma-scope-{size}-mlp/layer_{layer}/width_{width}/average_l0_{l0}",
        "google/gemma-2",
        "mlp_out",
        "gemma_scope",
    ),
    "gemma-scope-transcoders": Release(
        "hf://google/gemma-scope-{size}-transcoders/layer_{layer}/width_{width}/average_l0_{l0}",
        "google/gemma-2",
        "ln2.hook_normalized -> mlp_out",
        "gemma_scope",
    ),
    "gemma-scope-2": Release(
        "hf://google/gemma-scope-2-{size}/{site}/layer_{layer}_width_{width}_l0_{small_or_big}",
        "google/gemma-3",
        "resid_post, attn_z, mlp_out, mlp_in -> mlp_out",
        "gemma_scope",
    ),
    "llama-scope": Release(
        "hf://fnlp/Llama3_1-8B-Base-LX{kind}-{expansion}x/Llama3_1-8B-Base-L{layer_and_kind}",
        "meta-llama/Llama-3.1-8B",
        "resid_post, attn_out, mlp_out",
        "llama_scope",
        l0=50,
    ),
    "goodfire-llama-3.1-8b": Release(
        "hf://Goodfire/Llama-3.1-8B-Instruct-SAE-l19",
        "meta-llama/Llama-3.1-8B-Instruct",
        "resid_post.19",
        "goodfire",
        l0=91,
    ),
    "goodfire-llama-3.3-70b": Release(
        "hf://Goodfire/Llama-3.3-70B-Instruct-SAE-l50",
        "meta-llama/Llama-3.3-70B-Instruct",
        "resid_post.50",
        "goodfire",
        l0=121,
    ),
    "qwen-scope": Release(
        "hf://Qwen/SAE-Res-{base}-W{width}-L0_{l0}/layer{layer}.sae.pt",
        "Qwen/{base}",
        "resid_post",
        "qwen_scope",
    ),
    "arditi-llama-3.1-8b": Release(
        "hf://andyrdt/saes-llama-3.1-8b-instruct/resid_post_layer_{layer}/trainer_{trainer}",
        "meta-llama/Llama-3.1-8B-Instruct",
        "resid_post",
        "dictionary_learning",
    ),
    "arditi-qwen2.5-7b": Release(
        "hf://andyrdt/saes-qwen2.5-7b-instruct/resid_post_layer_{layer}/trainer_{trainer}",
        "Qwen/Qwen2.5-7B-Instruct",
        "resid_post",
        "dictionary_learning",
    ),
    "arditi-gpt-oss-20b": Release(
        "hf://andyrdt/saes-gpt-oss-20b/resid_post_layer_{layer}/trainer_{trainer}",
        "openai/gpt-oss-20b",
        "resid_post",
        "dictionary_learning",
    ),
}


def release_of(address: str) -> Release | None:
    """The known release that a dictionary's address belongs to."""
    return next((each for each in RELEASES.values() if _match(each, address)), None)


def figures(address: str) -> dict[str, float]:
    """`l0` and `fvu` that the release states for the dictionary at this address."""
    release = release_of(address)
    match = release and _match(release, address)
    if not release or not match:
        return {}
    named = match.groupdict().get("l0") or ""
    l0 = float(named) if named.isdigit() else release.l0
    found = {} if l0 is None else {"l0": l0}
    if release.variance_explained is not None:
        found["fvu"] = 1 - release.variance_explained
    return found


def _match(release: Release, address: str) -> re.Match[str] | None:
    """Of the address up to its revision or a file below it; names in braces are groups."""
    pieces = re.split(r"\{(\w+)\}", release.address)
    pattern = "".join(
        f"(?P<{piece}>[^/@]+?)" if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )
    return re.fullmatch(rf"{pattern}(?:[/@].*)?", address)
