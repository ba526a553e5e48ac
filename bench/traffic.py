"""Labelled traffic of a resolver and an authoritative server, with incidents and benign events.

Clients, their retries, stubs of several kinds, caches' upstream messages. Everything follows from
the seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.wire.ask import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S: Final = 1_795_200_000  # a minute
HELD_OUT: Final = range(601, 609)  # not used while the signals were tuned
_ZONES: Final = ("example.com.", "example.net.", "example.org.")
_SITES: Final = 12
_NAMES: Final = 400
_LENGTH: Final = 30
_GAP: Final = 75
_HISTORY: Final = 180
_EDES: Final = {Cause.VALIDATION: 6, Cause.REACHABILITY: 22}  # as our resolver says it


class Incident(NamedTuple):
    """What happens, from which minute to which, and what should be said of it.

    `expects` is the kind of signal, empty for what is benign; `cause` and `place` are what it
    should name.
    """

    name: str
    start: int
    end: int
    effect: float
    expects: str
    cause: str = ""
    place: str = ""


_CLASSES: Final = (
    ("AAAA bogus in one zone", "aaaa-servfail", "validation", "everywhere"),
    ("AAAA times out in one zone", "aaaa-servfail", "reachability", "everywhere"),
    ("AAAA fails at one site", "aaaa-servfail", "reachability", "2001:db8:3:"),
    ("clients stop asking AAAA", "aaaa-share", "", ""),
    ("IPv6 of a server is dead", "ipv6-fallback", "reachability", ""),
    ("answers to clients lost over IPv6", "client-retry", "reachability", ""),
    ("large answers lost over IPv6", "client-retry", "packet size", ""),
    ("DNS64 masks AAAA that fail", "dns64-masking", "", ""),
    ("ALIAS targets cannot be found", "alias-failing", "stale", ""),
    ("benign: zone dead over both families", "", "", ""),
    ("benign: storm of A retries", "", "", ""),
    ("benign: three times the traffic", "", "", ""),
    ("benign: one broken name", "", "", ""),
    ("benign: stubs that ask both families at once", "", "", ""),
    ("benign: truncation over both families", "", "", ""),
    ("benign: one name gives up its AAAA", "", "", ""),
    ("benign: the collector stops", "", "", ""),
)


def schedule(seed: int, effect: float) -> list[Incident]:
    """Lay the classes out in an order that the seed gives, well apart."""
    chance = random.Random(seed)
    classes = list(_CLASSES)
    chance.shuffle(classes)
    out = []
    at = _HISTORY
    for name, expects, cause, place in classes:
        start = at + chance.randrange(10)
        out.append(Incident(name, start, start + _LENGTH, effect, expects, cause, place))
        at += _GAP
    return out


def traffic(seed: int, per_minute: int, incidents: list[Incident]) -> Iterator[list[Event]]:
    """Give events minute by minute; `per_minute` is attempts, A and AAAA together."""
    chance = random.Random(seed)
    end = max(incident.end for incident in incidents) + 20
    for minute in range(end):
        now = {one.name: one for one in incidents if one.start <= minute < one.end}
        if "benign: the collector stops" in now:
            yield []
            continue
        day = 1 + 0.3 * math.sin(minute / 1440 * 2 * math.pi)
        volume = per_minute * day * (3 if "benign: three times the traffic" in now else 1)
        events: list[Event] = []
        for _ in range(_poisson(chance, volume / 1.55)):
            events += _lookup(chance, minute, now)
        events += _upstream(chance, minute, now, per_minute)
        events += _authoritative(chance, minute, now, per_minute)
        if "benign: one broken name" in now:
            events += [
                _event(chance, minute, _client(chance, 1), "canary.example.com.", codes.AAAA, 2)
                for _ in range(40)
            ]
        yield events


def _lookup(chance: random.Random, minute: int, now: dict[str, Incident]) -> list[Event]:
    """One client's look at a name: what it asks by its kind, and its retries."""
    site = min(int(chance.paretovariate(1.1)), _SITES) - 1
    client = _client(chance, site)
    zone = chance.choice(_ZONES)
    name = f"host{min(int(chance.paretovariate(0.6)), _NAMES)}.{zone}"
    kind = chance.random()
    asks = [codes.A] if kind < 0.3 else [codes.A, codes.AAAA]
    if kind > 0.75:
        asks.append(codes.HTTPS)
    silent = now.get("clients stop asking AAAA")
    if silent is not None and codes.AAAA in asks and chance.random() < silent.effect:
        asks.remove(codes.AAAA)
    out = []
    for qtype in asks:
        rcode, cause = _fate(chance, site, zone, qtype, now)
        retries = 1 + (chance.random() < 0.1) + (2 if rcode == codes.SERVFAIL else 0)
        if "benign: storm of A retries" in now and qtype == codes.A:
            retries += 8
        made = [_event(chance, minute, client, name, qtype, rcode, cause) for _ in range(retries)]
        if qtype == codes.AAAA and rcode == codes.NOERROR:
            provenance = _provenance(chance, name, zone, now)
            for event in made:
                event.provenance = provenance
        out += made + _again(chance, site, made[0], now)
    return out


