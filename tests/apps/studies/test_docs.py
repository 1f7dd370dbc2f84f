"""The site of documents and docstrings: pages, links between them, nothing from a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from apps.studies import docs
from steer.errors import SteerError
from tests.support import ROOT
from tests.support.command import Run


class Page(HTMLParser):
    """Addresses that a page loads (pictures, scripts, styles) and those that it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "src" in given or tag == "link":
            self.loads.append(given.get("src") or given["href"])
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> docs.Site:
    """All documents, and the docstrings of one package."""
    return docs.build(tmp_path_factory.mktemp("site"), ["steer.edits", "steer.errors"])


def pages(site: docs.Site) -> Iterator[tuple[Path, Page]]:
    return ((path, Page(path)) for path in sorted(site.index.parent.rglob("*.html")))


def test_every_document_and_module_has_a_page(site: docs.Site) -> None:
    folder = site.index.parent
    assert site.left_out == {}
    assert {"README.md", "steer/README.md", "apps/reproduce/README.md"} <= set(site.documents)
    assert {"steer.edits", "steer.edits.kinds", "steer.errors"} <= set(site.modules)
    assert "<h1" in site.index.read_text()
    assert (folder / "steer" / "README.html").is_file()
    assert "Clamp" in (folder / "api" / "steer" / "edits" / "kinds.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: docs.Site) -> None:
    far = [(path.name, address) for path, page in pages(site) for address in page.loads]
    assert [pair for pair in far if pair[1].startswith(("http:", "https:", "//"))] == []


def test_links_between_pages_lead_somewhere(site: docs.Site) -> None:
    broken = [
        f"{path.relative_to(site.index.parent)} -> {address}"
        for path, page in pages(site)
        for address in page.links + page.loads
        if not address.startswith(("http", "mailto:", "data:", "#"))
        and not (path.parent / unquote(address.partition("#")[0])).exists()
    ]
    assert broken == []


def test_documents_link_to_docstrings_and_back(site: docs.Site) -> None:
    folder = site.index.parent
    assert "../api/steer/edits.html" in Page(folder / "steer" / "README.html").links
    assert "../../../index.html" in Page(folder / "api" / "steer" / "edits" / "kinds.html").links


def test_names_that_a_module_imports_later_are_in_it() -> None:
    module = ModuleType("late")
    vars(module).update(__all__=["now", "later"], now=1, __getattr__={"later": 2}.__getitem__)
    docs._hold_public_names(module)
    assert (vars(module)["now"], vars(module)["later"]) == (1, 2)


def test_fields_of_a_docstring_become_a_list() -> None:
    text = "What it is.\n\nx [b, s]: read.\nlow, high: bounds\n    of it.\nRaises `E`: never."
    assert docs._fields_as_list(text) == (
        "What it is.\n\n- `x [b, s]`: read.\n- `low, high`: bounds\n    of it.\nRaises `E`: never."
    )


def test_without_pdoc_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run
) -> None:
    monkeypatch.setitem(sys.modules, "pdoc", None)
    answer = run("docs", tmp_path / "site")
    assert answer.code == 2
    assert answer.err == "steer: pdoc is missing: pip install 'sae-steer[docs]'\n"
    assert not (tmp_path / "site").exists()


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SteerError, match="file can't be written"):
        docs.build(tmp_path / "file")


def test_the_root_is_the_tree() -> None:
    assert docs.ROOT == ROOT
