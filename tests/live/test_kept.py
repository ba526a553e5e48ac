"""Asks over DoH and DoQ: connections that are kept, and servers that behave badly."""

import asyncio
import datetime
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import h2.config
import h2.connection
import h2.events
import pytest

from quada.transport.doh_client import aged
from quada.transport.doq import serve_doq
from quada.transport.guests import Guests, StreamLimits
from quada.transport.https import DohConnection
from quada.transport.kept import KeptClient
from quada.transport.tls import ALPN_DOH, Certificate, make_certificate
from quada.wire.ask import Ask, Endpoint, NoReply, Outcome, Reply, Silence, Transport, read_endpoint
from quic_client import listening

NAME = "ns1.example.com"
QUERY = dns.message.make_query("www.example.com.", "AAAA", id=77).to_wire()


@asynccontextmanager
async def doh_server(
    canned, certificate: Certificate, seen: list | None = None
) -> AsyncIterator[int]:
    guests = Guests(StreamLimits())

    def make() -> DohConnection:
        if seen is not None:
            seen.append(1)
        return DohConnection(canned, guests)

    server = await asyncio.get_running_loop().create_server(
        make, "::1", 0, ssl=certificate.context(*ALPN_DOH)
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for one in list(guests.present):
            one.close()
        await asyncio.sleep(0)


def ask(to: Endpoint, timeout_s: float = 3.0) -> Ask:
    return Ask(to, QUERY, timeout_s)


def endpoint(kind: Transport, port: int, name: str = NAME) -> Endpoint:
    return Endpoint("::1", port, kind, name)


def serving(kind: Transport, canned, certificate: Certificate):
    if kind is Transport.DOH:
        return doh_server(canned, certificate)
    return listening(serve_doq, certificate, canned)


@pytest.mark.parametrize("kind", [Transport.DOH, Transport.DOQ])
def test_many_questions_share_one_connection(canned, certificate, kind: Transport) -> None:
    async def run() -> list[Outcome]:
        client = KeptClient(str(certificate.chain))
        async with serving(kind, canned, certificate) as port:
            to = endpoint(kind, port)
            found = [await client.perform(ask(to))]
            found += await asyncio.gather(*(client.perform(ask(to)) for _ in range(400)))
            client.close()
            await asyncio.sleep(0.05)
        return found

    outcomes = asyncio.run(run())
    assert all(isinstance(one, Reply) for one in outcomes), outcomes[0]
    assert len({peer for peer, _ in canned.seen}) == 1
    assert {transport for _, transport in canned.seen} == {kind}
    assert outcomes[0].message[:2] == QUERY[:2]


@pytest.mark.parametrize("kind", [Transport.DOH, Transport.DOQ])
@pytest.mark.parametrize("wrong", ["name", "issuer"])
def test_who_does_not_prove_the_name_gets_no_question(
    canned, certificate, kind: Transport, wrong: str
) -> None:
    async def run() -> Outcome:
        client = KeptClient("" if wrong == "issuer" else str(certificate.chain))
        async with serving(kind, canned, certificate) as port:
            name = "other.example.com" if wrong == "name" else NAME
            found = await client.perform(ask(endpoint(kind, port, name)))
            unnamed = await client.perform(ask(endpoint(kind, port, "")))
            assert isinstance(unnamed, Reply)
            client.close()
            await asyncio.sleep(0.05)
        return found

    outcome = asyncio.run(run())
    assert isinstance(outcome, NoReply)
    assert outcome.why is Silence.TLS, outcome
    assert len(canned.seen) == 1


@pytest.mark.parametrize("kind", [Transport.DOH, Transport.DOQ])
def test_a_server_that_comes_back_is_asked_again(canned, certificate, kind: Transport) -> None:
    async def run() -> None:
        client = KeptClient(str(certificate.chain))
        async with serving(kind, canned, certificate) as port:
            to = endpoint(kind, port)
            assert isinstance(await client.perform(ask(to)), Reply)
        assert isinstance(await client.perform(ask(to, 0.3)), NoReply)
        if kind is Transport.DOH:
            guests = Guests(StreamLimits())
            server = await asyncio.get_running_loop().create_server(
                lambda: DohConnection(canned, guests),
                "::1",
                port,
                ssl=certificate.context(*ALPN_DOH),
            )
        else:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.bind(("::1", port))
            server = await serve_doq(sock, certificate, canned, Guests(StreamLimits()))
        assert isinstance(await client.perform(ask(to)), Reply)
        client.close()
        await asyncio.sleep(0.05)
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", [Transport.DOT, Transport.DOH, Transport.DOQ])
def test_where_nobody_listens_the_refusal_is_told(kind: Transport, free_port) -> None:
    async def run() -> Outcome:
        return await KeptClient().perform(ask(endpoint(kind, free_port(), "")))

    outcome = asyncio.run(run())
    assert isinstance(outcome, NoReply)
    assert outcome.why is Silence.REFUSED


class Double(asyncio.Protocol):
    """An HTTP/2 server that answers as a test wants."""

    def __init__(self, respond) -> None:
        self._respond = respond
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if (
                isinstance(event, h2.events.StreamEnded | h2.events.WindowUpdated)
                and event.stream_id
            ):
                self._respond(self._h2, event.stream_id, self._transport)
        self._transport.write(self._h2.data_to_send())


def answer(query: bytes = QUERY) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(query))
    message.id = 0
    return message.to_wire()


