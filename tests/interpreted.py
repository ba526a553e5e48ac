"""A pytest plugin (`-p interpreted`): quada's own modules are read from their sources.

What `make compile` made lies beside them and would be imported instead.
"""

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

_QUADA = str(Path(__file__).resolve().parent.parent / "src" / "quada")
_from_sources = FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))


def _finder(path: str) -> object:
    if not path.startswith(_QUADA):
        raise ImportError(f"{path} is not quada's")
    return _from_sources(path)


sys.path_hooks.insert(0, _finder)
sys.path_importer_cache.clear()
