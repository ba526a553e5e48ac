"""A resolver with every fault of DNS64 that ours does not have: `resolver_double.py MODE ADDRESS...`.

`made` puts a synthesized address over one that exists, gives it to who validates, has no name for
it, and says of nothing why it fails. `filter` gives no AAAA at all. `six` synthesizes for who asks
over IPv6, as CoreDNS does. All recurse for everybody.
"""

import asyncio
import struct
import sys

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

MADE = "64:ff9b::c000:250"


def answer(packet: bytes, *, is_six: bool) -> bytes:
    query = dns.message.from_wire(packet)
    question = query.question[0]
    text, rdtype = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    response = dns.message.make_response(query, our_payload=1232, recursion_available=True)

    def give(kind: str, data: str) -> None:
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, data))

    is_unchecked = bool(query.flags & dns.flags.CD)
    if text == "www.broken.com." and not is_unchecked:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif rdtype == "SOA":
        response.flags |= dns.flags.AD
        give("SOA", "a. b. 1 1 1 1 1")
    elif text == "www.example.com." and sys.argv[1] == "filter":
        pass
    elif text == "ipv4only.arpa." and (sys.argv[1] == "made" or (sys.argv[1] == "six" and is_six)):
        give("AAAA", "64:ff9b::c000:aa")
    elif (
        text in ("www.example.com.", "v4only.example.com.", "www.broken.com.") and rdtype == "AAAA"
    ):
        give("AAAA", MADE)
    elif text == "resolver.arpa." and sys.argv[1] == "filter":
        give("RESINFO", "qnamemin exterr=15-17")
    elif rdtype == "PTR":
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.transport.sendto(answer(data, is_six=":" in addr[0]), addr)


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
            is_six = ":" in writer.get_extra_info("peername")[0]
            response = answer(await reader.readexactly(size), is_six=is_six)
            writer.write(struct.pack(">H", len(response)) + response)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    for address in sys.argv[2:]:
        await loop.create_datagram_endpoint(Datagrams, local_addr=(address, 53))
        await asyncio.start_server(stream, address, 53)
    await asyncio.Event().wait()


asyncio.run(main())