def said(status: str, media: str, body: bytes):
    def respond(conn, stream: int, transport) -> None:
        conn.send_headers(stream, [(":status", status), ("content-type", media)])
        for at in range(0, len(body), 16_000):
            conn.send_data(stream, body[at : at + 16_000])
            if conn.local_flow_control_window(stream) < 16_000:
                break
        conn.end_stream(stream)

    return respond


def endless(conn, stream: int, transport) -> None:
    if not conn.streams[stream].state_machine.headers_sent:
        conn.send_headers(stream, [(":status", "200"), ("content-type", MEDIA)])
    while (room := conn.local_flow_control_window(stream)) > 0:
        conn.send_data(stream, bytes(min(room, 16_000)))


MEDIA = "application/dns-message"
BAD = [
    ("a status", said("503", MEDIA, answer()), "HTTP status 503"),
    ("a page", said("200", "text/html", b"<html>"), "text/html"),
    ("nothing", said("200", MEDIA, b""), "no answer"),
    ("another question", said("200", MEDIA, answer(dns.message.make_query("evil.example.", "A").to_wire())), "no answer"),
    ("octets that are no HTTP", lambda conn, stream, transport: transport.write(b"\xff" * 500), "not HTTP/2"),
    ("too much", endless, "more than a DNS message"),
    ("a stream taken back", lambda conn, stream, transport: conn.reset_stream(stream), "took it back"),
    ("goodbye", lambda conn, stream, transport: conn.close_connection(), "goodbye"),
    ("an end", lambda conn, stream, transport: transport.abort(), "ended"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("respond", "words"), [one[1:] for one in BAD], ids=[one[0] for one in BAD]
)
def test_a_doh_server_that_does_not_answer_is_told_from_one_that_does(
    certificate, respond, words: str
) -> None:
    async def run() -> Outcome:
        server = await asyncio.get_running_loop().create_server(
            lambda: Double(respond), "::1", 0, ssl=certificate.context("h2")
        )
        async with server:
            client = KeptClient(str(certificate.chain))
            to = endpoint(Transport.DOH, server.sockets[0].getsockname()[1])
            found = await client.perform(ask(to, 1.0))
            client.close()
            await asyncio.sleep(0.05)
        return found

    outcome = asyncio.run(run())
    assert isinstance(outcome, NoReply)
    assert outcome.why in (Silence.GARBAGE, Silence.RESET, Silence.TIMEOUT)
    assert words in outcome.detail


def test_a_server_without_http2_is_told_so(certificate) -> None:
    async def run() -> Outcome:
        server = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, "::1", 0, ssl=certificate.context("http/1.1")
        )
        async with server:
            to = endpoint(Transport.DOH, server.sockets[0].getsockname()[1])
            found = await KeptClient(str(certificate.chain)).perform(ask(to))
            await asyncio.sleep(0.05)
        return found

    outcome = asyncio.run(run())
    assert isinstance(outcome, NoReply)
    assert "HTTP/2" in outcome.detail or outcome.why is Silence.TLS


