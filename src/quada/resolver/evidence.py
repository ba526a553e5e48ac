"""What validation is given and what it gives: RRsets with signatures in, outcomes out."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.telemetry.event import Validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.wire.records import Record
    from quada.wire.skim import Skimmed

SECURE: Final = Validation.SECURE
INSECURE: Final = Validation.INSECURE
BOGUS: Final = Validation.BOGUS
INDETERMINATE: Final = Validation.INDETERMINATE

# Extended DNS Errors (RFC 8914 4; 27 from RFC 9276 6).
EDE_ALGORITHM: Final = 1
EDE_DIGEST: Final = 2
EDE_INDETERMINATE: Final = 5
EDE_BOGUS: Final = 6
EDE_EXPIRED: Final = 7
EDE_EARLY: Final = 8
EDE_NO_DNSKEY: Final = 9
EDE_NO_RRSIGS: Final = 10
EDE_NO_ZONE_KEY: Final = 11
EDE_NO_NSEC: Final = 12
EDE_UNREACHED: Final = 22
EDE_ITERATIONS: Final = 27

# How bad a state is, by its number: SECURE, INSECURE, INDETERMINATE, BOGUS, UNTRIED.
SEVERITY: Final = tuple(
    (SECURE, INSECURE, INDETERMINATE, BOGUS, Validation.UNTRIED).index(state)
    for state in sorted(Validation)
)


class Want(NamedTuple):
    """A question whose answer the validator needs, with RRSIGs (DO and CD set)."""

    name: bytes
    rdtype: int


class Signed(NamedTuple):
    """An RRset as an answer carried it, with the RRSIG RDATAs that cover its type."""

    owner: bytes
    rdtype: int
    ttl: int
    rdatas: tuple[bytes, ...]
    signatures: tuple[bytes, ...] = ()


class Found(NamedTuple):
    """A response, sorted into RRsets. Owners are lower-cased, RDATA uncompressed.

    `is_whole` False says that a CNAME chain may end without the answer at its end, because the
    resolver asks for the rest apart.
    """

    qname: bytes
    qtype: int
    rcode: int
    answer: tuple[Signed, ...] = ()
    authority: tuple[Signed, ...] = ()
    is_whole: bool = True


class Checked(NamedTuple):
    """One RRset's outcome. `ttl` is how long it may be kept (RFC 4035 5.3.3).

    `encloser_labels` is set where the RRset was made from a wildcard: the labels of the wildcard's
    parent.
    """

    state: Validation
    ttl: int
    zone: bytes = names.ROOT
    ede: int | None = None
    reason: str = ""
    encloser_labels: int | None = None


class Verdict(NamedTuple):
    """How validation ended: state, EDE code and reason (RFC 8914), and each RRset's own outcome.

    `rrsets` holds what was checked by (owner, type), proofs included: only a SECURE one may enter
    the cache as such. Bogus means SERVFAIL unless the client set CD; the event says bogus either
    way.
    """

    state: Validation
    ede: int | None = None
    reason: str = ""
    rrsets: dict[tuple[bytes, int], Checked] = {}  # noqa: RUF012 - never changed

    @property
    def is_usable(self) -> bool:
        """True where the answer may be given without CD."""
        return self.state is not Validation.BOGUS


_Result = TypeVar("_Result")
Steps = Generator[tuple[Want, ...], tuple[Found | None, ...], _Result]
"""A step of validation: yields what it needs, is sent what was found, returns its result."""

PROOF_TYPES: Final = frozenset((codes.NSEC, codes.NSEC3, codes.SOA))


def authority_of(owner: bytes, rdtype: int) -> bytes:
    """Give the name whose zone signs a type: DS belongs to the parent (RFC 4035 2.4)."""
    return names.parent(owner) if rdtype == codes.DS else owner


def signers(signed: Signed) -> list[bytes]:
    """Give who claims to have signed an RRset, the nearest zone first; impossible ones left out."""
    out = set()
    limit = authority_of(signed.owner, signed.rdtype)
    for rdata in signed.signatures[:64]:
        rrsig = signature.parse_rrsig(rdata)
        if (
            rrsig is not None
            and rrsig.covered == signed.rdtype
            and names.is_subdomain(limit, rrsig.signer)
        ):
            out.add(rrsig.signer)
    return sorted(out, key=len, reverse=True)


def pick(found: Found | None, owner: bytes, rdtype: int) -> Signed | None:
    if found is None:
        return None
    for signed in found.answer:
        if signed.owner == owner and signed.rdtype == rdtype:
            return signed
    if rdtype == codes.DS:  # a referral carries it in the authority section (RFC 4035 3.1.4)
        for signed in found.authority:
            if signed.owner == owner and signed.rdtype == rdtype:
                return signed
    return None


def dname_above(index: dict[tuple[bytes, int], Signed], name: bytes) -> Signed | None:
    while name != names.ROOT:
        name = names.parent(name)
        signed = index.get((name, codes.DNAME))
        if signed is not None:
            return signed
    return None


def substitute(name: bytes, dname: Signed) -> bytes | None:
    """Put a DNAME's target in place of its owner (RFC 6672 2.2); None where that is too long."""
    target = name[: len(name) - len(dname.owner)] + dname.rdatas[0].lower()
    return target if len(target) <= names.MAX_NAME_OCTETS else None


def rrset_text(signed: Signed) -> str:
    return f"{names.to_text(signed.owner)} {type_text(signed.rdtype)}"


def question_text(found: Found, name: bytes) -> str:
    return f"{names.to_text(name)} {type_text(found.qtype)}"


def type_text(rdtype: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))


def sort_records(records: Iterable[Record]) -> tuple[Signed, ...]:
    """Sort a section's records (`wire.skim`) into RRsets, each with the RRSIGs that cover it."""
    rrsets: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
    made: dict[tuple[bytes, int], list[bytes]] = {}
    for owner, rdtype, ttl, rdata in records:
        if rdtype == codes.RRSIG:
            made.setdefault((owner, int.from_bytes(rdata[:2], "big")), []).append(rdata)
            continue
        known = rrsets.get((owner, rdtype))
        if known is None:
            rrsets[owner, rdtype] = ttl, [rdata]
        else:
            known[1].append(rdata)
            if ttl < known[0]:
                rrsets[owner, rdtype] = ttl, known[1]
    return tuple(
        Signed(owner, rdtype, ttl, tuple(rdatas), tuple(made.get((owner, rdtype), ())))
        for (owner, rdtype), (ttl, rdatas) in rrsets.items()
    )


def found_of(message: Skimmed, *, is_whole: bool = True) -> Found:
    """Sort a skimmed response into what `Validator.validate` takes."""
    return Found(
        message.qname.lower(),
        message.qtype,
        message.rcode,
        sort_records(message.answer),
        sort_records(message.authority),
        is_whole,
    )
