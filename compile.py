"""Compile what every query passes through to C, from the same source (mypyc); `make compile`.

What comes of it lies beside the sources and is imported instead of them. Nothing needs it: without
it the same code is interpreted. Done again only where a source changed. Needs a C compiler and
Python's headers.

    python compile.py [--remove]
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parent
_SOURCE: Final = _ROOT / "src"
_BUILD: Final = _ROOT / "build"
_STAMP: Final = _BUILD / "stamp"
_LOG: Final = _BUILD / "log"
_INTERPRETED: Final = frozenset(("__init__", "pool"))  # pools are dataclasses that travel
_REMEDY: Final = "on Debian: apt-get install gcc python3-dev"
# The rooms of the hot path whole; of the others what a query or a zone's text passes through.
_COMPILED: Final = (
    "wire/*",
    "authority/*",
    "resolver/*",
    "server/quota",
    "server/recursion",
    "server/ring",
    "telemetry/event",
    "telemetry/fallback",
    "telemetry/ingest/*",
    "telemetry/rollup",
    "telemetry/signals/*",
    "transport/chance",
    "transport/datagrams",
    "transport/udp",
    "zones/gather",
    "zones/generate",
    "zones/rdata",
    "zones/rdata_dnssec",
    "zones/read",
    "zones/tokens",
    "zones/zone",
)


def main() -> None:
    """Compile, or say why not; `--remove` removes what was compiled."""
    stamp = _stamp()
    if "--remove" in sys.argv[1:]:
        _remove()
    elif _STAMP.exists() and _STAMP.read_text() == stamp:
        return
    else:
        _remove()
        lacking = _lacking()
        if lacking:
            print(f"not compiled, quada runs interpreted: there is no {lacking} ({_REMEDY})")
            return
        print("compiling the hot path: about a minute", flush=True)
        try:
            _compile()
        except BaseException:
            print(_LOG.read_text()[-4000:])
            raise
        _STAMP.write_text(stamp)


def _sources() -> list[Path]:
    """Give the files to compile, below src/."""
    found = (path for pattern in _COMPILED for path in _SOURCE.glob(f"quada/{pattern}.py"))
    return sorted(path.relative_to(_SOURCE) for path in found if path.stem not in _INTERPRETED)


def _stamp() -> str:
    """Tell apart what compiling would make of other sources, with other tools."""
    known = hashlib.sha256(f"{version('mypy')} {sys.version}".encode())
    for path in (Path(__file__), *map(_SOURCE.joinpath, _sources())):
        known.update(path.read_bytes())
    return known.hexdigest()


def _remove() -> None:
    for path in _SOURCE.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
        path.unlink()
    shutil.rmtree(_BUILD, ignore_errors=True)


def _lacking() -> str:
    """Name what compiling needs and is not here."""
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return compiler
    return "" if (Path(sysconfig.get_path("include")) / "Python.h").exists() else "Python.h"


def _compile() -> None:
    # Not at the top: what says that nothing is to be done should not take seconds.
    from mypyc.build import mypycify
    from setuptools.command.build_ext import build_ext
    from setuptools.dist import Distribution

    class ParallelBuild(build_ext):  # type: ignore[misc]
        """Compiles on all cores: there is one extension, and it has many files."""

        def build_extensions(self) -> None:
            compile_files = self.compiler.compile

            def compile_each(sources: list[str], *rest: Any, **named: Any) -> list[str]:
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    made = pool.map(lambda one: compile_files([one], *rest, **named), sources)
                    return [name for names in made for name in names]

            self.compiler.compile = compile_each
            super().build_extensions()

    _BUILD.mkdir()
    os.chdir(_SOURCE)
    os.environ["MYPYPATH"] = str(_SOURCE)
    with _LOG.open("w") as log, contextlib.redirect_stdout(log):
        extensions = mypycify(
            ["--config-file=../pyproject.toml", *map(str, _sources())],
            group_name="quada.compiled",
            opt_level="2",
            debug_level="0",
            multi_file=True,
            target_dir=str(_BUILD),
        )
        for extension in extensions:
            extension.include_dirs.append(str(_BUILD / "quada"))
        build = ParallelBuild(Distribution({"name": "quada", "ext_modules": extensions}))
        build.inplace = True
        build.build_temp = str(_BUILD / "objects")
        build.ensure_finalized()
        build.run()


if __name__ == "__main__":
    main()
