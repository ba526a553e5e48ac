"""NOTIFY as secondaries read it."""

import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype

import quada.wire.names as names
from quada.server.notify import compose_notify
from quada.zones import read_zone


def test_a_notify_carries_the_new_soa() -> None:
    zone = read_zone("@ 300 SOA ns host 7 2 3 4 5\n@ 300 NS ns\n", names.from_text("example.com."))
    message = dns.message.from_wire(b"\x00\x01" + compose_notify(zone))
    assert message.opcode() == dns.opcode.NOTIFY
    assert message.flags & dns.flags.AA
    assert message.question[0].to_text() == "example.com. IN SOA"
    (soa,) = message.answer
    assert (soa.name.to_text(), soa.rdtype, soa.ttl) == ("example.com.", dns.rdatatype.SOA, 300)
    assert soa[0].serial == 7
