"""Mail as prose: its subject and plain body, without signatures, quotations and footers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

from apps.corpora.archive import decode, members
from apps.corpora.clean import Repairs, repair

_MAIL: Repairs = (
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


def read_mail(archive: Path) -> Iterator[str]:
    pattern = r"package/spam-assassin/data/[a-z]+-ham-\d/\d[^/]*\.txt"
    for data in members(archive, pattern).values():
        message = message_from_bytes(data)
        body = _plain_body(message).replace("\r\n", "\n") + "\n"
        links = body.count("http")
        mostly_links = links > 20 and links * 150 > len(body)
        if not mostly_links and not _NOT_PROSE.search(body):
            yield f"Subject: {_subject(message)}\n\n{repair(body, _MAIL)}"


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
            return decode(payload)
    return ""


def _subject(message: Message) -> str:
    raw = message.get("Subject", "")
    try:
        text = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, UnicodeError):
        text = str(raw)
    return " ".join(text.split())
