"""Raw text made fit to train on: tidy, readable, long enough, none twice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

MINIMUM_CHARACTERS = 200
_CHARACTERS_PER_REPLACEMENT = 1000

Repairs = tuple[tuple[re.Pattern[str], str], ...]


def cleaned(raw: Iterator[str]) -> Iterator[str]:
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


def repair(text: str, repairs: Repairs) -> str:
    for pattern, replacement in repairs:
        text = pattern.sub(replacement, text)
    return text
