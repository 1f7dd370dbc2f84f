"""Compare our catalogue of releases with every entry of sae-lens's `pretrained_saes.yaml`.

    PYTHONPATH=. venv-saelens/bin/python tests/golden/check_releases.py

Prints entries that no release of ours covers, and those whose L0 or variance explained differ.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sae_lens
import yaml

from dictionaries import releases

READ_ELSEWHERE = {
    "connor_rob_hook_z": "no format of ours",
    "llama_scope_r1_distill": "no format of ours",
    "mntss_clt_layer_transcoder": "cross-layer: refused",
}
_LATE = "google/gemma-scope-2-"
"""Their config.json states L0, which is read from there."""


def differences(name: str, release: dict[str, Any]) -> list[str]:
    found = []
    for member in release["saes"]:
        address = f"hf://{release['repo_id']}/{member['path']}"
        if releases.release_of(address) is None:
            found.append(f"{name}: {address} is of no release of ours")
            continue
        ours, theirs = releases.figures(address), {}
        if member.get("l0") is not None and not release["repo_id"].startswith(_LATE):
            theirs["l0"] = member["l0"]
        if 0 < member.get("variance_explained", 0) < 0.99:
            theirs["fvu"] = 1 - member["variance_explained"]
        for figure, value in theirs.items():
            if abs(ours.get(figure, float("inf")) - value) > 1e-6:
                found.append(f"{address}: {figure} {ours.get(figure)}, sae-lens says {value}")
    return found


def main() -> None:
    path = Path(sae_lens.__file__).parent / "pretrained_saes.yaml"
    known = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    members = 0
    for name, release in known.items():
        if why := READ_ELSEWHERE.get(str(release.get("conversion_func"))):
            print(f"{name}: {why}")
            continue
        members += len(release["saes"])
        print(*differences(name, release), sep="\n", end="")
    named = sum(bool(re.search(r"\{\w+\}", each.address)) for each in releases.RELEASES.values())
    print(f"\n{members} entries compared with {len(releases.RELEASES)} releases, {named} families")


if __name__ == "__main__":
    main()
