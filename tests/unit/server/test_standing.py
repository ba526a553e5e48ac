"""How zones that serve stand: since when, and until when their signatures are good."""

import time

from quada.server.standing import Standing, signatures_end_at
from quada.zones import read_zone

ORIGIN = b"\x07example\x03com\x00"
SOA = "@ 60 SOA a b 7 2 3 4 5\n@ 60 NS a.example.net.\n"
RRSIG = "@ 60 RRSIG {} 13 2 60 {} 20260101000000 1 example.com. AAAA\n"


def test_the_first_signature_to_end_at_the_apex_counts() -> None:
    text = SOA + RRSIG.format("SOA", "20270101000000") + RRSIG.format("NS", "20261201000000")
    assert signatures_end_at(read_zone(text, ORIGIN)) == 1_796_083_200  # date -d 2026-12-01 +%s
    assert signatures_end_at(read_zone(SOA, ORIGIN)) is None


def test_a_version_is_known_with_the_time_it_came_to_serve_until_the_zone_goes() -> None:
    zone, standing = read_zone(SOA, ORIGIN), Standing()
    standing.loaded(ORIGIN)
    (told,) = standing.status([zone])
    assert (told["zone"], told["serial"]) == ("example.com.", 7)
    assert 0 <= time.time() - told["loaded_at"] < 10
    standing.dropped(ORIGIN)
    assert "loaded_at" not in standing.status([zone])[0]
