"""DS bootstrapping (RFC 9615): a child's CDS and CDNSKEY, told again under its name servers' names.

Two sides. As the child's operator we publish `_dsboot.CHILD._signal.NS` in our signed zones for the
children we sign (`Signals`). As a parent would, we judge whether what was seen of a child lets its
first DS be taken (`judge`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.records import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from quada.zones.signing import KeySet
    from quada.zones.zone import Zone

_BOOT: Final = b"\x07_dsboot"  # RFC 9615 4.1
_SIGNAL: Final = b"\x07_signal"  # RFC 9615 2
_NAME_OCTETS: Final = 255  # RFC 1035 3.1
TYPES: Final = (codes.CDS, codes.CDNSKEY)

# RFC 8078 4: what asks the parent to remove every DS.
CDS_DELETE: Final = b"\x00\x00\x00\x00\x00"
CDNSKEY_DELETE: Final = b"\x00\x00\x03\x00\x00"


def signal_name(child: bytes, server: bytes) -> bytes | None:
    """Give where a child is signalled under one of its name servers; None where that is no name.

    A server below the child cannot vouch for it (RFC 9615 4.1), and some names are too long.
    """
    if names.is_subdomain(server, child):
        return None
    name = _BOOT + child[:-1] + _SIGNAL + server
    return name if len(name) <= _NAME_OCTETS else None


class Announced(NamedTuple):
    """What a child asks its parent for, and by which servers it is served."""

    servers: tuple[bytes, ...]
    ttl_s: int
    cds: tuple[bytes, ...]
    cdnskeys: tuple[bytes, ...]


def announced(content: Zone, keys: KeySet | None) -> Announced | None:
    """Give what a child's version announces; None where it asks for no DS."""
    servers = content.rrset(content.origin, codes.NS)
    if keys is None or servers is None or not keys.cds or CDS_DELETE in keys.cds:
        return None
    return Announced(
        tuple(sorted(rdata.lower() for rdata in servers.rdatas)), keys.dnskey_ttl, keys.cds,
        keys.cdnskeys,
    )  # fmt: skip


class Signals:
    """What is to be signalled of the children signed here, by name server."""

    def __init__(self) -> None:
        self._children: dict[bytes, Announced] = {}
        self._by_server: dict[bytes, set[bytes]] = {}

    def put(self, child: bytes, what: Announced | None) -> None:
        """Signal a child from now on; None ends it: it is not signed, or its parent has DS.

        RFC: 9615 5.1, records that were acted upon are to be removed
        """
        before = self._children.pop(child, None)
        for server in before.servers if before is not None else ():
            children = self._by_server[server]
            children.discard(child)
            if not children:
                del self._by_server[server]
        if what is not None:
            self._children[child] = what
            for server in what.servers:
                self._by_server.setdefault(server, set()).add(child)

    def records(self, content: Zone, hosted: Collection[bytes]) -> tuple[Record, ...]:
        """Give what a zone must signal: for servers whose names it holds itself.

        Takes the zones that are served here: a name goes to the deepest of them, and never below a
        zone cut. A name that the content has itself is the operator's own.
        """
        out: list[Record] = []
        for server, children in self._by_server.items():
            if not _holds(content, server, hosted):
                continue
            for child in children:
                name = signal_name(child, server)
                if name is None or content.node(name):
                    continue
                what = self._children[child]
                for rdtype, rdatas in zip(TYPES, (what.cds, what.cdnskeys), strict=True):
                    out += [Record(name, rdtype, what.ttl_s, rdata) for rdata in rdatas]
        return tuple(sorted(out))


def _holds(content: Zone, server: bytes, hosted: Collection[bytes]) -> bool:
    if not names.is_subdomain(server, content.origin):
        return False
    while server != content.origin:
        if server in hosted or content.rrset(server, codes.NS) is not None:
            return False
        server = names.parent(server)
    return True


class Seen(NamedTuple):
    """What one place gave for one type; None for no answer that counts, and why."""

    place: str
    rdtype: int
    rdatas: frozenset[bytes] | None
    why: str = ""


class Look(NamedTuple):
    """All that a parent looks at before a child's first DS.

    `ds` is what the parent's servers have, `servers` the delegation's NS; `apex` what each address
    of each of them gave, `signals` what lay under each name that is not below the child.
    """

    child: bytes
    ds: tuple[Seen, ...]
    servers: tuple[bytes, ...]
    apex: tuple[Seen, ...]
    signals: tuple[Seen, ...]


def judge(look: Look) -> list[str]:
    """Give every reason why the parent must not take the child's CDS; none where it may.

    RFC: 9615 4.2, whose steps are numbered below; 7344 4; 8078 4
    """
    refusals = []
    # Step 1: no DS yet, and a server that is not below the child.
    has = [one.place for one in look.ds if one.rdatas]
    if has:
        refusals.append(f"{has[0]} has DS already: there is nothing to bootstrap")
    refusals += [f"{one.place}: {one.why}" for one in look.ds if one.rdatas is None]
    if not look.servers:
        refusals.append("the parent has no delegation")
    elif all(signal_name(look.child, server) is None for server in look.servers):
        refusals.append("no name server can signal: all lie below the child, or names are too long")
    # Step 2 and 3: every server and every signal must answer.
    refusals += [
        f"{one.place}: {one.why}" for one in (*look.apex, *look.signals) if one.rdatas is None
    ]
    # Step 4: equal contents, each type by itself; an empty RRset differs from one that is not.
    for rdtype, what in zip(TYPES, ("CDS", "CDNSKEY"), strict=True):
        heard = [one for one in (*look.apex, *look.signals) if one.rdtype == rdtype]
        refusals += _differing([one for one in heard if one.rdatas is not None], what)
    if not refusals:
        refusals += _unfit(look)
    return refusals


def _differing(heard: list[Seen], what: str) -> list[str]:
    if not heard:
        return []
    first = heard[0]
    return [
        f"{one.place} gives {'other' if one.rdatas else 'no'} {what}"
        f"{' than' if one.rdatas else ', unlike'} {first.place}"
        for one in heard
        if one.rdatas != first.rdatas
    ]


def _unfit(look: Look) -> list[str]:
    rdatas = _heard(look.apex, codes.CDS) | _heard(look.apex, codes.CDNSKEY)
    if not rdatas:
        return ["the child has neither CDS nor CDNSKEY"]
    if rdatas & {CDS_DELETE, CDNSKEY_DELETE}:
        return ["the child asks for no DS (RFC 8078 4)"]
    return []


def wanted_cds(look: Look) -> frozenset[bytes]:
    """Give the CDS the child has, as its servers gave them."""
    return _heard(look.apex, codes.CDS)


def wanted_cdnskeys(look: Look) -> frozenset[bytes]:
    """Give the CDNSKEY the child has, as its servers gave them."""
    return _heard(look.apex, codes.CDNSKEY)


def _heard(seen: Iterable[Seen], rdtype: int) -> frozenset[bytes]:
    return frozenset(rdata for one in seen if one.rdtype == rdtype for rdata in one.rdatas or ())
