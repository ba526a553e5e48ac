"""Judge keys and signatures server by server: what a validator that asks this one would find."""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import dns.dnssec
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.CDNSKEY
import dns.rdtypes.ANY.CDS
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
import dns.rdtypes.ANY.RRSIG
import dns.rrset

from quada.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quada.doctor.observation import Exchange, Observation

CDNSKEY = dns.rdtypes.ANY.CDNSKEY.CDNSKEY
CDS = dns.rdtypes.ANY.CDS.CDS
DNSKEY = dns.rdtypes.ANY.DNSKEY.DNSKEY
DS = dns.rdtypes.ANY.DS.DS
RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG
_T = TypeVar("_T", bound=dns.rdata.Rdata)
_KEYS_MAX: Final = 16  # our choice: signatures cost time, and a zone may hold keys without end
_SIGNATURES_MAX: Final = 4
_DIGESTS: Final = (1, 2, 4)  # of others nobody here can tell
_UNREADABLE: Final = (dns.exception.DNSException, ValueError, IndexError, struct.error)
"""What dnspython raises for keys and signatures that are nonsense."""
_DELETES: Final = 0  # the algorithm of a CDS that takes DS away (RFC 8078 4)
_NSEC: Final = (dns.rdatatype.NSEC, dns.rdatatype.NSEC3)


def judge_keys(observation: Observation) -> Iterator[Finding]:
    """Judge DS, keys, signatures and denials of each server, and what CDS asks of the parent."""
    zone = observation.zone
    parent = tuple(
        item for item in _union(observation, zone, DS, "ds")
        if item.digest_type in _DIGESTS
    )  # fmt: skip
    keys = _union(observation, zone, DNSKEY, "large-tcp", "large-1232")
    if parent:
        yield from _judge_ds(observation, parent)
    if keys:
        yield from _judge_signatures(observation, keys)
    if keys and parent:
        yield from _judge_denials(observation)
    if keys or parent:
        yield from _judge_cds(observation, parent, keys)
        yield _judge_reports(observation)


def _judge_ds(observation: Observation, parent: tuple[DS, ...]) -> Iterator[Finding]:
    """Every server must hold a key that DS names (RFC 4035 5.2), for each of its algorithms."""
    zone = dns.name.from_text(observation.zone)
    lacking: dict[str, list[str]] = {}
    told = {(item.algorithm, item.key_tag) for item in parent}
    good = 0
    for one in observation.about("large-tcp"):
        if not one.is_good:
            continue
        keys = _records(one, observation.zone, DNSKEY)
        named = {item.algorithm for item in parent if any(_names(zone, item, key) for key in keys)}
        lost = {algorithm for algorithm, _ in told} - named
        if not named:
            lacking.setdefault(one.server, []).append(f"{one.address}: {_tags(keys)}")
        elif lost:
            yield Finding(
                "ds-mismatch", Verdict.WARN, f"{one.server} {one.address}",
                f"no key for the DS of algorithm {', '.join(map(str, sorted(lost)))}",
            )  # fmt: skip
        else:
            good += 1
    for server, rows in lacking.items():
        yield Finding(
            "ds-mismatch", Verdict.FAIL, server,
            f"none of its keys is one of the parent's DS ({_tags(parent)})", tuple(rows),
        )  # fmt: skip
    if good and not lacking:
        yield Finding("ds-mismatch", Verdict.PASS, observation.zone, f"DS {_tags(parent)}")


def _judge_signatures(observation: Observation, keys: tuple[DNSKEY, ...]) -> Iterator[Finding]:
    """Tell who gives what does not validate, or no signature, where another gives what does."""
    zone = dns.name.from_text(observation.zone)
    good: set[tuple[str, int]] = set()
    bad: dict[tuple[str, int], list[tuple[Exchange, str]]] = {}
    for one in observation.about("aaaa", "a", "large-tcp"):
        answer = one.answer
        if answer is None or not one.is_good or answer.flags & dns.flags.TC:
            continue
        for rrset in answer.answer:
            what = (rrset.name.to_text().lower(), int(rrset.rdtype))
            if rrset.rdtype == dns.rdatatype.RRSIG or not rrset.name.is_subdomain(zone):
                continue
            why = _why_not(answer, rrset, zone, keys, observation.at)
            if why:
                bad.setdefault(what, []).append((one, why))
            else:
                good.add(what)
    rows: dict[str, list[str]] = {}
    for (name, rdtype), seen in bad.items():
        for one, why in seen if (name, rdtype) in good else ():
            kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))
            row = f"{one.address}: {name} {kind} {why}"
            rows.setdefault(one.server, []).append(row)
    for server, evidence in rows.items():
        over = {6 if ":" in row.split(" ")[0][:-1] else 4 for row in evidence}
        yield Finding(
            "server-bogus", Verdict.FAIL, server,
            f"its answers over {' and '.join(f'IPv{f}' for f in sorted(over, reverse=True))} do not"
            " validate, and others' do", tuple(evidence),
        )  # fmt: skip


