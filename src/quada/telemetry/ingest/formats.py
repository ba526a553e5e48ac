"""The formats there are, and which one a log is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quada.telemetry.ingest.bind import BindParser
from quada.telemetry.ingest.others import (
    CorednsParser,
    DnsmasqParser,
    PdnsAuthParser,
    PdnsRecursorParser,
    ResolvedParser,
    UnboundParser,
)
from quada.telemetry.ingest.parser import unwrap
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quada.telemetry.event import Role
    from quada.telemetry.ingest.parser import Parser

FORMATS: Final[dict[str, type[Parser]]] = {
    "bind": BindParser,
    "coredns": CorednsParser,
    "unbound": UnboundParser,
    "pdns-recursor": PdnsRecursorParser,
    "pdns-auth": PdnsAuthParser,
    "dnsmasq": DnsmasqParser,
    "systemd-resolved": ResolvedParser,
}
_MARKS: Final = (
    ("unbound", "] unbound["),
    ("pdns-recursor", 'msg="'),
    ("pdns-auth", "' wants '"),
    ("pdns-auth", " wants '"),
    ("dnsmasq", "dnsmasq"),
    ("systemd-resolved", "degraded feature set"),
    ("coredns", "plugin/errors"),
    ("bind", ": query: "),
    ("bind", "query failed ("),
    ("bind", ": response: "),
    ("bind", " resolving '"),
)


def detect(lines: Sequence[str]) -> str:
    """Say which format lines are of. Raises: ConfigFault where they are of none."""
    votes: dict[str, int] = {}
    for line in lines:
        text, _ = unwrap(line, 0)
        if "[INFO] " in text and " IN " in text and text.rstrip().endswith("s"):
            votes["coredns"] = votes.get("coredns", 0) + 1
            continue
        for name, mark in _MARKS:
            if mark in text:
                votes[name] = votes.get(name, 0) + 1
                break
    if not votes:
        raise ConfigFault(
            "these lines are of no format known", place="--format", remedy=", ".join(FORMATS)
        )
    return max(votes, key=lambda name: votes[name])


def make_parser(format_name: str, source: str, role: Role | None) -> Parser:
    """Make a parser. Raises: ConfigFault for an unknown format."""
    kind = FORMATS.get(format_name)
    if kind is None:
        raise ConfigFault(
            f"there is no format {format_name!r}", place="--format",
            remedy=", ".join((*FORMATS, "dnstap")),
        )  # fmt: skip
    return kind(source, role)
