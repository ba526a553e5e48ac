"""What a validator knows of trust: where chains begin, what it learnt, what an answer may cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import quada.wire.names as names
import quada.zones.signature as signature

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from quada.telemetry.event import Validation

SKEW_S: Final = 300  # our choice because a clock five minutes off should not break the net
MAX_ZONES: Final = 20_000  # our choice: about 20 MiB of keys and delegations
MAX_VERIFIED: Final = 10_000  # our choice: about 5 MiB
MAX_NEGATIVE: Final = 1_000  # our choice because an operator writes them by hand


class Limits(NamedTuple):
    """What one answer may cost (CVE-2023-50387 and CVE-2023-50868); each is our choice.

    An honest answer needs one check an RRset and fails none; a rollover adds a second key.
    """

    checks: int = 64  # signature checks an answer, keys of its chain included
    failures: int = 8  # checks that may fail before the rest is not tried
    keys_per_tag: int = 4  # DNSKEYs that share algorithm and tag
    ds: int = 16  # DS tried on a zone's keys
    signatures_per_rrset: int = 8
    proof_rrsets: int = 12  # NSEC and NSEC3 RRsets looked at
    lookups: int = 48  # DS and DNSKEY questions asked
    chain: int = 16  # CNAME and DNAME steps in one answer


@dataclass(slots=True)
class Spent:
    """What an answer has cost so far."""

    limits: Limits
    checks: int = 0
    failures: int = 0
    lookups: int = 0

    @property
    def is_over(self) -> bool:
        """True where nothing more may be checked or asked."""
        limits = self.limits
        return (
            self.checks >= limits.checks
            or self.failures >= limits.failures
            or self.lookups > limits.lookups
        )


class Zone(NamedTuple):
    """What is known of one zone's keys. `keys` maps (algorithm, tag) to DNSKEY RDATA."""

    state: Validation
    expires_at: int
    keys: dict[tuple[int, int], tuple[bytes, ...]] = {}  # noqa: RUF012 - never changed
    ede: int | None = None
    reason: str = ""


class Delegation(NamedTuple):
    """What is known of a name as a zone cut. SECURE has DS; no cut, `is_cut` off."""

    state: Validation
    expires_at: int
    ds: tuple[bytes, ...] = ()
    is_cut: bool = True
    has_name: bool = True
    ede: int | None = None
    reason: str = ""


@dataclass(slots=True)
class Anchors:
    """Where trust begins: DS RDATA by name, and the names where validation is off for a while.

    `negative` maps a name to when its negative trust anchor ends (seconds; RFC 7646 2).
    """

    positive: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    negative: dict[bytes, int] = field(default_factory=dict)

    def above(self, name: bytes, now_s: int) -> tuple[bytes, bool] | None:
        """Give the anchor nearest above a name, and whether it is a negative one; None for none."""
        while True:
            until_s = self.negative.get(name)
            if until_s is not None and until_s > now_s:
                return name, True
            if name in self.positive:
                return name, False
            if name == names.ROOT:
                return None
            name = names.parent(name)

    def distrust(self, name: bytes, until_s: int) -> None:
        """Put a negative trust anchor at a name until a time (RFC 7646 2); the oldest go first."""
        while len(self.negative) >= MAX_NEGATIVE:
            del self.negative[next(iter(self.negative))]
        self.negative[name.lower()] = until_s

    def restore(self, name: bytes) -> bool:
        """Take a negative trust anchor away; tell whether there was one."""
        return self.negative.pop(name.lower(), None) is not None


_Known = TypeVar("_Known", Zone, Delegation)


class Table(Generic[_Known]):
    """A bounded memory by name; what is oldest goes first."""

    def __init__(self, limit: int = MAX_ZONES) -> None:
        self._known: dict[bytes, _Known] = {}
        self._limit = limit

    def get(self, name: bytes, now_s: int) -> _Known | None:
        """Give what is known and still fresh."""
        known = self._known.get(name)
        return known if known is not None and known.expires_at > now_s else None

    def put(self, name: bytes, known: _Known) -> None:
        """Keep something."""
        if name in self._known:
            del self._known[name]
        elif len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[name] = known

    def flush(self, name: bytes) -> None:
        """Forget a name and everything below it."""
        for known in [k for k in self._known if names.is_subdomain(k, name)]:
            del self._known[known]

    def __len__(self) -> int:
        return len(self._known)


class Trust:
    """Anchors, policy, and what was learnt under them."""

    def __init__(self, anchors: Anchors, limits: Limits, *, skew_s: int, may_sha1: bool) -> None:
        self.anchors = anchors
        self.limits = limits
        self.skew_s = skew_s
        self.algorithms = signature.ALGORITHMS
        self.digests = frozenset((signature.DIGEST_SHA256, signature.DIGEST_SHA384))
        if may_sha1:
            self.algorithms |= signature.SHA1_ALGORITHMS
            self.digests |= {signature.DIGEST_SHA1}
        self.zones: Table[Zone] = Table()
        self.delegations: Table[Delegation] = Table()
        # SOA, NSEC and NSEC3 RRsets verified lately: a flood of random names brings the same few.
        self.verified: dict[Hashable, tuple[Zone, signature.Rrsig, bytes]] = {}

    def remember(
        self, rrset: Hashable, zone: Zone, rrsig: signature.Rrsig, signed_owner: bytes
    ) -> None:
        """Keep that an RRset was verified by these keys of a zone."""
        if len(self.verified) >= MAX_VERIFIED:
            self.verified.clear()
        self.verified[rrset] = zone, rrsig, signed_owner


def usable_ds(
    rdatas: Iterable[bytes], algorithms: frozenset[int], digests: frozenset[int]
) -> tuple[bytes, ...]:
    """Give the DS that a validator may follow; SHA-1 ones only where nothing stronger is there.

    RFC: 4509 3, 9905 2
    """
    fit = [ds for ds in rdatas if len(ds) > 4 and ds[2] in algorithms and ds[3] in digests]
    strong = [ds for ds in fit if ds[3] != signature.DIGEST_SHA1]
    return tuple(strong or fit)


def key_table(rdatas: Iterable[bytes], per_tag: int) -> dict[tuple[int, int], tuple[bytes, ...]]:
    """Order DNSKEYs by (algorithm, tag), at most `per_tag` each.

    Leaves out keys that may not verify data: no zone flag, another protocol, revoked (RFC 4034
    2.1.1 and 2.1.2, RFC 5011 2.1).
    """
    table: dict[tuple[int, int], tuple[bytes, ...]] = {}
    for rdata in rdatas:
        if len(rdata) < 5 or rdata[2] != 3:
            continue
        flags = int.from_bytes(rdata[:2], "big")
        if not flags & signature.FLAG_ZONE or flags & signature.FLAG_REVOKE:
            continue
        place = rdata[3], signature.key_tag(rdata)
        same = table.get(place, ())
        if len(same) < per_tag:
            table[place] = (*same, rdata)
    return table
