"""What IXFR may be given from memory: changes between serials, and never one that hides itself."""

import quada.wire.names as names
from quada.authority import Authority, AuthoritySettings
from quada.zones import diff
from quada.zones.sign import with_serial
from quada.zones.zone import RRset

ORIGIN = names.from_text("example.")
TEXT = """
example. 300 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 300 IN NS ns.example.
"""


def version(zone, serial: int, label: bytes = b""):
    made = with_serial(zone, serial)
    if not label:
        return made
    return made.replaced({bytes((len(label),)) + label + ORIGIN: (RRset(28, 60, (bytes(16),)),)})


def test_changes_lead_from_any_serial_served_to_the_present(make_zone):
    zone = make_zone(TEXT, "example.")
    authority = Authority(AuthoritySettings())
    authority.put(zone)
    for serial in (2, 3, 4):
        before = authority.book.served[ORIGIN].zone
        authority.change(ORIGIN, diff(before, version(before, serial, b"n%d" % serial)))
    assert len(authority.changes_since(ORIGIN, 1)) == 3
    assert len(authority.changes_since(ORIGIN, 3)) == 1
    assert authority.changes_since(ORIGIN, 4) is None
    assert authority.changes_since(ORIGIN, 99) is None


def test_content_changed_under_its_serial_ends_what_is_remembered(make_zone):
    zone = make_zone(TEXT, "example.")
    authority = Authority(AuthoritySettings())
    authority.put(zone)
    authority.change(ORIGIN, diff(zone, version(zone, 2)))
    before = authority.book.served[ORIGIN].zone
    authority.change(ORIGIN, diff(before, version(before, 2, b"same")))
    assert authority.changes_since(ORIGIN, 1) is None