def _why_not(
    answer: dns.message.Message, rrset: dns.rrset.RRset, zone: dns.name.Name,
    keys: tuple[DNSKEY, ...], now: float,
) -> str:  # fmt: skip
    """Say why an RRset does not validate by these keys; nothing where it does."""
    signatures = [
        (found, item)
        for found in answer.answer
        if found.rdtype == dns.rdatatype.RRSIG and found.name == rrset.name
        and found.covers == rrset.rdtype
        for item in found
        if item.signer == zone
    ]  # fmt: skip
    why = "has no signature"
    for _, signature in islice(signatures, _SIGNATURES_MAX):
        try:
            dns.dnssec.validate_rrsig(
                rrset, signature, {zone: dns.rdataset.from_rdata_list(0, list(keys))}, now=now
            )
        except dns.exception.UnsupportedAlgorithm:
            return ""  # nobody here can tell
        except _UNREADABLE as error:
            why = f"does not validate: {str(error) or type(error).__name__}"[:120]
            continue
        return ""
    return why


def _judge_denials(observation: Observation) -> Iterator[Finding]:
    """Of a name without AAAA a signed zone must say so, and no more (RFC 4035 3.1.3.1)."""
    wrong: dict[str, str] = {}
    for one in observation.about("aaaa"):
        answer = one.answer
        if answer is None or not one.is_good or answer.answer:
            continue
        proofs = [r for r in answer.authority if r.rdtype in _NSEC]
        if not proofs:
            wrong.setdefault(one.server, "it gives no NSEC or NSEC3")
        elif answer.rcode() == dns.rcode.NOERROR and any(
            _covers_name(proof, one.qname) and _has(proof, dns.rdatatype.AAAA) for proof in proofs
        ):
            wrong.setdefault(one.server, "the record that should deny AAAA lists it")
    for server, word in wrong.items():
        yield Finding(
            "denial", Verdict.FAIL, server, f"{observation.name} has no AAAA there: {word}"
        )


def _covers_name(proof: dns.rrset.RRset, name: str) -> bool:
    if proof.rdtype == dns.rdatatype.NSEC:
        return bool(proof.name == dns.name.from_text(name))
    item = proof[0]
    if not isinstance(item, dns.rdtypes.ANY.NSEC3.NSEC3) or item.iterations > 500:
        return False
    hashed = dns.dnssec.nsec3_hash(name, item.salt, item.iterations, item.algorithm)
    return bool(proof.name.labels[0].upper() == hashed.encode())


