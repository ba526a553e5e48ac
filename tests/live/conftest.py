"""What live tests share: a certificate, and a role that gives the same answer to everybody."""

import datetime
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from quada.transport.exchange import Send
from quada.transport.tls import Certificate, make_certificate
from quada.wire.ask import Transport


class Canned:
    """Answers every query with one AAAA record, and remembers who asked how."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, Transport]] = []

    def __call__(self, packet: bytes, peer: bytes, transport: Transport, send: Send) -> None:
        self.seen.append((peer, transport))
        try:
            query = dns.message.from_wire(packet)
        except Exception:
            send(b"")
            return
        answer = dns.message.make_response(query)
        answer.answer.append(
            dns.rrset.from_text(query.question[0].name, 300, "IN", "AAAA", "2001:db8::1")
        )
        send(answer.to_wire())


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    place: Path = tmp_path_factory.mktemp("tls")
    chain, key = place / "chain.pem", place / "key.pem"
    make_certificate(chain, key, ["ns1.example.com", "::1"], datetime.datetime.now(datetime.UTC))
    return Certificate(chain, key)
