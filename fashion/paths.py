"""Where things are in a checkout."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OUTPUTS = PROJECT / "outputs"
