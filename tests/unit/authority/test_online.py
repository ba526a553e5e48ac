"""ALIAS in signed zones: what is made when asked for validates like what was stored."""

import dns.message
import dns.rdata
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.resolver import Anchors, Validator, Want, found_of
from quada.telemetry.event import Validation
from quada.wire.ask import Transport
from quada.wire.faults import DataFault
from quada.wire.skim import skim
from quada.zones.keys import KeyRole, make_key
from quada.zones.online import OnlineKeys
from quada.zones.sign import sign
from quada.zones.signing import SigningPolicy
from quada.zones.zone import RRset

NOW_S = 1_790_000_000
ORIGIN = names.from_text("example.")
KEY = make_key(ORIGIN, KeyRole.CSK)
TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
ns.example. 3600 IN AAAA 2001:db8::53
both.example. 600 IN AAAA 2001:db8::1
both.example. 600 IN A 192.0.2.1
six.example. 600 IN AAAA 2001:db8::6
"""
PEER = b"\x0a\x00" + b"\x14\xe9" + bytes(4) + bytes(15) + b"\x01" + bytes(4)


def alias(target: str) -> tuple[RRset, ...]:
    return (RRset(codes.ALIAS, 300, (names.from_text(target),)),)


@pytest.fixture(params=[SigningPolicy(), SigningPolicy(has_nsec3=True)], ids=["nsec", "nsec3"])
def authority(request, make_zone, make_keys):
    zone = make_zone(TEXT, "example.").replaced(
        {
            names.from_text("to-both.example."): alias("both.example."),
            names.from_text("to-six.example."): alias("six.example."),
            names.from_text("to-nobody.example."): alias("nobody.elsewhere."),
            names.from_text("*.wild.example."): alias("six.example."),
        }
    )
    state = sign(None, zone, make_keys([KEY]), request.param, NOW_S)
    authority = Authority(AuthoritySettings())
    with pytest.raises(DataFault, match="holds ALIAS"):
        authority.put(state.signed)
    authority.sign_with(OnlineKeys(ORIGIN, ((KEY.algorithm, KEY.tag, KEY.octets()),)))
    authority.put(state.signed)
    authority.begin(NOW_S * 1_000_000_000)
    return authority


def ask(authority, name: str | bytes, rdtype: int):
    text = names.to_text(name) if isinstance(name, bytes) else name
    query = dns.message.make_query(text, rdtype, want_dnssec=True, payload=4096)
    packet = query.to_wire()
    response, _ = authority.answer(packet, PEER, Transport.TCP)
    return skim(packet[:2] + response)


def verdict(authority, name: str, rdtype: int):
    conversation = Validator(Anchors({ORIGIN: (KEY.ds(),)})).validate(
        found_of(ask(authority, name, rdtype)), NOW_S
    )

    def find(want: Want):
        return found_of(ask(authority, want.name, want.rdtype))

    try:
        wants = next(conversation)
        while True:
            wants = conversation.send(tuple(find(want) for want in wants))
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize(
    ("name", "rdtype", "has_answer"),
    [
        ("to-both.example.", codes.AAAA, True),
        ("to-both.example.", codes.A, True),
        ("to-six.example.", codes.AAAA, True),
        ("to-six.example.", codes.A, False),
        ("to-six.example.", codes.MX, False),
        ("x.wild.example.", codes.AAAA, True),
        ("x.wild.example.", codes.A, False),
        ("both.example.", codes.AAAA, True),
        ("nothing.example.", codes.A, False),
    ],
)
def test_every_answer_of_a_signed_zone_with_alias_validates(authority, name, rdtype, has_answer):
    found = verdict(authority, name, rdtype)
    assert (found.state, found.reason) == (Validation.SECURE, "")
    message = ask(authority, name, rdtype)
    assert any(r.rdtype == rdtype for r in message.answer) == has_answer


def test_the_missing_familys_denial_says_nothing_of_the_other_family(authority):
    """The aggressive-NSEC trap: a resolver that keeps the denial must not lose the AAAA by it."""
    message = ask(authority, "to-six.example.", codes.A)
    (proof,) = [r for r in message.authority if r.rdtype in (codes.NSEC, codes.NSEC3)]
    kind = "NSEC" if proof.rdtype == codes.NSEC else "NSEC3"
    text = dns.rdata.from_wire("IN", kind, proof.rdata, 0, len(proof.rdata)).to_text()
    assert " AAAA" in text
    assert " A " not in f"{text} "


def test_a_target_that_fails_gets_servfail_not_a_denial_that_is_not_so(authority):
    assert ask(authority, "to-nobody.example.", codes.AAAA).rcode == codes.SERVFAIL


def test_a_busy_alias_is_signed_once(authority):
    first = ask(authority, "to-both.example.", codes.AAAA).answer
    assert ask(authority, "to-both.example.", codes.AAAA).answer == first
