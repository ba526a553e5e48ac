"""quada query against real sockets: ::1 first, both families, cut answers, hostile ones."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import dns.edns
import dns.flags
import dns.message
import dns.rrset
import pytest
from typer.testing import CliRunner

from quada.cli import load

Answer = Callable[[dns.message.Message, int, bool], dns.message.Message | bytes | None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """Answer UDP and TCP on one free port of ::1 and 127.0.0.1 until the block ends."""
    for _ in range(20):
        sockets: list[socket.socket] = []
        port = 0
        try:
            for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sock = socket.socket(family, kind)
                    sockets.append(sock)
                    sock.bind((address, port))
                    port = sock.getsockname()[1]
                    if kind == socket.SOCK_STREAM:
                        sock.listen()
            break
        except OSError:
            for sock in sockets:
                sock.close()
    done = threading.Event()

    def one(octets: bytes, family: int, is_tcp: bool) -> bytes | None:
        made = answer(dns.message.from_wire(octets), family, is_tcp)
        return made.to_wire() if isinstance(made, dns.message.Message) else made

    def loop(sock: socket.socket) -> None:
        sock.settimeout(0.05)
        family = 6 if sock.family == socket.AF_INET6 else 4
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                if sock.type == socket.SOCK_DGRAM:
                    octets, peer = sock.recvfrom(4096)
                    reply = one(octets, family, False)
                    if reply is not None:
                        sock.sendto(reply, peer)
                    continue
                connection, _ = sock.accept()
                with connection:
                    connection.settimeout(5)
                    reply = one(connection.recv(4096)[2:], family, True)
                    if reply is not None:
                        connection.sendall(len(reply).to_bytes(2, "big") + reply)

    threads = [threading.Thread(target=loop, args=(sock,)) for sock in sockets]
    for thread in threads:
        thread.start()
    try:
        yield port
    finally:
        done.set()
        for thread in threads:
            thread.join()
        for sock in sockets:
            sock.close()


def respond(query: dns.message.Message, *records: str) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.answer = [dns.rrset.from_text(*record.split()) for record in records]
    return response


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(load(), ["query", *map(str, words)])
    return result.exit_code, result.output


def test_the_answer_is_shown_with_data_flags_and_explained_errors() -> None:
    def answer(query: dns.message.Message, family: int, is_tcp: bool) -> dns.message.Message:
        response = respond(query, "app.example.com. 300 IN AAAA 2001:db8:10::20")
        response.use_edns(options=[dns.edns.EDEOption(3, "old"), dns.edns.NSIDOption(b"node-1")])
        return response

    with serving(answer) as port:
        code, out = run("app.example.com", "AAAA", "@::1", "-p", port, "--nsid")
        assert code == 0
        assert "IPv6 ::1 UDP: NOERROR (qr rd)" in out
        assert "app.example.com. 300 AAAA 2001:db8:10::20\n" in out
        assert "EDE 3: stale answer (old)" in out
        assert "NSID node-1" in out
        assert run("app.example.com", "@::1", "-p", port, "--short")[1] == "2001:db8:10::20\n"


def test_both_families_are_compared() -> None:
    def answer(query: dns.message.Message, family: int, is_tcp: bool) -> dns.message.Message:
        return respond(query, f"a.example. 300 IN AAAA 2001:db8::{family}")

    with serving(answer) as port:
        code, out = run("a.example", "AAAA", "@localhost", "--both", "-p", port, "--json")
    data = json.loads(out)
    if data["results"][0]["server"] == "::1":
        assert data["differences"] == [
            "only over IPv6: a.example. AAAA 2001:db8::6",
            "only over IPv4: a.example. AAAA 2001:db8::4",
        ]
    assert code == 1


def test_a_cut_answer_is_asked_for_again_over_tcp() -> None:
    def answer(query: dns.message.Message, family: int, is_tcp: bool) -> dns.message.Message:
        if is_tcp:
            return respond(query, "a.example. 300 IN AAAA 2001:db8::1")
        response = respond(query)
        response.flags |= dns.flags.TC
        return response

    with serving(answer) as port:
        code, out = run("a.example", "AAAA", "@::1", "-p", port)
    assert code == 0
    assert "cut; asked again over TCP" in out
    assert "2001:db8::1" in out


@pytest.mark.parametrize("address", ["64:ff9b::c000:201", "2001:db8:64::c000:201"])
def test_synthesized_addresses_are_marked(address: str) -> None:
    def answer(query: dns.message.Message, family: int, is_tcp: bool) -> dns.message.Message:
        name = str(query.question[0].name)
        made = "2001:db8:64::c000:aa" if name == "ipv4only.arpa." else address
        response = respond(query, f"{name} 300 IN AAAA {made}")
        response.flags |= dns.flags.RA
        return response

    with serving(answer) as port:
        out = run("v4.example", "AAAA", "@::1", "-p", port)[1]
    prefix = "64:ff9b::/96" if address.startswith("64:") else "2001:db8:64::/96"
    assert f"made by DNS64 from {prefix}, not native" in out


def test_reverse_names_and_silence() -> None:
    def answer(
        query: dns.message.Message, family: int, is_tcp: bool
    ) -> dns.message.Message | bytes | None:
        name = query.question[0].name
        if str(name).startswith("1."):
            return query.to_wire()[:2] + b"\x80\x00" + b"\xff" * 30  # id and QR, then garbage
        return respond(query, f"{name} 300 IN PTR app.example.com.")

    with serving(answer) as port:
        assert run("-x", "2001:db8::20", "@::1", "-p", port, "--short") == (0, "app.example.com.\n")
        code, out = run("-x", "2001:db8::21", "@::1", "-p", port, "--timeout", 0.2)
        assert code == 2
        assert "no answer: timeout" in out
    code, out = run("a.example", "@::1", "-p", port, "--timeout", 1, "--tcp")
    assert code == 2
    assert "no answer: refused" in out


def test_a_trace_follows_referrals_over_one_family() -> None:
    def answer(query: dns.message.Message, family: int, is_tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        assert not query.flags & dns.flags.RD
        nonlocal step
        step += 1
        if step == 2:
            return respond(query, "a.example. 300 IN AAAA 2001:db8::1")
        response.authority = [dns.rrset.from_text("example.", 300, "IN", "NS", "ns.example.")]
        response.additional = [
            dns.rrset.from_text("ns.example.", 300, "IN", "A", "127.0.0.1"),
            dns.rrset.from_text("ns.example.", 300, "IN", "AAAA", "::1"),
        ]
        return response

    step = 0
    with serving(answer) as port:
        code, out = run("a.example", "AAAA", "@::1", "-p", port, "--trace", "-6")
    assert code == 0
    assert out.count("IPv6 ::1 UDP") == 2
    assert "referral to example." in out
    assert "a.example. 300 AAAA 2001:db8::1" in out
