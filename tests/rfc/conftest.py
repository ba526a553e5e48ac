"""What RFC tests share: an authority for a zone's text, asked in presentation form."""

from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.wire.ask import Transport
from quada.wire.respond import Deferred
from quada.zones import read_zone

PEER = b"\x0a\x00\x12\x34" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07" + bytes(4)


@pytest.fixture(scope="session")
def authority_of() -> Callable[..., Callable[..., dns.message.Message]]:
    """Give a function that asks an authority for these zones."""

    def make(**zones: str) -> Callable[..., dns.message.Message]:
        authority = Authority(AuthoritySettings())
        for origin, text in zones.items():
            authority.put(read_zone(text, names.from_text(origin.replace("_", ".") + ".")))

        def ask(qname: str, rdtype: str, *, is_do: bool = False) -> dns.message.Message:
            query = dns.message.make_query(qname, rdtype, want_dnssec=is_do)
            wire = query.to_wire()
            answered = authority.answer(wire, PEER, Transport.TCP)
            assert not isinstance(answered, Deferred)
            message = dns.message.from_wire(wire[:2] + answered[0])
            assert query.is_response(message)
            return message

        return ask

    return make


@pytest.fixture(scope="session")
def facts() -> Callable[[dns.message.Message], tuple[str, list[str], list[str]]]:
    """Give rcode, answer and authority as short texts."""

    def give(message: dns.message.Message) -> tuple[str, list[str], list[str]]:
        def texts(section: list) -> list[str]:
            return [f"{rr.name} {dns.rdatatype.to_text(rr.rdtype)}".lower() for rr in section]

        return dns.rcode.to_text(message.rcode()), texts(message.answer), texts(message.authority)

    return give
