"""dictionary_learning: folders of `ae.pt` and `config.json`."""

from dictionaries.formats.dictionary_learning.folder import LOOKS_LIKE, matches, read
from dictionaries.formats.dictionary_learning.writer import write

__all__ = ["LOOKS_LIKE", "matches", "read", "write"]