def _has(proof: dns.rrset.RRset, rdtype: int) -> bool:
    """Whether a record's type bit map has a type (RFC 4034 4.1.2)."""
    window, bit = divmod(rdtype, 256)
    for item in proof:
        if isinstance(item, (dns.rdtypes.ANY.NSEC.NSEC, dns.rdtypes.ANY.NSEC3.NSEC3)):
            for number, octets in item.windows:
                octet = octets[bit // 8] if bit // 8 < len(octets) else 0
                if number == window and octet & (0x80 >> bit % 8):
                    return True
    return False


def _judge_cds(
    observation: Observation, parent: tuple[DS, ...], keys: tuple[DNSKEY, ...]
) -> Iterator[Finding]:
    """CDS and CDNSKEY must be such that the parent may follow them (RFC 7344 4, 4.1)."""
    zone = observation.zone
    if not any(one.is_good for one in observation.about("cds", "cdnskey")):
        return
    differing = _differing(observation, "cds", CDS) or _differing(observation, "cdnskey", CDNSKEY)
    if differing:
        yield Finding("cds", Verdict.WARN, zone, f"servers give different {differing}")
        return
    cds = _union(observation, zone, CDS, "cds")
    cdnskey = _union(observation, zone, CDNSKEY, "cdnskey")
    verdict, word = _say_cds(dns.name.from_text(zone), cds, cdnskey, keys)
    if verdict is Verdict.PASS and parent:
        if not _signers(observation) & _tag_set(parent):
            verdict = Verdict.WARN
            word = "no key that the parent's DS names signs them: it may not follow"
        elif cds and {item.to_text() for item in cds} != {item.to_text() for item in parent}:
            verdict = Verdict.INFO
            word = f"the parent has DS {_tags(parent)} yet, not {_tags(cds)}"
    yield Finding("cds", verdict, zone, word)


def _judge_reports(observation: Observation) -> Finding:
    """Tell of the agent that resolvers report errors to (RFC 9567 6.2)."""
    agents = {
        option.agent_domain.to_text()
        for one in observation.about("edns", "aaaa", "ns")
        for option in (one.answer.options if one.answer is not None else ())
        if isinstance(option, dns.edns.ReportChannelOption)
    }
    word = f"errors are reported to {', '.join(sorted(agents))}" if agents else "it names no agent"
    return Finding("report-channel", Verdict.INFO, observation.zone, word)


def _differing(observation: Observation, about: str, kind: type[CDS] | type[CDNSKEY]) -> str:
    sets = {
        frozenset(item.to_text() for item in _records(one, observation.zone, kind))
        for one in observation.about(about)
        if one.is_good
    }
    return about.upper() if len(sets) > 1 else ""


def _say_cds(
    zone: dns.name.Name,
    cds: tuple[CDS, ...],
    cdnskey: tuple[CDNSKEY, ...],
    keys: tuple[DNSKEY, ...],
) -> tuple[Verdict, str]:
    """Say what following them would do to the zone."""
    if not cds and not cdnskey:
        return Verdict.INFO, "no CDS: the parent does not follow its keys"
    deleting = [one.algorithm == _DELETES for one in cds]
    deleting += [one.algorithm == _DELETES for one in cdnskey]
    if any(deleting):
        if all(deleting):
            return Verdict.INFO, "it asks the parent to take the DS away"
        return Verdict.FAIL, "it asks the parent to take the DS away, and for others"
    if cds and not any(_names(zone, item, key) for item in cds for key in keys):
        return Verdict.FAIL, f"CDS {_tags(cds)} name no key that the zone has"
    if cdnskey and not {item.to_text() for item in cdnskey} & {key.to_text() for key in keys}:
        return Verdict.FAIL, f"CDNSKEY {_tags(cdnskey)} are no keys that the zone has"
    if cds and cdnskey and _tag_set(cds) != _tag_set(cdnskey):
        return Verdict.WARN, f"CDS {_tags(cds)} and CDNSKEY {_tags(cdnskey)} differ"
    return Verdict.PASS, f"{_tags((*cds, *cdnskey))} are keys that the zone has"


def _signers(observation: Observation) -> set[int]:
    """Give the tags of the keys that sign CDS or CDNSKEY."""
    wanted = (dns.rdatatype.CDS, dns.rdatatype.CDNSKEY)
    return {
        item.key_tag
        for one in observation.about("cds", "cdnskey")
        for item in _records(one, observation.zone, RRSIG)
        if item.type_covered in wanted
    }


def _names(zone: dns.name.Name, ds: DS | CDS, key: DNSKEY) -> bool:
    """Whether a DS or CDS is of this key."""
    try:
        made = dns.dnssec.make_ds(
            zone, key, ds.digest_type, validating=True, policy=dns.dnssec.allow_all_policy
        )
    except _UNREADABLE:
        return False
    return (made.key_tag, made.algorithm, made.digest) == (ds.key_tag, ds.algorithm, ds.digest)


def _union(observation: Observation, name: str, kind: type[_T], *topics: str) -> tuple[_T, ...]:
    """Give what all servers together say, each record once, and a bounded number of them."""
    found = {
        item.to_text(): item
        for one in observation.about(*topics)
        for item in _records(one, name, kind)
    }
    return tuple(islice(found.values(), _KEYS_MAX))


def _records(one: Exchange, name: str, kind: type[_T]) -> tuple[_T, ...]:
    answer = one.answer
    return tuple(
        item
        for rrset in (answer.answer if answer is not None else ())
        if rrset.name.to_text().lower() == name
        for item in rrset
        if isinstance(item, kind)
    )


def _tags(items: Iterable[DS | CDS | DNSKEY | CDNSKEY]) -> str:
    """Write key tags."""
    return ", ".join(map(str, sorted(_tag_set(items)))) or "none"


def _tag_set(items: Iterable[DS | CDS | DNSKEY | CDNSKEY]) -> set[int]:
    return {
        dns.dnssec.key_id(item) if isinstance(item, (DNSKEY, CDNSKEY)) else item.key_tag
        for item in items
    }