def test_time_in_an_http_cache_is_taken_off_ttls() -> None:
    message = dns.message.make_response(dns.message.from_wire(QUERY), recursion_available=True)
    message.use_edns(0)
    message.answer.append(dns.rrset.from_text("www.example.com.", 300, "IN", "AAAA", "2001:db8::1"))
    message.authority.append(
        dns.rrset.from_text("example.com.", 60, "IN", "NS", "ns1.example.com.")
    )
    found = dns.message.from_wire(aged(message.to_wire(), 100))
    assert found.answer[0].ttl == 200
    assert found.authority[0].ttl == 0
    assert found.edns == 0


@pytest.mark.parametrize(
    "text",
    ["2001:db8::53", "[2001:db8::53]:5300", "192.0.2.53", "tls://[2001:db8::53]:853#dns.example.net",
     "https://[2001:db8::53]:443/dns-query#dns.example.net", "https://192.0.2.53:8443/q",
     "quic://[2001:db8::53]:853", "quic://[fe80::1%eth0]:853#dns.example.net"],
)  # fmt: skip
def test_a_server_reads_back_as_it_was_written(text: str) -> None:
    assert str(read_endpoint(text)) == text


@pytest.mark.parametrize(
    "text", ["", "dns.example.net", "http://[2001:db8::53]", "tls://2001:db8::53:99999#x", "::1#name",
             "tls://[::1]/path", "[::1]:70000", "[::1]:x"],
)  # fmt: skip
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_endpoint(text)


@pytest.mark.parametrize("kind", [Transport.DOT, Transport.DOH, Transport.DOQ])
def test_an_expired_certificate_is_told_as_such(canned, tmp_path, kind: Transport) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=60)
    make_certificate(chain, key, [NAME], then)
    certificate = Certificate(chain, key)
    assert certificate.is_demo()
    assert "expired on" in certificate.out_of_time(datetime.datetime.now(datetime.UTC))
    assert "not valid before" in certificate.out_of_time(then - datetime.timedelta(days=1))

    async def run() -> Outcome:
        client = KeptClient(str(chain))
        if kind is Transport.DOT:
            server = await asyncio.get_running_loop().create_server(
                asyncio.Protocol, "::1", 0, ssl=certificate.context("dot")
            )
            async with server:
                return await client.perform(ask(endpoint(kind, server.sockets[0].getsockname()[1])))
        async with serving(kind, canned, certificate) as port:
            found = await client.perform(ask(endpoint(kind, port)))
            await asyncio.sleep(0.05)
        return found

    outcome = asyncio.run(run())
    assert isinstance(outcome, NoReply)
    assert outcome.why is Silence.TLS
    assert "expired" in outcome.detail or "no longer valid" in outcome.detail
    assert canned.seen == []


@pytest.mark.parametrize("kind", [Transport.DOH, Transport.DOQ])
def test_a_listener_for_ipv4_alone_refuses_ipv6_and_answers_ipv4(
    canned, certificate, kind: Transport
) -> None:
    async def run() -> tuple[Outcome, Outcome]:
        client = KeptClient(str(certificate.chain))
        guests = Guests(StreamLimits())
        if kind is Transport.DOH:
            server = await asyncio.get_running_loop().create_server(
                lambda: DohConnection(canned, guests), "127.0.0.1", 0,
                ssl=certificate.context(*ALPN_DOH),
            )  # fmt: skip
            port = server.sockets[0].getsockname()[1]
        else:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            server = await serve_doq(sock, certificate, canned, guests)
        six = await client.perform(ask(endpoint(kind, port)))
        four = await client.perform(ask(Endpoint("127.0.0.1", port, kind, NAME)))
        client.close()
        await asyncio.sleep(0.05)
        server.close()
        return six, four

    six, four = asyncio.run(run())
    assert isinstance(six, NoReply)
    assert six.why is Silence.REFUSED
    assert isinstance(four, Reply)
