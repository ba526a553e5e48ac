"""The five families of fault, named for who is to blame.

A fault says subject, fact, place and remedy. Outcomes of DNS itself (NXDOMAIN, NODATA, bogus,
refused) are values, never exceptions.
"""

from __future__ import annotations

from typing import ClassVar


class Fault(Exception):
    """The root of quada's own exceptions.

    Takes: a message (subject, fact) and optionally `place` (where) and `remedy` (what to do).
    `code` is stable and kebab-case: it appears in JSON output, events and the documentation.
    """

    code: ClassVar[str] = "fault"

    def __init__(self, message: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        then = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{self.message}{then}"


class PeerFault(Fault):
    """The other side of a conversation broke a rule of the protocol."""

    code = "peer-fault"


class MalformedMessage(PeerFault):
    """Octets that are not a DNS message: the answer is FORMERR, or silence (RFC 1035 4.1)."""

    code = "malformed-message"


class DataFault(Fault):
    """A zone, key or log line is wrong; `place` is file:line:column or owner/type."""

    code = "data-fault"


class ConfigFault(Fault):
    """A setting is wrong; `place` is the key path, with file and line where there is one."""

    code = "config-fault"


class ReachFault(Fault):
    """Somebody could not be reached: the message says who, over which family, for how long."""

    code = "reach-fault"


class HouseFault(Fault):
    """quada broke a promise to itself: a bug."""

    code = "house-fault"
