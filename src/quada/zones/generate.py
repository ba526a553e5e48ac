"""$GENERATE: many records from one line (a directive of BIND, kept by most servers)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from quada.zones.tokens import Misread

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_GENERATED: Final = 1 << 20
"""Records that the $GENERATE lines of one zone may make together.

Our choice because it covers sixteen /16 blocks of IPv4 and ends a hostile line within seconds.
"""

_RANGE: Final = re.compile(r"(\d{1,10})-(\d{1,10})(?:/(\d{1,10}))?")
_PLACE: Final = re.compile(
    r"\\\$|\$\$|\$(?:\{(?P<offset>[+-]?\d{1,10})(?:,(?P<width>\d{1,3})(?:,(?P<base>[doxXnN]))?)?\})?"
)


def generate(span: str, templates: list[str]) -> Iterator[list[str]]:
    """Give the filled templates for each number of a range `start-stop[/step]`.

    Raises: Misread for a range that is not one, runs backwards or is too long, and for an offset
    that makes a number negative.
    """
    match = _RANGE.fullmatch(span)
    if match is None:
        raise Misread(f"{span!r} is not a range", index=0, remedy="write 1-254 or 0-255/2")
    start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if stop < start or not step:
        raise Misread(f"range {span} runs backwards or stands still", index=0)
    if (stop - start) // step >= MAX_GENERATED:
        raise Misread(f"range {span} makes more than {MAX_GENERATED} records", index=0)
    for number in range(start, stop + 1, step):
        yield [_fill(template, number) for template in templates]


def _fill(template: str, number: int) -> str:
    def one(match: re.Match[str]) -> str:
        if match[0] in ("\\$", "$$"):
            return "$"
        value = number + int(match["offset"] or 0)
        if value < 0:
            raise Misread(f"{match[0]} makes the negative number {value}", index=0)
        width, base = int(match["width"] or 0), match["base"] or "d"
        if base in "nN":
            # Nibbles, low one first, for ip6.arpa; the width counts the dots.
            count = max((width + 1) // 2, 1)
            digits = f"{value:x}".zfill(count)[::-1]
            text = ".".join(digits)
            return text.upper() if base == "N" else text
        return format(value, f"0{width}{base}" if width else base)

    return _PLACE.sub(one, template)
