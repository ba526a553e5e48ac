"""What strangers named, in a log or a query, reaches no terminal raw."""

import pytest

from quada.cli.tail import line
from quada.telemetry.ingest import make_parser


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\u202e", "\r\n"])
def test_a_name_with_terminal_escapes_is_shown_as_text(evil: str) -> None:
    parser = make_parser("coredns", "ns1", None)
    (event,) = parser.feed(
        [
            f'[INFO] [2001:db8::9]:50759 - 2 "AAAA IN a{evil}b.example. udp 41 false 1232" NOERROR'
            " qr,aa,rd 68 0.0009s"
        ],
        1_795_200_000_000_000_000,
    )
    shown = line(event)
    assert shown.isprintable()
    assert "b.example." in shown
