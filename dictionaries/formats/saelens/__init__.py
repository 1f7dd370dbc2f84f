"""SAELens, both generations: folders of `cfg.json` and `sae_weights.safetensors`."""

from dictionaries.formats.saelens.folder import LOOKS_LIKE, matches, read, write

__all__ = ["LOOKS_LIKE", "matches", "read", "write"]