def _provenance(
    chance: random.Random, name: str, zone: str, now: dict[str, Incident]
) -> Provenance:
    """Why an AAAA answer is what it is: a third of one zone's names have A alone."""
    if zone == "example.org." and int(name[4:].partition(".")[0]) % 3 == 0:
        return Provenance.DNS64
    if "benign: one name gives up its AAAA" in now and name == "host1.example.net.":
        return Provenance.DNS64
    masked = now.get("DNS64 masks AAAA that fail")
    if masked is not None and zone == "example.com." and chance.random() < masked.effect:
        return Provenance.DNS64
    return Provenance.NATIVE


def _again(chance: random.Random, site: int, event: Event, now: dict[str, Incident]) -> list[Event]:
    """The same question over another transport or family: by habit, or as no answer came."""
    is_six = ":" in (event.client or "")
    other = f"198.51.{site}.7" if is_six else f"2001:db8:{site:x}:7::7"
    lost = now.get("answers to clients lost over IPv6")
    large = now.get("large answers lost over IPv6")
    racing = 0.5 if "benign: stubs that ask both families at once" in now else 0.1
    cut = 0.3 if "benign: truncation over both families" in now else 0.01
    wait_s = chance.uniform(0.8, 5.2)
    if lost is not None and is_six and chance.random() < lost.effect:
        return [_later(event, wait_s, other, Transport.UDP)]
    if large is not None and is_six and chance.random() < large.effect:
        return [_later(event, wait_s, event.client, Transport.TCP)]
    if chance.random() < cut:
        event.flags |= codes.TC
        return [_later(event, 0.02, event.client, Transport.TCP)]
    if chance.random() < racing:
        return [_later(event, chance.uniform(0, 0.05), other, Transport.UDP)]
    if chance.random() < 0.01:  # packets are lost everywhere, and some stubs rotate
        return [_later(event, wait_s, other, Transport.UDP)]
    if chance.random() < 0.003:
        return [_later(event, wait_s, event.client, Transport.TCP)]
    return []


def _later(event: Event, after_s: float, client: str | None, transport: Transport) -> Event:
    """The same event again."""
    at_ns = event.at_ns + int(after_s * 1e9)
    return replace(event, at_ns=at_ns, client=client, transport=transport, flags=0)


