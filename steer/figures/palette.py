"""The colours of every chart, in the page and in files."""

from __future__ import annotations

COLOURS = ("#c2571a", "#5b7c99", "#9a958c", "#6d8a4f")
"""Edit, control feature, random direction, and one more."""
INK, GRID = "#4a4945", "#e7e4de"
