"""What tests stand on: tiny models, oracles, servers, and where the golden files are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
