"""Compiled modules are run only where they are of the sources beside them."""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from quada.build import stale


def test_a_source_changed_after_it_was_compiled_is_named(tmp_path: Path) -> None:
    room = tmp_path / "wire"
    room.mkdir()
    for module, source_at, compiled_at in (("names", 100, 200), ("skim", 300, 200)):
        (room / f"{module}.py").touch()
        os.utime(room / f"{module}.py", (source_at, source_at))
        (room / f"{module}{EXTENSION_SUFFIXES[0]}").touch()
        os.utime(room / f"{module}{EXTENSION_SUFFIXES[0]}", (compiled_at, compiled_at))
    (room / "age.py").touch()
    assert stale(tmp_path) == ["wire.skim"]
