"""Whether this quada runs compiled (`make compile`) or interpreted, and from what lies here."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_SUFFIX: Final = EXTENSION_SUFFIXES[0]


def build() -> str:
    """Say how it runs: "compiled", or "interpreted"."""
    return "compiled" if next(_HERE.glob(f"*{_SUFFIX}"), None) else "interpreted"


def stale(here: Path = _HERE) -> list[str]:
    """Name the modules whose source is newer than what was compiled of it, and is run."""
    found = []
    for compiled in here.rglob(f"*{_SUFFIX}"):
        if compiled.parent == here:
            continue  # what they share, which is of no one source
        module = compiled.name.removesuffix(_SUFFIX)
        if compiled.stat().st_mtime < compiled.with_name(f"{module}.py").stat().st_mtime:
            found.append(f"{compiled.parent.name}.{module}")
    return sorted(found)
