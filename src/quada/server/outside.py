"""Verification from outside: what a zone looks like to the world, AAAA and A apart, CD and not.

Our own validator does the judging, through a resolver that is asked with CD, so that it gives what
it has; what the resolver itself makes of the name stands beside it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dns.rcode
import dns.rdatatype

import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver import Anchors, Found, Validator, Verdict, Want, found_of
from quada.resolver.anchors import read_anchors, root_anchors
from quada.resolver.evidence import EDE_UNREACHED
from quada.server.plan import read_address
from quada.telemetry.event import Validation
from quada.transport.single import perform
from quada.wire.ask import Ask, Endpoint, Reply, Transport
from quada.wire.edns import compose_opt
from quada.wire.faults import DataFault, MalformedMessage, ReachFault
from quada.wire.skim import skim
from quada.zones import find

if TYPE_CHECKING:
    from pathlib import Path

    from quada.wire.skim import Skimmed
    from quada.zones import Zone

_TIMEOUT_S: Final = 5.0
_EDE_OCTETS: Final = 2


def verify_outside(
    name: bytes, types: list[str], resolvers: list[str], anchor: Path | None
) -> dict[str, Any]:
    """Verify a name's types, each by itself; give a report with rows, a verdict and `is_good`.

    Raises: ReachFault where no resolver answers, DataFault for an unknown type or anchor file.
    """
    anchors = root_anchors() if anchor is None else read_anchors(anchor.read_text(), str(anchor))
    addresses = [read_address(text) for text in resolvers]
    outside = Outside([Endpoint(one.host, one.port) for one in addresses], Anchors(anchors))
    rows = [outside.row(name, _type(text)) for text in types]
    bad = [row["type"] for row in rows if row["state"] == "bogus" or row["rcode"] == "SERVFAIL"]
    if not bad:
        states = sorted({row["state"] for row in rows})
        verdict = f"{names.to_text(name)} is {' and '.join(states)}"
    elif len(bad) < len(rows):
        good = [row["type"] for row in rows if row["type"] not in bad]
        verdict = f"{', '.join(bad)} fails while {', '.join(good)} is well: signatures, not reach"
    else:
        verdict = f"{names.to_text(name)} fails for every type asked"
    return {"name": names.to_text(name), "rows": rows, "verdict": verdict, "is_good": not bad}


class Outside:
    """Asks resolvers, or one server, and validates what they say."""

    def __init__(self, resolvers: list[Endpoint], anchors: Anchors) -> None:
        self._resolvers = resolvers
        self._validator = Validator(anchors)

    def row(self, name: bytes, rdtype: int) -> dict[str, Any]:
        """Ask thrice: for ourselves, and for what the resolver says without CD and with it."""
        plain = self.ask(name, rdtype, is_cd=False)
        with_cd = self.ask(name, rdtype, is_cd=True)
        if plain is None or with_cd is None:
            raise ReachFault(
                f"no resolver answers about {names.to_text(name)}",
                place=", ".join(one.address for one in self._resolvers),
                remedy="name one with --resolver",
            )
        verdict = self._validate(found_of(with_cd))
        return {
            "type": dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype)),
            "state": Validation(verdict.state).name.lower(),
            "reason": verdict.reason,
            "our_ede": verdict.ede,
            "rcode": dns.rcode.to_text(dns.rcode.Rcode.make(plain.rcode)),
            "rcode_cd": dns.rcode.to_text(dns.rcode.Rcode.make(with_cd.rcode)),
            "ad": plain.flags & codes.AD != 0,
            "ede": _ede(plain),
        }

    def verdict(self, name: bytes, rdtype: int) -> tuple[Verdict, Skimmed] | None:
        """Give a name's data and what our own validation makes of them; None without an answer."""
        message = self.ask(name, rdtype, is_cd=True)
        return None if message is None else (self._validate(found_of(message)), message)

    def _validate(self, found: Found) -> Verdict:
        conversation = self._validator.validate(found, int(time.time()))
        try:
            wants = next(conversation)
            while True:
                wants = conversation.send(tuple(self._found(want) for want in wants))
        except StopIteration as done:
            verdict: Verdict = done.value
            return verdict

    def _found(self, want: Want) -> Found | None:
        message = self.ask(want.name, want.rdtype, is_cd=True)
        return None if message is None else found_of(message)

    def ask(self, name: bytes, rdtype: int, *, is_cd: bool) -> Skimmed | None:
        """Ask the first resolver that answers, over TCP where UDP's answer is cut."""
        flags = codes.RD | (codes.CD if is_cd else 0)
        head = b"\x00\x00" + flags.to_bytes(2, "big") + b"\x00\x01\x00\x00\x00\x00\x00\x01"
        question = name + rdtype.to_bytes(2, "big") + codes.IN.to_bytes(2, "big")
        query = head + question + compose_opt(flags=codes.EDNS_DO)
        for resolver in self._resolvers:
            for transport in (Transport.UDP, Transport.TCP):
                ask = Ask(resolver._replace(transport=transport), query, _TIMEOUT_S)
                outcome = perform(ask)
                if not isinstance(outcome, Reply):
                    break
                try:
                    message = skim(outcome.message)
                except MalformedMessage:
                    break
                if not message.flags & codes.TC:
                    return message
        return None


