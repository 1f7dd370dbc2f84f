"""Text files that a person names."""

from __future__ import annotations

from pathlib import Path

from steer.errors import PromptError


def read_lines(path: Path) -> list[str]:
    """The lines that are not blank. Raises `PromptError` as `read_text` does."""
    return [line for line in read_text(path).splitlines() if line.strip()]


def read_text(path: Path) -> str:
    """Raises `PromptError` for a file that is not there, or is no text."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path} can't be read as text: {error}") from error
