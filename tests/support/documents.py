"""The documents as data: their blocks of code, commands, links and the folders that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support import ROOT

ROOMS = ("steer", "apps", "dictionaries")
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("README.md")),
]
_MARK = re.compile(r"<!--\s*(.+?)\s*-->")
_NOT_RUN = re.compile(r"not run: \S.*")
_BY_CI = "tests"
"""The mark of the command that `.ci/run` takes from the README."""


@dataclass(frozen=True)
class Block:
    """A fenced block. mark: what an HTML comment before it says, None without one."""

    document: Path
    line: int
    language: str
    text: str
    mark: str | None

    def __str__(self) -> str:
        return f"{name_of(self.document)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.mark is None

    @property
    def excused(self) -> bool:
        """Whether its mark is a reason, or says who else runs it."""
        return self.mark is not None and bool(self.mark == _BY_CI or _NOT_RUN.fullmatch(self.mark))

    @property
    def commands(self) -> list[list[str]]:
        """The `steer` commands of a shell block, in words."""
        lines = self.text.replace("\\\n", " ").splitlines()
        typed = [line.removeprefix("$ ") for line in lines]
        return [shlex.split(line)[1:] for line in typed if line.startswith("steer ")]


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path) -> list[Block]:
    tokens = _parsed(document)
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "fence" and token.map is not None:
            mark = _mark(before)
            found.append(Block(document, token.map[0] + 1, token.info, token.content, mark))
    return found


def inline_commands(document: Path) -> Iterator[str]:
    """What stands in backticks and begins with `steer `."""
    return (code for code in _codes(document) if code.startswith("steer "))


def folders(document: Path) -> Iterator[Path]:
    """What stands in backticks and ends in a slash: folders, from where the document is."""
    return (document.parent / code for code in _codes(document) if re.fullmatch(r"[\w./-]+/", code))


def links(document: Path) -> Iterator[str]:
    """Addresses of links and pictures."""
    for token in _inline(document):
        if token.type in ("link_open", "image"):
            yield str(token.attrs.get("href") or token.attrs.get("src"))


def anchors(document: Path) -> set[str]:
    """The headings as links name them."""
    tokens = _parsed(document)
    heads = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def assert_shown(shown: list[str], printed: list[str]) -> None:
    """The lines stand in the output, in order, `…` for any others; numbers may differ by 2%."""
    left = iter(printed)
    for line in shown:
        if line != "…":
            assert any(alike(line, other) for other in left), f"not printed there: {line}"


def alike(line: str, other: str) -> bool:
    number = re.compile(r"\d+(?:\.\d+)?")
    mine, theirs = ([float(n) for n in number.findall(text)] for text in (line, other))
    words, others = (number.sub("0", text).split() for text in (line, other))
    return words == others and mine == pytest.approx(theirs, rel=0.02)


def _parsed(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))


def _inline(document: Path) -> Iterator[Token]:
    for token in _parsed(document):
        yield from token.children or ()


def _codes(document: Path) -> Iterator[str]:
    return (token.content for token in _inline(document) if token.type == "code_inline")


def _mark(token: Token | None) -> str | None:
    said = _MARK.fullmatch(token.content.strip()) if token and token.type == "html_block" else None
    return said and said[1]
