"""Judge reverse names: the PTR, its way back, and the zones that the names are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.rcode
import dns.rdatatype

from quada.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Exchange, Observation


def judge_reverse(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Judge each address, then each reverse zone."""
    for address, pointers in observation.pointers.items():
        if not pointers:
            yield Finding("ptr-missing", Verdict.WARN, address, "it has no PTR record")
        elif not any(address in observation.confirmed.get(name, ()) for name in pointers):
            yield Finding(
                "ptr-unconfirmed",
                Verdict.WARN,
                address,
                f"its PTR {', '.join(pointers)} does not lead back",
            )
    for zone in dict.fromkeys(observation.covering.values()):
        asked = [
            one for one in observation.about("reverse-ptr", "reverse-between") if one.zone == zone
        ]
        pointers_asked = [one for one in asked if one.about == "reverse-ptr"]
        yield from _judge_zone(observation, zone, pointers_asked, fit)
        yield from _judge_alike(zone, pointers_asked)
        yield from _judge_between(zone, asked)


def _judge_zone(
    observation: Observation, zone: str, asked: list[Exchange], fit: set[int]
) -> Iterator[Finding]:
    cut = observation.cuts.get(zone)
    if cut is None:  # a damaged file
        return
    addresses = [one for one, covering in observation.covering.items() if covering == zone]
    yield Finding(
        "reverse-cut", Verdict.INFO, zone,
        f"{', '.join(addresses)}: delegated from {cut.parent} to {', '.join(cut.servers)}",
    )  # fmt: skip
    alive = {(one.server, one.family) for one in asked if one.is_good}
    called = {one.server for one in asked}
    dead = sorted(called - {server for server, _ in alive})
    if dead:
        yield Finding(
            "reverse-lame", Verdict.WARN if alive else Verdict.FAIL, zone,
            f"{', '.join(dead)} {'does' if len(dead) == 1 else 'do'} not answer for it",
            tuple(f"{one.server} {one.address}: {one.outcome}" for one in asked
                  if one.server in dead),
        )  # fmt: skip
    sixes = sorted(server for server, family in alive if family == 6)
    if 6 in fit and alive:
        yield Finding(
            "reverse-ipv6",
            Verdict.PASS if len(sixes) > 1 else Verdict.WARN if sixes else Verdict.FAIL,
            zone, f"{len(sixes)} of {len(cut.servers)} servers answer over IPv6", tuple(sixes),
        )  # fmt: skip


def _judge_alike(zone: str, asked: list[Exchange]) -> Iterator[Finding]:
    by_name: dict[str, dict[frozenset[str], list[str]]] = {}
    for one in asked:
        answer = one.answer
        if answer is None or not one.is_good:
            continue
        found = frozenset(
            item.to_text().lower()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.PTR
            for item in rrset
        )
        rows = by_name.setdefault(one.qname, {}).setdefault(found, [])
        rows.append(f"{one.server} {one.address}: {', '.join(sorted(found)) or one.outcome}")
    for name, sets in by_name.items():
        if len(sets) > 1:
            yield Finding(
                "reverse-differs", Verdict.WARN, zone, f"servers differ in the PTR of {name}",
                tuple(row for rows in sets.values() for row in rows),
            )  # fmt: skip


def _judge_between(zone: str, asked: list[Exchange]) -> Iterator[Finding]:
    """A name with a PTR below it exists, whether it has records or not (RFC 8020 2)."""
    has_pointer = [
        (one.server, one.qname)
        for one in asked
        if one.about == "reverse-ptr" and one.answer is not None
        and any(rrset.rdtype == dns.rdatatype.PTR for rrset in one.answer.answer)
    ]  # fmt: skip
    wrong: dict[str, list[str]] = {}
    for one in asked:
        answer = one.answer
        if one.about != "reverse-between" or answer is None:
            continue
        is_above = any(
            server == one.server and name.endswith(f".{one.qname}") for server, name in has_pointer
        )
        if is_above and answer.rcode() == dns.rcode.NXDOMAIN and answer.flags & dns.flags.AA:
            wrong.setdefault(one.server, []).append(f"{one.address}: {one.qname} NXDOMAIN")
    for server, rows in wrong.items():
        yield Finding(
            "reverse-non-terminal", Verdict.WARN, server,
            f"in {zone} it denies names that a PTR is below", tuple(rows),
        )  # fmt: skip
