"""Signing: a zone version becomes a signed one, and a change costs what changed, not the zone.

A signed version is an ordinary `Zone` that also holds DNSKEY, RRSIG and NSEC or NSEC3 (and CDS and
CDNSKEY at the apex). `chain.plan` says which RRsets of a version need signatures; making them is
plain arithmetic on `Task`s, so that the caller may spread them over processes; `complete` puts them
together. A `Signing` is a value, so that a version the gate refuses leaves no trace.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault
from quada.wire.records import RRset
from quada.zones.chain import plan
from quada.zones.signing import Signing
from quada.zones.zone import Zone, find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.zones.signing import KeySet, Plan, SigningKey, SigningPolicy, Task
    from quada.zones.zone import Node


def rrsigs(
    origin: bytes, task: Task, signers: Iterable[SigningKey], policy: SigningPolicy, now_s: int
) -> tuple[bytes, ...]:
    """Make the RRSIG RDATAs of one RRset (RFC 4034 3.1)."""
    owner, (rdtype, _, _) = task
    # The spread keeps a zone's signatures from all falling due at once; it depends on the name so
    # that no randomness is needed and equal RRsets keep equal times.
    spread = zlib.crc32(owner + rdtype.to_bytes(2, "big")) % (policy.jitter_s + 1)
    expiration = (now_s + policy.lifetime_s - spread) & 0xFFFFFFFF
    inception = (now_s - policy.inception_s) & 0xFFFFFFFF
    return tuple(
        rrsig(origin, task, signer, inception, expiration)
        for signer in signers
        if signer.sign is not None
    )


def rrsig(origin: bytes, task: Task, signer: SigningKey, inception: int, expiration: int) -> bytes:
    """Make one RRSIG RDATA."""
    owner, (rdtype, ttl, rdatas) = task
    labels = names.label_count(owner) - (owner[:2] == b"\x01*")
    head = b"".join(
        (
            rdtype.to_bytes(2, "big"),
            bytes((signer.algorithm, labels)),
            ttl.to_bytes(4, "big"),
            expiration.to_bytes(4, "big"),
            inception.to_bytes(4, "big"),
            signer.tag.to_bytes(2, "big"),
            origin,
        )
    )
    assert signer.sign is not None
    return head + signer.sign(signature.signed_octets(head, owner, rdtype, ttl, rdatas))


def sign_tasks(
    origin: bytes, tasks: Iterable[Task], keys: KeySet, policy: SigningPolicy, now_s: int
) -> list[tuple[bytes, ...]]:
    """Sign RRsets, in order. Plain arithmetic: the part worth spreading over processes."""
    out = []
    presigned = dict(keys.presigned)
    for task in tasks:
        rdtype, is_apex = task.rrset.rdtype, task.owner == origin
        made = presigned.get(rdtype, ()) if is_apex else ()
        signers = keys.signers(rdtype, is_apex=is_apex)
        out.append(made + rrsigs(origin, task, signers, policy, now_s))
    return out


def complete(plan: Plan, signatures: Iterable[tuple[bytes, ...]]) -> Signing:
    """Put a plan and its signatures (in the order of its tasks) together."""
    made: dict[bytes, dict[int, tuple[bytes, ...]]] = {
        owner: dict(kept) for owner, kept in plan.kept.items()
    }
    for (owner, rrset), rdatas in zip(plan.tasks, signatures, strict=True):
        made.setdefault(owner, {})[rrset.rdtype] = rdatas
    nodes: dict[bytes, Node] = {}
    for owner, node in plan.nodes.items():
        if node is None:
            nodes[owner] = ()
            continue
        by_type = made.get(owner)
        if by_type:
            ttl = min(rrset.ttl for rrset in node if rrset.rdtype in by_type)
            rdatas = tuple(rdata for found in by_type.values() for rdata in found)
            node = (*node, RRset(codes.RRSIG, ttl, rdatas))
        nodes[owner] = node
    base = plan.before or Zone.build(plan.unsigned.origin, ())
    return Signing(plan.policy, plan.keys, plan.unsigned, base.replaced(nodes), plan.order)


def sign(
    state: Signing | None,
    unsigned: Zone,
    keys: KeySet,
    policy: SigningPolicy,
    now_s: int,
    *,
    touched: Iterable[bytes] | None = None,
    renew: frozenset[tuple[bytes, int]] = frozenset(),
) -> Signing:
    """Plan, sign and put together in one go, in this process."""
    made = plan(state, unsigned, keys, policy, touched=touched, renew=renew)
    return complete(made, sign_tasks(unsigned.origin, made.tasks, keys, policy, now_s))


def due(
    state: Signing, now_s: int, limit: int, *, slack_s: int = 0
) -> frozenset[tuple[bytes, int]]:
    """Give the (owner, type) whose signatures have less than `refresh_s` left, the soonest first.

    Takes how many at most, so that a refresh is spread over rounds, and a slack: nothing is due
    until the soonest has been for that long, so that a large zone does not get a new serial with
    every few signatures.
    """
    now = now_s & 0xFFFFFFFF
    found = []
    for owner, node in state.signed.nodes.items():
        made = find(node, codes.RRSIG)
        for rdata in made.rdatas if made else ():
            left = (int.from_bytes(rdata[8:12], "big") - now + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if left < state.policy.refresh_s:
                found.append((left, owner, int.from_bytes(rdata[:2], "big")))
    found.sort()
    if found and found[0][0] > state.policy.refresh_s - slack_s:
        return frozenset()
    return frozenset((owner, rdtype) for _, owner, rdtype in found[:limit])


def with_serial(zone: Zone, serial: int) -> Zone:
    """Give the same version under another SOA serial. Raises DataFault where there is no SOA."""
    soa = zone.soa
    if soa is None:
        raise DataFault("zone has no SOA", place=names.to_text(zone.origin))
    rdata = soa.rdatas[0]
    changed = rdata[:-20] + serial.to_bytes(4, "big") + rdata[-16:]
    rest = tuple(r for r in zone.nodes[zone.origin] if r.rdtype != codes.SOA)
    return zone.replaced({zone.origin: (RRset(codes.SOA, soa.ttl, (changed,)), *rest)})