def _authoritative(
    chance: random.Random, minute: int, now: dict[str, Incident], per_minute: int
) -> list[Event]:
    """Questions of resolvers about a zone of ours, of which some names are ALIAS."""
    failing = now.get("ALIAS targets cannot be found")
    out = []
    for _ in range(per_minute // 3):
        number = chance.randrange(20)
        provenance = Provenance.NATIVE
        if number < 6:
            provenance = Provenance.ALIAS | Provenance.CACHED
            if failing is not None and chance.random() < failing.effect:
                provenance = Provenance.ALIAS | Provenance.STALE
        out.append(
            Event(
                at_ns=_at(chance, minute), role=Role.AUTHORITATIVE,
                client=f"2001:db8:{chance.randrange(200):x}::53" if chance.random() < 0.6
                else f"203.0.{chance.randrange(200)}.53",
                qname=f"shop{number}.example.", qtype=chance.choice((codes.A, codes.AAAA)),
                rcode=0, zone="example.", provenance=provenance, transport=Transport.UDP,
            )
        )  # fmt: skip
    return out


def _fate(
    chance: random.Random, site: int, zone: str, qtype: int, now: dict[str, Incident]
) -> tuple[int, Cause]:
    """How a question ends."""
    dead = now.get("benign: zone dead over both families")
    if dead is not None and zone == "example.org." and chance.random() < dead.effect:
        return codes.SERVFAIL, Cause.REACHABILITY
    if qtype == codes.AAAA:
        bogus = now.get("AAAA bogus in one zone")
        if bogus is not None and zone == "example.com." and chance.random() < bogus.effect:
            return codes.SERVFAIL, Cause.VALIDATION
        slow = now.get("AAAA times out in one zone")
        if slow is not None and zone == "example.net." and chance.random() < slow.effect:
            return codes.SERVFAIL, Cause.REACHABILITY
        if "AAAA fails at one site" in now and site == 3 and chance.random() < 0.95:
            return codes.SERVFAIL, Cause.REACHABILITY
    if chance.random() < 0.002:
        return codes.SERVFAIL, Cause.UNKNOWN
    return codes.NOERROR, Cause.NONE


def _upstream(
    chance: random.Random, minute: int, now: dict[str, Incident], per_minute: int
) -> list[Event]:
    out = []
    for _ in range(per_minute // 2):
        zone = chance.choice(_ZONES)
        number = _ZONES.index(zone)
        address = f"2001:db8:53:{number}::53" if chance.random() < 0.6 else f"192.0.2.{number + 1}"
        is_good = chance.random() > 0.01
        dead = now.get("IPv6 of a server is dead")
        if dead is not None and number == 1 and ":" in address:
            is_good = chance.random() > max(dead.effect, 0.4)
        out.append(
            Event(
                at_ns=_at(chance, minute), kind=Kind.UPSTREAM, role=Role.RECURSIVE, client=address,
                qname=f"www.{zone}", qtype=codes.AAAA, rcode=0 if is_good else None, zone=zone,
                cause=Cause.NONE if is_good else Cause.REACHABILITY,
                upstream_family=6 if ":" in address else 4,
            )
        )  # fmt: skip
    return out


def _event(
    chance: random.Random, minute: int, client: str, name: str, qtype: int, rcode: int,
    cause: Cause = Cause.NONE,
) -> Event:  # fmt: skip
    is_bogus = cause is Cause.VALIDATION
    return Event(
        at_ns=_at(chance, minute), role=Role.RECURSIVE, client=client, qname=name, qtype=qtype,
        transport=Transport.UDP, rcode=rcode, cause=cause, ede=_EDES.get(cause),
        validation=Validation.BOGUS if is_bogus else Validation.UNTRIED,
    )  # fmt: skip


def _at(chance: random.Random, minute: int) -> int:
    return (START_S + minute * 60) * 1_000_000_000 + chance.randrange(60_000_000_000)


def _client(chance: random.Random, site: int) -> str:
    if chance.random() < 0.15:
        return f"198.51.{site}.{chance.randrange(1, 250)}"
    return f"2001:db8:{site:x}:{chance.randrange(24):x}::{chance.randrange(1, 40):x}"


def _poisson(chance: random.Random, mean: float) -> int:
    return max(0, round(chance.gauss(mean, math.sqrt(mean))))
