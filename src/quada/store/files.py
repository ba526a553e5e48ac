"""Zone files on disk: opened, included, written whole or not at all."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from quada.disk import replacing
from quada.wire.faults import DataFault
from quada.zones.read import Reading, read_text
from quada.zones.write import write_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from quada.zones.zone import Zone

    Progress = Callable[[int, float], None]


def load_zone_file(path: Path | str, origin: bytes, progress: Progress | None = None) -> Zone:
    """Load a zone file into a version.

    Takes: the path, the zone's apex name, and `progress`, called now and then with the records read
    and the part of the file behind (0 to 1).
    Raises: DataFault with file:line:column; also where the file cannot be opened.
    """
    return read_zone_file(path, origin, progress=progress).zone


def read_zone_file(
    path: Path | str,
    origin: bytes,
    *,
    progress: Progress | None = None,
    keeps_going: bool = False,
    keeps_places: bool = False,
) -> Reading:
    """Load a zone file and give all that its text says; arguments as for `zones.read_text`.

    $INCLUDE paths are relative to the file that holds the first line, as BIND's are to its
    directory.
    """
    path = Path(path)
    with _opened(path) as file:
        size = max(os.fstat(file.fileno()).st_size, 1)

        def advance(count: int) -> None:
            if progress is not None:
                progress(count, min(file.buffer.tell() / size, 1.0))  # type: ignore[attr-defined]

        def include(name: str) -> str:
            return (path.parent / name).read_text(encoding="utf-8", errors="surrogateescape")

        # A version is millions of live objects and no circles: the collector only walks them.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return read_text(
                file,
                origin,
                include=include,
                place=str(path),
                progress=advance if progress is not None else None,
                keeps_going=keeps_going,
                keeps_places=keeps_places,
            )
        finally:
            if was_enabled:
                gc.enable()


def write_zone_file(path: Path | str, zone: Zone, *, is_portable: bool = False) -> None:
    """Write a version as zone text, atomically: readers see the old file or the whole new one.

    Raises: DataFault where the directory cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as file:
            file.writelines(write_zone(zone, is_portable=is_portable))
    except OSError as error:
        raise DataFault(f"cannot write: {error.strerror}", place=str(path)) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        file = path.open(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DataFault(
            f"cannot open the zone file: {error.strerror}",
            place=str(path),
            remedy="check the path and its permissions",
        ) from error
    with file:
        yield file
