"""dictionary_learning's config.json, and the site that it or the folder's name gives.

The site is `trainer.submodule_name` on the side that `buffer.io` says; only where neither is
there, it is the residual stream of `trainer.layer`. Old releases have no config and name a folder
after the site, `resid_out_layer3`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.errors import FormatError
from dictionaries.files.tensors import read_json
from dictionaries.sites import from_module

_NAMED = re.compile(r"(resid_pre|resid_mid|resid_post|resid_out|attn_out|mlp_out|attn_z|mlp_in|"
                    r"mlp_hidden|resid|attn|mlp)_layer_?(\d+)")  # fmt: skip
_KINDS = {"resid_out": "resid_post", "resid": "resid_post", "attn": "attn_out", "mlp": "mlp_out"}
_INPUTS = {"resid_post": "resid_pre", "mlp_out": "mlp_in"}


@dataclass(frozen=True)
class LearningConfig:
    """What config.json says; None where it says nothing."""

    dict_class: str | None = None
    k: int | None = None
    model: str | None = None
    hookpoint: str | None = None

    def canonical(self) -> dict[str, Any]:
        return {"model": self.model, "hookpoint": self.hookpoint}


def read_config(path: Path) -> LearningConfig:
    """Parse config.json, or take the site from the folder's name where there is none.

    Raises `FormatError` for a file that is damaged, or of a dictionary between two sites.
    """
    if not path.is_file():
        named = (_named(part, "out") for part in reversed(path.absolute().parent.parts))
        return LearningConfig(hookpoint=next((site for site in named if site), None))
    config = read_json(path)
    trainer, buffer = config.get("trainer"), config.get("buffer", {})
    if not isinstance(trainer, dict) or not isinstance(buffer, dict):
        raise FormatError(f"{path} lacks the object 'trainer' (and 'buffer')")
    io = buffer.get("io", "out")
    if io not in ("in", "out"):
        raise FormatError(f"{path} says io = {io!r}; allowed: in, out")
    k = trainer.get("k")
    return LearningConfig(
        dict_class=_text(trainer, "dict_class", path),
        k=k if isinstance(k, int) and not isinstance(k, bool) else None,
        model=_text(trainer, "lm_name", path),
        hookpoint=_site(_text(trainer, "submodule_name", path), trainer.get("layer"), io),
    )


def _site(submodule: str | None, layer: object, io: str) -> str | None:
    if submodule is None:
        if not isinstance(layer, int):
            return None
        return f"resid_pre.{layer}" if io == "in" else f"resid_post.{layer}"
    return _named(submodule, io) or from_module(submodule, "input" if io == "in" else "output")


def _named(text: str, io: str) -> str | None:
    """`mlp_out_layer_3`, `resid_out_layer3` -> `mlp_out.3`, `resid_post.3`."""
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    kind = _KINDS.get(match[1], match[1])
    if io == "in":
        return f"{_INPUTS[kind]}.{match[2]}" if kind in _INPUTS else f"{text}:input"
    return f"{kind}.{match[2]}"


def _text(values: dict[str, Any], name: str, path: Path) -> str | None:
    if not isinstance(values.get(name), str | None):
        raise FormatError(f"{path} says {name} = {values[name]!r}, expected a name")
    return values.get(name)
