"""Compiled modules are run only where they are of the sources beside them."""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from quada.build import stale


def test_a_source_changed_after_it_was_compiled_is_named(tmp_path: Path) -> None:
    room = tmp_path / "wire"
    deep = tmp_path / "telemetry" / "ingest"
    room.mkdir()
    deep.mkdir(parents=True)
    for place, module, source_at in (
        (room, "names", 100),
        (room, "skim", 300),
        (deep, "bind", 300),
    ):
        (place / f"{module}.py").touch()
        os.utime(place / f"{module}.py", (source_at, source_at))
        compiled = place / f"{module}{EXTENSION_SUFFIXES[0]}"
        compiled.touch()
        os.utime(compiled, (200, 200))
    (tmp_path / f"shared{EXTENSION_SUFFIXES[0]}").touch()
    (room / "age.py").touch()
    assert stale(tmp_path) == ["ingest.bind", "wire.skim"]
