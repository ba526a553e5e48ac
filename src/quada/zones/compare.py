"""A zone beside what a provider exports of it: what is missing there, and what differs.

Exports are record sets as data: those of `aws route53 list-resource-record-sets` and of Google's
`gcloud dns record-sets list --format json`. No credentials are needed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
from quada.wire.faults import DataFault
from quada.zones.rdata import read_value, type_name, type_number, write_rdata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.zones.zone import Zone

_SETS_MAX: Final = 100_000
_OCTAL: Final = re.compile(r"\\([0-3][0-7]{2})")
_DECIMAL: Final = re.compile(r"\\([0-2][0-9]{2})")
_ORDER: Final = {"missing": 0, "values": 1, "ttl": 2, "alias": 3, "extra": 4}


class Exported(NamedTuple):
    """One record set of a provider. `alias` is the target where it has no records of its own."""

    owner: bytes
    rdtype: int
    ttl: int
    rdatas: frozenset[bytes]
    alias: str = ""


class Difference(NamedTuple):
    """One way in which they differ: missing, extra, values, ttl, or an alias of theirs."""

    kind: str
    owner: str
    rdtype: str
    ours: str
    theirs: str


def read_export(text: str, origin: bytes, place: str = "export") -> list[Exported]:
    """Read an export of either provider. Raises: DataFault with the number of the record set."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataFault(f"this is no JSON: {error}", place=place) from error
    if isinstance(data, dict) and isinstance(data.get("ResourceRecordSets"), list):
        found, read = data["ResourceRecordSets"], _route53
    elif isinstance(data, list):
        found, read = data, _clouddns
    elif isinstance(data, dict) and isinstance(data.get("rrsets"), list):
        found, read = data["rrsets"], _clouddns
    else:
        raise DataFault(
            "this is no list of record sets", place=place,
            remedy="give what `aws route53 list-resource-record-sets` or `gcloud dns record-sets"
            " list --format json` prints",
        )  # fmt: skip
    out: list[Exported] = []
    for number, one in enumerate(found[:_SETS_MAX]):
        try:
            out.append(read(one, origin))
        except (DataFault, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataFault(f"record set {number}: {error}", place=place) from error
    return out


def of_zone(zone: Zone) -> list[Exported]:
    """Give a zone's record sets as if exported, to compare with a zone file."""
    return [
        Exported(owner, rrset.rdtype, rrset.ttl, frozenset(rrset.rdatas))
        for owner, node in zone.nodes.items()
        for rrset in node
    ]


def compare(zone: Zone, theirs: Iterable[Exported]) -> list[Difference]:
    """Compare a zone with what is exported: AAAA first, SOA and NS of the apex left out."""
    there = {(one.owner, one.rdtype): one for one in theirs}
    aliases = {(one.owner, one.rdtype): one.alias for one in there.values() if one.alias}
    seen = set()
    found = []
    for owner, node in zone.nodes.items():
        for rrset in node:
            if owner == zone.origin and rrset.rdtype in (codes.SOA, codes.NS):
                continue
            key = (owner, rrset.rdtype)
            seen.add(key)
            ours = _text(rrset.rdtype, rrset.rdatas)
            one = there.get(key)
            if rrset.rdtype == codes.ALIAS:
                kinds = [aliases.get((owner, kind)) for kind in (codes.AAAA, codes.A)]
                seen |= {(owner, kind) for kind in (codes.AAAA, codes.A)}
                if kinds[0] is None:
                    theirs_text = f"A only: {kinds[1]}" if kinds[1] else ""
                    found.append(_difference("missing", owner, codes.AAAA, ours, theirs_text))
            elif one is None:
                found.append(_difference("missing", owner, rrset.rdtype, ours, ""))
            elif one.alias:
                found.append(_difference("alias", owner, rrset.rdtype, ours, one.alias))
            elif one.rdatas != frozenset(rrset.rdatas):
                said = _text(rrset.rdtype, one.rdatas)
                found.append(_difference("values", owner, rrset.rdtype, ours, said))
            elif one.ttl != rrset.ttl:
                found.append(_difference("ttl", owner, rrset.rdtype, str(rrset.ttl), str(one.ttl)))
    for key, one in there.items():
        is_theirs = one.owner == zone.origin and one.rdtype in (codes.SOA, codes.NS)
        if key not in seen and not is_theirs:
            said = one.alias or _text(one.rdtype, one.rdatas)
            found.append(_difference("extra", one.owner, one.rdtype, "", said))
    aaaa = type_name(codes.AAAA)
    return sorted(found, key=lambda d: (d.rdtype != aaaa, _ORDER[d.kind], d.owner, d.rdtype))


def _route53(data: Any, origin: bytes) -> Exported:
    # Route 53 escapes in octal (an asterisk is \052), zone text in decimal (RFC 1035 5.1).
    name = _OCTAL.sub(lambda found: f"\\{int(found[1], 8):03d}", str(data["Name"]))
    owner, rdtype = _owner(name, origin), _type(data["Type"])
    alias = data.get("AliasTarget")
    if alias is not None:
        return Exported(owner, rdtype, 0, frozenset(), str(alias["DNSName"]))
    values = [record["Value"] for record in data["ResourceRecords"]]
    return _exported(owner, rdtype, int(data["TTL"]), values, origin)


def _clouddns(data: Any, origin: bytes) -> Exported:
    owner, rdtype = _owner(data["name"], origin), _type(data["type"])
    return _exported(owner, rdtype, int(data.get("ttl", 0)), data.get("rrdatas", []), origin)


def _exported(owner: bytes, rdtype: int, ttl: int, values: list[Any], origin: bytes) -> Exported:
    # Their names are absolute, with or without the closing dot.
    rdatas = frozenset(read_value(rdtype, str(value), names.ROOT) for value in values)
    return Exported(owner, rdtype, ttl, rdatas)


def _owner(text: Any, origin: bytes) -> bytes:
    written = str(text) if str(text).endswith(".") else f"{text}."
    owner = names.from_text(written).lower()
    if not names.is_subdomain(owner, origin):
        raise DataFault(f"{text} is not in {names.to_text(origin)}")
    return owner


def _type(text: Any) -> int:
    found = type_number(str(text))
    if found is None:
        raise DataFault(f"{text!r} is not a record type")
    return found


def _difference(kind: str, owner: bytes, rdtype: int, ours: str, theirs: str) -> Difference:
    return Difference(kind, names.to_text(owner), type_name(rdtype), ours, theirs)


def _text(rdtype: int, rdatas: Iterable[bytes]) -> str:
    return ", ".join(sorted(write_rdata(rdtype, rdata) for rdata in rdatas))


def changes(
    zone: Zone,
    theirs: Iterable[Exported],
    found: Iterable[Difference],
    provider: str,
    *,
    deletes: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Make a provider's change file that mends the differences, and say what it leaves alone.

    `provider` is `route53` (`aws route53 change-resource-record-sets --change-batch`) or `clouddns`
    (the body of a Cloud DNS change). What is only there goes only with `deletes`; aliases of theirs
    and our ALIAS have no words in the other's file. Raises: DataFault for another provider.
    """
    if provider not in ("route53", "clouddns"):
        raise DataFault(f"there is no provider {provider!r}", remedy="route53 or clouddns")
    there = {(names.to_text(one.owner), type_name(one.rdtype)): one for one in theirs}
    gone: list[tuple[str, str, int, list[str]]] = []
    made: list[tuple[str, str, int, list[str]]] = []
    left: list[str] = []
    for one in found:
        number = _type(one.rdtype)
        rrset = zone.rrset(names.from_text(one.owner).lower(), number)
        old = there.get((one.owner, one.rdtype))
        if one.kind == "alias" or (rrset is None and one.kind != "extra"):
            left.append(f"{one.owner} {one.rdtype}: an alias")
            continue
        if one.kind == "extra" and (not deletes or old is None or old.alias):
            left.append(f"{one.owner} {one.rdtype}: only there")
            continue
        if old is not None:
            values = sorted(write_rdata(number, rdata) for rdata in old.rdatas)
            gone.append((one.owner, one.rdtype, old.ttl, values))
        if rrset is not None:
            values = sorted(write_rdata(number, rdata) for rdata in rrset.rdatas)
            made.append((one.owner, one.rdtype, rrset.ttl, values))
    if provider == "clouddns":
        return {
            "kind": "dns#change",
            "deletions": [_clouddns_set(*one) for one in gone],
            "additions": [_clouddns_set(*one) for one in made],
        }, left
    kept = {(name, rdtype) for name, rdtype, _, _ in made}
    deleted = [one for one in gone if (one[0], one[1]) not in kept]
    return {
        "Comment": f"what {names.to_text(zone.origin)} has, serial {zone.serial}",
        "Changes": [
            *(_route53_change("DELETE", *one) for one in deleted),
            *(_route53_change("UPSERT", *one) for one in made),
        ],
    }, left


def _clouddns_set(name: str, rdtype: str, ttl: int, values: list[str]) -> dict[str, Any]:
    return {"name": name, "type": rdtype, "ttl": ttl, "rrdatas": values}


def _route53_change(
    action: str, name: str, rdtype: str, ttl: int, values: list[str]
) -> dict[str, Any]:
    records = [{"Value": value} for value in values]
    return {
        "Action": action,
        "ResourceRecordSet": {
            "Name": _DECIMAL.sub(lambda found: f"\\{int(found[1]):03o}", name),
            "Type": rdtype, "TTL": ttl, "ResourceRecords": records,
        },
    }  # fmt: skip
