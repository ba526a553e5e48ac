"""A server with one fault a zone, run inside the lab: `faulty.py ADDRESS...`, port 53, UDP and TCP."""

import asyncio
import base64
import socket
import struct
import sys

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ADDRESSES = {"AAAA": "2001:db8:6::53", "A": "192.0.2.6"}


ONE_FACE, OTHER_FACE = "2001:db8:ff::1", "2001:db8:ff::2"
DENYING = "5.f.0.0.8.b.d.0.1.0.0.2.ip6.arpa."


def reverse(response, text: str, rdtype: str):
    """Answer for a reverse zone in which names between the apex and a PTR do not exist."""
    response.flags |= dns.flags.AA
    soa = dns.rrset.from_text(
        DENYING, 60, "IN", "SOA", "ns0.revdeny.net. host.net. 1 3600 600 86400 60"
    )
    name = response.question[0].name
    if text.endswith("ip6.arpa.") and len(name.labels) == 35 and rdtype == "PTR":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "PTR", "revdeny.net."))
    elif text == DENYING and rdtype == "SOA":
        response.answer.append(soa)
    elif text == DENYING and rdtype == "NS":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "NS", "ns0.revdeny.net."))
    else:
        if text != DENYING and len(name.labels) != 35:
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(soa)
    return response


def answer(packet: bytes, *, is_stream: bool) -> bytes | None:
    """Answer for any zone below net. with what every zone has, and with its own fault."""
    query = dns.message.from_wire(packet)
    question = query.question[0]
    name, rdtype = question.name, dns.rdatatype.to_text(question.rdtype)
    text = name.to_text().lower()
    fault = text.split(".")[-3] if name.is_subdomain(dns.name.from_text("net.")) else ""
    if fault == "noedns" and query.edns >= 0:
        response = dns.message.make_response(dns.message.make_query(name, question.rdtype))
        response.id = query.id
        response.set_rcode(dns.rcode.FORMERR)
        return response.to_wire()
    if query.edns > 0:  # a version to come: RFC 6891 6.1.3
        if fault == "oldedns":
            return None
        refused = dns.message.make_response(query)
        refused.use_edns(0, 0, 1232)
        refused.set_rcode(dns.rcode.BADVERS)
        return refused.to_wire()
    if fault == "bigdrop" and rdtype == "DNSKEY" and not is_stream:
        return None
    if fault == "noaaaa" and rdtype == "AAAA" and text == "noaaaa.net.":
        return None
    if fault == "garbage" and text == "garbage.net.":
        return b"\xff" * 60
    if fault == "wrongid" and text == "wrongid.net.":
        wrong = dns.message.make_response(query)
        wrong.id = query.id ^ 1
        return wrong.to_wire()
    if (
        fault == "loop"
        and text != "ns0.loop.net."
        and rdtype in ("A", "AAAA", "NS", "SOA", "HTTPS")
    ):
        circle = dns.message.make_response(query)
        circle.flags |= dns.flags.AA
        circle.answer.append(
            dns.rrset.from_text(name, 60, "IN", "CNAME", f"x{len(text) % 7}.loop.net.")
        )
        return circle.to_wire()
    response = dns.message.make_response(query, our_payload=1232)
    if fault == "lowered":
        response.question[0].name = dns.name.from_text(text)
    zone = f"{fault}.net."
    if text.endswith(DENYING):
        return reverse(response, text, rdtype).to_wire()
    if not fault:
        # A stranger's name: one that recurses answers, and is the fault of every zone here but one.
        response.set_rcode(dns.rcode.REFUSED)
        if sys.argv[1] == "upward":
            response.set_rcode(dns.rcode.NOERROR)
            response.authority.append(
                dns.rrset.from_text(".", 60, "IN", "NS", "a.root-servers.net.")
            )
        if sys.argv[1] == "recurse":
            response.set_rcode(dns.rcode.NOERROR)
            response.flags |= dns.flags.RA
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.99"))
        return response.to_wire()
    response.flags |= dns.flags.AA
    if fault == "twofaced" and text == zone and rdtype == "AAAA":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "AAAA", ONE_FACE))
        return response.to_wire()
    records = {
        (zone, "SOA"): f"ns0.{zone} host.{zone} 1 3600 600 86400 60", (zone, "NS"): f"ns0.{zone}",
        (zone, "A"): "192.0.2.4", (f"ns0.{zone}", "AAAA"): ADDRESSES["AAAA"],
        (f"ns0.{zone}", "A"): ADDRESSES["A"],
    }  # fmt: skip
    if fault in ("bigfrag", "bigsend", "bigtcp") and rdtype == "DNSKEY" and text == zone:
        return large(query, response, fault, is_stream=is_stream)
    found = records.get((text, rdtype))
    if found is not None:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", rdtype, found))
    elif rdtype == "AXFR":
        response.set_rcode(dns.rcode.REFUSED)
    else:
        if all(owner != text for owner, _ in records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text(zone, 60, "IN", "SOA", records[zone, "SOA"]))
    return response.to_wire()


def large(query, response, fault: str, *, is_stream: bool) -> bytes | None:
    """Give keys of 1,800 octets; over UDP cut to what is offered, or lost on the way as fragments."""
    keys = [f"256 3 8 {base64.b64encode(bytes([n]) * 280).decode()}" for n in range(6)]
    response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "DNSKEY", *keys))
    octets = response.to_wire(max_size=65_535)
    payload = min(query.payload, 1232) if fault == "bigtcp" else query.payload
    if is_stream or len(octets) <= payload:
        return None if fault == "bigfrag" and not is_stream else octets
    response.answer.clear()
    response.flags |= dns.flags.TC
    return response.to_wire()


def late(packet: bytes, *, is_six: bool) -> float:
    """Say how long an answer waits: over IPv6 in one zone, for AAAA in another."""
    is_aaaa = b"\x08lateaaaa\x03net\x00\x00\x1c" in packet
    return 0.4 if is_aaaa or (is_six and b"\x07slowsix\x03net" in packet) else 0.0


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        response = answer(data, is_stream=False)
        if response is not None:
            if ":" in addr[0]:
                response = response.replace(
                    socket.inet_pton(socket.AF_INET6, ONE_FACE),
                    socket.inet_pton(socket.AF_INET6, OTHER_FACE),
                )
            late_s = late(data, is_six=":" in addr[0])
            asyncio.get_running_loop().call_later(late_s, self.transport.sendto, response, addr)


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
            response = answer(await reader.readexactly(size), is_stream=True)
            if response is not None and b"\x04drip\x03net" in response:
                while True:  # as slowly as keeps a careless reader waiting for ever
                    writer.write(b"\xff")
                    await writer.drain()
                    await asyncio.sleep(0.5)
            if response is not None and b"\x05flood\x03net" in response:
                while True:  # the largest messages, one after another, none the answer
                    writer.write(b"\xff\xff" + bytes(65_535))
                    await writer.drain()
            if response is not None:
                writer.write(struct.pack(">H", len(response)) + response)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    for address in sys.argv[2:]:
        await loop.create_datagram_endpoint(Datagrams, local_addr=(address, 53))
        server = await asyncio.start_server(stream, address, 53)
        if sys.argv[1] == "clamped":
            server.sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_300)
    await asyncio.Event().wait()


asyncio.run(main())
