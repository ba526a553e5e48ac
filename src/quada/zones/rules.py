"""What a zone rule is, what it finds, and the list of all rules.

`docs/reference/checks.md` is written from this list. A rule's code never changes its meaning.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import MalformedMessage
from quada.zones.zone import Node, Zone, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quada.wire.records import RRset


class Severity(StrEnum):
    """How bad: an error breaks resolution for somebody, a warning may, an info is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Rule(NamedTuple):
    """One rule: its stable code, why it exists, what to do, and where it is written.

    `refuses` marks what keeps a zone version from replacing the one that serves: data from which no
    right answer can be made. Other errors are reported and served, because taking a whole zone
    back for one wrong record harms more than it helps.
    """

    code: str
    severity: Severity
    why: str
    fix: str
    rfc: str
    refuses: bool = False

    def at(
        self, owner: bytes, rdtype: int, message: str, *, fix: str = "", place: str = ""
    ) -> Finding:
        """Make a finding of this rule."""
        return Finding(self, self.severity, owner, rdtype, message, fix or self.fix, place)


class Finding(NamedTuple):
    """A rule broken at an owner and type (0 where the name itself is the matter)."""

    rule: Rule
    severity: Severity
    owner: bytes
    rdtype: int
    message: str
    fix: str
    place: str = ""

    @property
    def code(self) -> str:
        """The rule's code."""
        return self.rule.code


class Policy(NamedTuple):
    """What the house asks of its zones beyond the RFCs.

    `requires_aaaa` makes a host with A and no AAAA a warning; names in `ipv4_only` are exempt.
    `allows_special` silences findings about addresses of special ranges (a laboratory's zones).
    """

    requires_aaaa: bool = False
    ipv4_only: frozenset[bytes] = frozenset()
    allows_special: bool = False


class Subject(NamedTuple):
    """What the rules look at: the zone, its delegations, and the other zones of the house."""

    zone: Zone
    others: Mapping[bytes, Zone]
    cuts: frozenset[bytes]
    now_s: int | None
    policy: Policy

    def is_occluded(self, owner: bytes) -> bool:
        """Tell whether a name lies below a delegation or a DNAME of this zone."""
        while owner != self.zone.origin:
            owner = names.parent(owner)
            if owner in self.cuts and owner != self.zone.origin:
                return True
        return False

    def lookup(self, name: bytes) -> Node | None:
        """Give what a name owns in this zone or another one known here.

        Gives None where no known zone is responsible; an empty node where the name does not exist
        or is delegated away without glue.
        """
        name = name.lower()
        zone = self.home(name)
        if zone is None:
            return None
        node = zone.nodes.get(name)
        if node is not None:
            return node
        above = names.parent(name)
        while names.is_subdomain(above, zone.origin):
            # RFC 4592 3.3.1: the closest encloser's wildcard, and no other, speaks for the name.
            if above in zone.nodes:
                return zone.nodes.get(b"\x01*" + above, ())
            if above == names.ROOT:
                break
            above = names.parent(above)
        return ()

    def home(self, name: bytes) -> Zone | None:
        """Give the known zone that a name belongs to, or None where it is delegated or foreign."""
        above = name
        while True:
            zone = self.zone if above == self.zone.origin else self.others.get(above)
            if zone is not None:
                return zone
            if above == names.ROOT:
                return None
            if above in self.cuts and above != name:
                return self.zone if name in self.zone.nodes else None
            above = names.parent(above)


RULES: Final[dict[str, Rule]] = {}


def rule(
    code: str, severity: Severity, why: str, fix: str, rfc: str, *, refuses: bool = False
) -> Rule:
    """Enter a rule into the list."""
    made = RULES[code] = Rule(code, severity, why, fix, rfc, refuses)
    return made


def rrsets(zone: Zone, rdtype: int) -> Iterator[tuple[bytes, RRset]]:
    """Give all RRsets of one type with their owners."""
    for owner, node in zone.nodes.items():
        rrset = find(node, rdtype)
        if rrset is not None:
            yield owner, rrset


def target_of(rdtype: int, rdata: bytes) -> bytes | None:
    """Give the lower-cased name that NS, MX, SRV, CNAME, PTR, DNAME or ALIAS data point to."""
    skip = {codes.MX: 2, codes.SRV: 6}.get(rdtype, 0)
    try:
        name, end = names.parse_name(rdata, skip)
    except MalformedMessage:
        return None
    return name.lower() if end == len(rdata) else None


def text(name: bytes) -> str:
    """Write a name for a message."""
    return names.to_text(name)
