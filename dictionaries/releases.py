"""Known releases of dictionaries, as data: where they are, what they are of, what they claim.

`releases.json` holds them. Figures are those that the release itself states (a name such as `L0_50`
is a statement, a plot is not) and, for single dictionaries, those that sae-lens 6.54.12 gives in
`pretrained_saes.yaml`; tests/golden/check_releases.py compares all of its entries with ours.
Variance explained of 0.99 and more is left out: massive activations make it, and a check leaves
them out. None says that nothing was stated, not that nothing is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files


@dataclass(frozen=True)
class Release:
    """A family of dictionaries on the model hub.

    address: `hf://org/repo/path`; {layer} and other names in braces stand for what varies.
    sites: our hookpoints, without the layer; format: the module of `dictionaries.formats`.
    l0, variance_explained: as stated for all its members.
    members: the same by path in the repository, where they are stated for one.
    """

    address: str
    model: str
    sites: str
    format: str
    l0: float | None = None
    variance_explained: float | None = None
    members: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


RELEASES: dict[str, Release] = {
    name: Release(**about)
    for name, about in json.loads(
        (files("dictionaries") / "releases.json").read_text("utf-8")
    ).items()
}


def release_of(address: str) -> Release | None:
    """The known release that a dictionary's address belongs to."""
    return next((release for release in RELEASES.values() if _match(release, address)), None)


def where(name: str) -> str | None:
    """What to write instead of a release's name, or of a path of the hub; None for neither."""
    first = name.split("/")[0]
    if release := RELEASES.get(first):
        filled = ", with what is in braces filled in" if "{" in release.address else ""
        return f"{first} is a known release: its dictionaries are at {release.address}{filled}"
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+(/[^@#]+)?(@[\w./-]+)?(#\d+)?", name):
        return None
    repo = "hf://{}/{}/".format(*re.split("[/@#]", name)[:2])
    known = [r.address for r in RELEASES.values() if f"{r.address}/".startswith(repo)]
    whole = f", such as {known[0]}" if known and release_of(f"hf://{name}") is None else ""
    return f"if it is a path of the hub, put hf:// before it: hf://{name}{whole}"


def figures(address: str) -> dict[str, float]:
    """`l0` and `fvu` that are stated for the dictionary at this address."""
    release = release_of(address)
    match = release and _match(release, address)
    if not release or not match:
        return {}
    path = re.split("[@#]", address)[0].removeprefix("hf://").split("/", 2)[2:]
    stated = {"l0": release.l0, "variance_explained": release.variance_explained}
    stated |= release.members.get(path[0] if path else "", {})
    named = match.groupdict().get("l0") or ""
    l0 = float(named) if named.isdigit() else stated["l0"]
    known = {} if l0 is None else {"l0": l0}
    if (explained := stated["variance_explained"]) is not None:
        known["fvu"] = 1 - explained
    return known


def _match(release: Release, address: str) -> re.Match[str] | None:
    """Of the address up to its revision or a file below it; names in braces are groups."""
    pieces = re.split(r"\{(\w+)\}", release.address)
    pattern = "".join(
        f"(?P<{piece}>[^/@#]+?)" if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )
    return re.fullmatch(rf"{pattern}(?:[/@#].*)?", address)
