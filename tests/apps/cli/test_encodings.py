"""A terminal whose encoding lacks characters of tokens: escapes, and JSON that stays JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest

from apps.cli import main
from apps.cli.output import print_json

TEXT = "␣é 😀"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_is_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    print_json({"token": TEXT})
    assert json.loads(written.getvalue().decode(encoding)) == {"token": TEXT}


def test_what_a_terminal_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    monkeypatch.setattr(sys, "argv", ["steer", "dictionaries"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "\\u0394CE" in written.getvalue().decode("ascii")  # ΔCE
