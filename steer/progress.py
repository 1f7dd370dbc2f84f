"""What long work reports."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""
