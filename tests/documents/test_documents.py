"""The documents hold: their code runs, their commands exist, their links and maps lead somewhere.

A block of Python is executed, and a `steer` command in a block is run, on the default model; a
block that is not says why in a comment before it, and its commands are still read by their parsers.
"""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import typer

import steer
from apps.cli import app
from tests.support import ROOT
from tests.support.command import Run
from tests.support.documents import (
    DOCUMENTS,
    ROOMS,
    Block,
    alike,
    anchors,
    assert_shown,
    blocks,
    folders,
    inline_commands,
    links,
    name_of,
)

MOST_BYTES = 7168
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
SHELLS = [block for block in BLOCKS if block.language in ("bash", "console")]
OF_ALL = {"--debug", "--version"}
"""Options that stand before a command."""
PLACEHOLDERS = {
    "COMMAND": "demo",
    "ID": "1176",
    "VALUE": "2x",
    "ID=VALUE": "1176=2x",
    "FILE.html": "plot.html",
}
"""What stands for a word of the reader's in a command, and a word that its parser takes."""
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
each_block = pytest.mark.parametrize("block", BLOCKS, ids=str)
each_shell = pytest.mark.parametrize("block", SHELLS, ids=str)


# -- code ------------------------------------------------------------------------------------------


@each_block
def test_a_block_runs_or_says_why_not(block: Block) -> None:
    assert block.language in ("python", "bash", "console")
    assert block.runs or block.excused, f"its mark {block.mark!r} is no reason"


@each_document
def test_python_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a document in order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks(document):
        if block.language == "python" and block.runs:
            exec(compile(block.text, str(block), "exec"), namespace)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "python" and not b.runs], ids=str
)
def test_python_that_is_not_run_names_what_there_is(block: Block) -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "steer"
    }
    assert used <= set(steer.__all__)


# -- commands --------------------------------------------------------------------------------------


@cache
def steer_command() -> Any:
    return typer.main.get_command(app)


def parse(words: list[str]) -> None:
    """Let the parser of the command that the words name read what follows, without running it."""
    command = steer_command()
    while hasattr(command, "commands"):
        assert words, "a group of commands, and none of them"
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context("steer", list(words)).close()


def is_named(words: list[str]) -> bool:
    """Whether these are a command's name or nothing, as where a sentence speaks of it."""
    command = steer_command()
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    return command is not None


@each_shell
def test_commands_of_blocks_parse(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in block.commands:
        parse(words)


@each_document
def test_commands_in_the_text_parse(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is only named must be there; with anything behind it, it must parse."""
    monkeypatch.chdir(tmp_path)
    for text in inline_commands(document):
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(text)[1:]]
        words = list(dropwhile(OF_ALL.__contains__, words))
        if not is_named(words):
            parse(words)


@pytest.mark.parametrize("block", [b for b in SHELLS if b.runs], ids=str)
def test_commands_run(
    block: Block, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends well, and prints what a console block shows of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert block.commands
    for words in block.commands:
        answer = run(*words)
        assert answer.code == 0, answer.err
        if block.language == "console":
            assert_shown(block.text.splitlines()[1:], answer.out.splitlines())


@pytest.mark.parametrize(
    ("line", "other", "same"),
    [
        ("KL 1.850 nats  ", "KL 1.852 nats", True),
        ("KL 1.850 nats", "KL 1.95 nats", False),
        ("KL 1.850 nats", "KL 1.850 bits", False),
    ],
)
def test_alike(line: str, other: str, same: bool) -> None:
    assert alike(line, other) == same


# -- links and maps --------------------------------------------------------------------------------


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"https?:", link):
            continue
        address, _, anchor = link.partition("#")
        target = (document.parent / address).resolve() if address else document
        assert target.exists(), f"{name_of(document)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(document)} links to {link}"


@each_document
def test_folders_in_the_text_are_there(document: Path) -> None:
    assert [str(folder) for folder in folders(document) if not folder.is_dir()] == []


def folders_of_the_rooms() -> set[Path]:
    """Every folder that holds a file, or another folder that does."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    kept = [path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts]
    parents = {folder for path in kept for folder in path.parents if len(folder.parts) > 1}
    return {ROOT / folder for folder in parents}


def test_the_maps_name_every_folder() -> None:
    named = {folder.resolve() for document in DOCUMENTS for folder in folders(document)}
    assert sorted(str(path.relative_to(ROOT)) for path in folders_of_the_rooms() - named) == []


def test_the_readme_names_the_folders_of_each_room() -> None:
    named = {folder.resolve() for folder in folders(ROOT / "README.md")}
    rooms = {folder for folder in folders_of_the_rooms() if folder.parent.parent == ROOT}
    assert rooms <= named


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= MOST_BYTES


def test_the_readme_leads_to_every_document() -> None:
    led = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {document.resolve() for document in DOCUMENTS[1:]} <= led


def test_the_licence_is_in_the_package() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    assert 'license-files = ["steer/LICENSE"]' in settings
    assert (ROOT / "steer" / "LICENSE").read_text().lstrip().startswith("Apache License")