def _ede(message: Skimmed) -> str:
    data = message.edns.option(codes.OPTION_EDE) if message.edns is not None else None
    if data is None or len(data) < _EDE_OCTETS:
        return ""
    text = data[2:].decode("utf-8", "replace")
    return f"{int.from_bytes(data[:2], 'big')} {text}".strip()


def _type(text: str) -> int:
    try:
        return int(dns.rdatatype.from_text(text))
    except dns.rdatatype.UnknownRdatatype:
        raise DataFault(f"there is no type {text}", place="--type") from None


class Sight(NamedTuple):
    """What validating resolvers make of a version: pending, verified or failed, and why."""

    serial: int
    state: str
    why: str = ""


def look_outside(
    zone: Zone, resolvers: list[Endpoint], anchors: dict[bytes, tuple[bytes, ...]]
) -> Sight:
    """Ask validating resolvers about a version that serves: its SOA, and one AAAA and one A of it.

    Each type by itself, without CD and with it; what comes with CD is validated here, from
    `anchors`. Verified is a version that every resolver gives with AD; failed, one that any of
    them finds bogus, or we where a resolver does not validate; pending, one that caches do not show
    yet.
    """
    serial = zone.serial
    for resolver in resolvers:
        outside = Outside([resolver], Anchors(anchors))
        for name, rdtype in _samples(zone):
            told = f"{names.to_text(name)} {dns.rdatatype.to_text(dns.rdatatype.RdataType(rdtype))}"
            sight = _look_at(outside, zone, (name, rdtype), f"{told} at {resolver.address}")
            if sight is not None:
                return sight
    return Sight(serial, "verified")


def _look_at(outside: Outside, zone: Zone, question: tuple[bytes, int], at: str) -> Sight | None:
    """Look at one RRset through one resolver; None where all is well."""
    serial = zone.serial
    message = outside.ask(*question, is_cd=False)
    if message is None:
        return Sight(serial, "pending", f"{at}: no answer")
    is_secure = message.flags & codes.AD != 0
    ours = outside.verdict(*question)
    if message.rcode == codes.SERVFAIL:
        if ours is not None and ours[1].rcode == codes.NOERROR:
            why = _ede(message) or ours[0].reason
            return Sight(serial, "failed", f"{at}: SERVFAIL, with CD data: {why}")
        return Sight(serial, "pending", f"{at}: SERVFAIL, with CD too: not validation")
    if question[1] == codes.SOA:
        seen = [r.rdata[-20:-16] for r in message.answer if r.rdtype == codes.SOA]
        if seen != [serial.to_bytes(4, "big")]:
            return Sight(serial, "pending", f"{at}: an older version is cached")
    if ours is not None and ours[0].state == Validation.BOGUS and not is_secure:
        # What could not be had is nobody's fault yet; a resolver that says AD had it.
        is_lack = ours[0].ede == EDE_UNREACHED
        told = "not to be validated by us yet" if is_lack else "bogus to us"
        return Sight(serial, "pending" if is_lack else "failed", f"{at}: {told}: {ours[0].reason}")
    if not is_secure:
        return Sight(serial, "pending", f"{at}: no AD; is the DS at the parent?")
    return None


def _samples(zone: Zone) -> list[tuple[bytes, int]]:
    out = [(zone.origin, int(codes.SOA))]
    for rdtype in (codes.AAAA, codes.A):
        for owner, node in zone.nodes.items():
            if owner[:2] != b"\x01*" and find(node, rdtype) and find(node, codes.RRSIG):
                out.append((owner, rdtype))
                break
    return out
