"""Negative trust anchors an operator sets, kept over restarts (RFC 7646).

The supervisor writes the file; every resolver worker reads it when it starts and when it is told.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import quada.wire.names as names
from quada.disk import replacing
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from pathlib import Path

    from quada.resolver.trust import Anchors

LIFE_MAX_S: Final = 7 * 86_400  # RFC 7646 2: at most a week
_COUNT_MAX: Final = 1_000  # our choice: validation is not switched off name by name


def read_distrust(file: Path, now_s: int) -> dict[bytes, int]:
    """Read names and when validation is on again for each; the rest of the file is left out."""
    try:
        entries = json.loads(file.read_text())
        read = {bytes.fromhex(name): int(until) for name, until in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return {name: until for name, until in read.items() if now_s < until <= now_s + LIFE_MAX_S}


def set_distrust(file: Path, name: str, for_s: int, now_s: int) -> dict[str, Any]:
    """Turn validation off at a name and below for so many seconds; 0 turns it on again.

    Gives all that holds now. Raises: ConfigFault for a time that is too long, or too many names.
    """
    if not 0 <= for_s <= LIFE_MAX_S:
        raise ConfigFault(
            f"{for_s} s is more than a week", place="--for",
            remedy="it bridges an outage and does not replace DNSSEC (RFC 7646)",
        )  # fmt: skip
    held = read_distrust(file, now_s)
    origin = names.from_text(name).lower()
    held.pop(origin, None)
    if for_s:
        if len(held) >= _COUNT_MAX:
            raise ConfigFault(f"there are {len(held)} negative trust anchors", place=str(file))
        held[origin] = now_s + for_s
    with replacing(file) as made:
        json.dump({one.hex(): until for one, until in held.items()}, made)
    return show_distrust(file, now_s)


def show_distrust(file: Path, now_s: int) -> dict[str, Any]:
    """Give names and the seconds that validation stays off for each."""
    return {
        names.to_text(name): until - now_s for name, until in read_distrust(file, now_s).items()
    }


def apply_distrust(file: Path, anchors: Anchors, now_s: int) -> None:
    """Have a validator's anchors follow the file."""
    anchors.negative.clear()
    for name, until_s in read_distrust(file, now_s).items():
        anchors.distrust(name, until_s)
