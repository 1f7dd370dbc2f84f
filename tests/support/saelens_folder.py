"""Golden folders of sae-lens, copied and changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from dictionaries.formats.saelens import folder as saelens
from tests.support import GOLDEN

FOLDER = GOLDEN / "saelens"


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of cfg.json; None removes."""
    cfg = json.loads((folder / "cfg.json").read_text()) | changes
    kept = {name: value for name, value in cfg.items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(kept))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a folder."""
    tensors = load_file(folder / saelens.WEIGHTS)
    change(tensors)
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / saelens.WEIGHTS)
