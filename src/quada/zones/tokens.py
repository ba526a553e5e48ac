r"""Zone text cut into tokens: quotes, escapes, parentheses and comments (RFC 1035 5.1).

A token keeps its text as written, quotes included, so that a quoted `"@"` stays different from `@`
and dnspython can read whatever this house has no reader for. A quote right after `=` belongs to its
word: `alpn="h2,h3"` (RFC 9460 2.1).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import quada.wire.faults as faults

MAX_ENTRY_CHARACTERS: Final = 1 << 20
"""Our choice because 65,535 octets of RDATA written as `\\DDD` escapes take 262,140 characters."""

_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\n\f\v]+)
    | (?P<comment>;.*)
    | (?P<open>\() | (?P<close>\))
    | (?P<quoted>"(?:[^"\\\n]|\\.)*")
    | (?P<word>(?:[^ \t\r\n\f\v;()"\\]|\\.)+(?:(?<==)"(?:[^"\\\n]|\\.)*")?)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A token as written, with the line and the column (from 1) where it starts."""

    text: str
    line: int
    column: int


class Entry:
    """A record or directive in the making: tokens, and how many parentheses are still open."""

    __slots__ = ("_size", "depth", "is_indented", "opened", "tokens")

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.depth = 0
        self.opened = (0, 0)
        self.is_indented = False
        self._size = 0

    def add(self, line: str, number: int) -> None:
        """Cut one more line. Raises: Misread at the token that cannot be one."""
        if not self.tokens and not self.depth:
            self.is_indented = line[:1] in (" ", "\t")
        self._size += len(line)
        if self._size > MAX_ENTRY_CHARACTERS:
            raise Misread(
                f"record is longer than {MAX_ENTRY_CHARACTERS} characters",
                line=number,
                remedy="close the parenthesis or split the record",
            )
        at, size = 0, len(line)
        while at < size:
            match = _TOKEN.match(line, at)
            if match is None:
                what = "quote is not closed on its line" if line[at] == '"' else "escape ends early"
                raise Misread(what, line=number, column=at + 1)
            kind = match.lastgroup
            if kind in ("word", "quoted"):
                self.tokens.append(Token(match[0], number, at + 1))
            elif kind == "open":
                if not self.depth:
                    self.opened = (number, at + 1)
                self.depth += 1
            elif kind == "close":
                if not self.depth:
                    raise Misread("closing parenthesis without an open one", number, at + 1)
                self.depth -= 1
            at = match.end()


class Misread(Exception):
    """A fault in zone text whose place is not yet known in full: `index` counts record fields."""

    def __init__(
        self, message: str, line: int = 0, column: int = 0, *, index: int = -1, remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.index = index
        self.remedy = remedy


def unescape(text: str) -> bytes:
    r"""Give the octets of a character-string token, quoted or bare, with `\X` and `\DDD` resolved.

    Raises: DataFault where an escape is above 255. RFC: 1035 5.1
    """
    if len(text) > 1 and text[0] == '"':
        text = text[1:-1]
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise faults.DataFault("text holds half a character (a lone surrogate)") from None
    if b"\\" not in raw:
        return raw
    out = bytearray()
    at, size = 0, len(raw)
    while at < size:
        octet = raw[at]
        at += 1
        if octet != 0x5C:
            out.append(octet)
            continue
        digits = raw[at : at + 3]
        if len(digits) == 3 and digits.isdigit():
            if int(digits) > 255:
                raise faults.DataFault(f"escape \\{digits.decode()} is above \\255")
            out.append(int(digits))
            at += 3
        elif at < size:
            out.append(raw[at])
            at += 1
        else:
            raise faults.DataFault("text ends inside an escape")
    return bytes(out)


def quote(octets: bytes) -> str:
    """Write octets as a quoted character-string, printable ASCII only."""
    return '"' + "".join(_QUOTED[octet] for octet in octets) + '"'


_QUOTED: Final = [
    f"\\{chr(octet)}"
    if octet in b'"\\'
    else chr(octet)
    if 0x20 <= octet <= 0x7E
    else f"\\{octet:03d}"
    for octet in range(256)
]
