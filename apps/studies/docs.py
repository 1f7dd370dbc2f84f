"""A site of the documents and of every docstring, that opens without a network: `steer docs`.

The README is `index.html`, a document beside the code is where it is in the tree, and the page of a
module is below `api/`. A folder that a document links to, or names, leads to its own document or to
its module; any other file is copied.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from dictionaries.extras import need
from dictionaries.files.place import writable_folder
from steer.errors import SteerError

ROOMS = ("steer", "dictionaries", "apps")
ROOT = Path(__file__).parents[2]
README = "README.md"
_LINK = re.compile(r'(?<=\s)(href|src)="(?![a-z]+:|#)([^"#]+)(#[^"]*)?"')
_NAMED = re.compile(r'(?<!">)<code>([\w./-]+(?:/|\.py))</code>')
_FIELD = re.compile(r"^([a-z_]\w*(?:, \w+)*(?: \[[^\]]*\])?): (?=\S)", re.MULTILINE)
_DOCUMENT = """{% extends "frame.html.jinja2" %}
{% block title %}{{ title }}{% endblock %}
{% block nav %}<h2>Documents</h2><ul>{% for name, address in menu.items() %}
<li><a href="{{ address }}">{{ name }}</a></li>{% endfor %}</ul>{% endblock %}
{% block content %}<main class="pdoc"><section class="module-info"><div class="docstring">
{{ body | safe }}</div></section></main>{% endblock %}"""
_MODULE = """{% extends "default/module.html.jinja2" %}
{% block nav_title %}<a class="pdoc-button" href="
{{- "../" * (module.modulename.count(".") + 1) }}index.html">Documents</a>{% endblock %}"""


@dataclass(frozen=True)
class Site:
    """index: the page to open; documents, modules: what has a page, by path and by name;
    left_out: modules that can't be imported here, and why."""

    index: Path
    documents: tuple[str, ...]
    modules: tuple[str, ...]
    left_out: Mapping[str, str]


def documents(root: Path = ROOT) -> tuple[Path, ...]:
    """The README and every document of a room; none where the package is installed without them."""
    if not (root / README).is_file():
        return ()
    beside = sorted(path for room in (*ROOMS, "tests") for path in (root / room).rglob("*.md"))
    return (root / README, *beside)


def build(out: Path, packages: Sequence[str] = ROOMS) -> Site:
    """Write the site into a folder. packages: whose docstrings it has, with all below them.

    Raises `SteerError` without pdoc, or for a folder that can't be written.
    """
    need("pdoc")
    writable_folder(out)
    _configure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, and pdoc's of types it can't resolve
        modules, left_out = _modules(packages)
        _write_api(out / "api", modules)
    texts = documents()
    for path in texts:
        _write_document(out, path, texts, set(modules))
    return Site(
        index=out / "index.html" if texts else out / "api" / "index.html",
        documents=tuple(path.relative_to(ROOT).as_posix() for path in texts),
        modules=tuple(modules),
        left_out=left_out,
    )


# -- docstrings --------------------------------------------------------------------------------


def _configure() -> None:
    """pdoc's look, with a way back to the documents, and its reading of our docstrings."""
    import jinja2
    from pdoc import render
    from pdoc.render_helpers import to_markdown_with_context

    @jinja2.pass_context
    def to_markdown(context: Any, docstring: str) -> str:
        return to_markdown_with_context(context, _fields_as_list(docstring))

    render.configure(docformat="markdown", footer_text="steer")
    ours = jinja2.DictLoader({"module.html.jinja2": _MODULE, "document": _DOCUMENT})
    render.env.loader = jinja2.ChoiceLoader([ours, *filter(None, [render.env.loader])])
    render.env.filters["to_markdown"] = to_markdown


def _fields_as_list(docstring: str) -> str:
    """`name: what it is` lines of a docstring as a Markdown list."""
    return _FIELD.sub(r"- `\1`: ", docstring)


def _modules(packages: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Every module as pdoc sees it, and those that can't be imported."""
    from pdoc.doc import Module

    modules, left_out = {}, {}
    for name in chain.from_iterable(map(_names, packages)):
        try:
            modules[name] = Module.from_name(name)
        except RuntimeError as error:  # an extra that is not installed
            left_out[name] = str(error.__cause__ or error)
            continue
        _hold_public_names(modules[name].obj)
    return modules, left_out


def _names(package: str) -> Iterator[str]:
    """A module and all below it; pdoc's own walk leaves out what is not in `__all__`."""
    spec = find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    if folders is None:
        yield package
    for folder in folders or ():
        for path in sorted(Path(folder).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__")


def _hold_public_names(module: Any) -> None:
    """Names that a module imports when they are first used: pdoc looks for them in the module."""
    for name in getattr(module, "__all__", ()):
        vars(module).setdefault(name, getattr(module, name))


def _write_api(folder: Path, modules: Mapping[str, Any]) -> None:
    from pdoc import render

    for name, module in modules.items():
        _write(folder / f"{name.replace('.', '/')}.html", render.html_module(module, modules))
    _write(folder / "index.html", render.html_index(modules))
    _write(folder / "search.js", render.search_index(modules))


# -- documents ---------------------------------------------------------------------------------


def _write_document(out: Path, path: Path, texts: Sequence[Path], modules: set[str]) -> None:
    from pdoc.render import env
    from pdoc.render_helpers import to_html

    page = _page_of(path.relative_to(ROOT))
    here = (out / page).parent

    def linked(match: re.Match[str]) -> str:
        kind, target, anchor = match[1], match[2], match[3] or ""
        there = _target(Path(os.path.normpath(path.parent / target)), texts, modules)
        if there.suffix != ".html":
            _copy(ROOT / there, out / there)
        return f'{kind}="{os.path.relpath(out / there, here)}{anchor}"'

    menu = {
        _name_of(readme): _page_of(readme.relative_to(ROOT))
        for readme in texts
        if _is_readme(readme)
    }
    menu["every module"] = Path("api/index.html")

    def named(match: re.Match[str]) -> str:
        there = (path.parent / match[1]).exists()
        return f'<a href="{match[1]}">{match[0]}</a>' if there else match[0]

    html = _NAMED.sub(named, str(to_html(path.read_text(encoding="utf-8"))))
    text = env.get_template("document").render(
        title=_name_of(path),
        menu={name: os.path.relpath(out / page, here) for name, page in menu.items()},
        body=_LINK.sub(linked, html),
    )
    _write(out / page, text)


def _target(path: Path, texts: Sequence[Path], modules: set[str]) -> Path:
    """Where on the site a path of the tree is, relative to its root.

    Raises `SteerError` for a link to what is not there.
    """
    for text in (path, path / README):
        if text in texts:
            return _page_of(text.relative_to(ROOT))
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if module in modules:
        return Path("api", *module.split(".")).with_suffix(".html")
    if path.is_file():
        return path.relative_to(ROOT)
    if path.is_dir():
        return Path("api/index.html")
    raise SteerError(f"a document links to {path}, which is not there")


def _page_of(document: Path) -> Path:
    return Path("index.html") if document == Path(README) else document.with_suffix(".html")


def _is_readme(path: Path) -> bool:
    return path.name == README


def _name_of(path: Path) -> str:
    document = path.relative_to(ROOT)
    if not _is_readme(path):
        return document.as_posix()
    return document.parent.as_posix() if document.parent.parts else "README"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)
