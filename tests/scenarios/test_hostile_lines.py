"""Every format's log with garbage, endless lines and terminal escapes inside otherwise good lines.

Nothing of it stops the ingest, loses a neighbour or reaches a terminal raw.
"""

import random
import re
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import pytest
from bench.render import _FORMATS, NAMES
from bench.traffic import schedule, traffic
from typer.testing import CliRunner

from quada.cli import load
from quada.store.follow import Follower
from quada.telemetry.event import Event, Role
from quada.telemetry.ingest import FORMATS, make_parser
from quada.telemetry.ingest.dnstap import DnstapParser
from quada.wire.ask import Transport

HOSTILE = [
    b"\x1b]0;owned\x07", b"\x1b[2J\x1b[31m", b"\x9b31m", b"\xc2\x9b31m", b"\x1bP+q\x1b\\", b"\x07\x08\r",
    b"\x00\x00", b"\xff\xfe\x80", "‮gpj".encode(), "\u2028".encode(), b"\x0b\x0c\x85", b"%n%s%x",
    b"'\"`$(touch /x)", b"\\032\\", b"a" * 300,
]  # fmt: skip
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


def lines_of(name: str, seed: int) -> list[bytes]:
    """Write the first minutes of some traffic as a server of this kind logs it."""
    roles, render = _FORMATS[name]
    minutes = islice(traffic(seed, 60, schedule(seed, 0.6)), 2)
    events = [one for minute in minutes for one in minute if one.role in roles]
    if name == "systemd-resolved":
        return [f"Using degraded feature set UDP instead of UDP+EDNS0 for DNS server 2001:db8::{n:x}.".encode()
                for n in range(seed, seed + 40)]  # fmt: skip
    made = [line for event in sorted(events, key=lambda one: one.at_ns) for line in render(event)]
    return [line.encode() for line in made if "2001:db8" in line or "198.51" in line]


def damaged(line: bytes, chance: random.Random) -> bytes:
    """Put something hostile in the middle of a line, where its name is, or over a piece of it."""
    what = chance.choice(HOSTILE)
    found = re.search(rb"(host|shop)\d+", line)
    at = found.start() if found and chance.random() < 0.6 else chance.randrange(len(line))
    return line[:at] + what + line[at + chance.choice((0, 0, len(what))) :]


def text_formats() -> list[str]:
    return [name for name in NAMES if name in FORMATS]


def asked(events: list[Event]) -> Counter:
    return Counter((one.kind, one.client, one.qname, one.qtype, one.rcode) for one in events)


def ingest(name: str, path) -> tuple[list[Event], int]:
    parser = make_parser(name, "test", Role.RECURSIVE if name != "pdns-auth" else None)
    follower, out = Follower(path), []
    while lines := follower.take():
        out += parser.feed(lines, 7)
    out += parser.feed(follower.rest(), 7) + parser.flush()
    follower.close()
    return out, parser.unknown_count


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """For every format a clean log, and the same with hostile lines between."""
    place = tmp_path_factory.mktemp("logs")
    for number, name in enumerate(text_formats()):
        chance = random.Random(number)
        good = lines_of(name, 3)
        victims = cycle(lines_of(name, 900))
        mixed = []
        for line in good:
            mixed.append(line)
            if chance.random() < 0.5:
                mixed.append(damaged(next(victims), chance))
            if chance.random() < 0.1:
                mixed.append(bytes(b for b in chance.randbytes(200) if b != 10))
        endless = good[0][: len(good[0]) // 2] + b"\x1b[31m" * 2_000_000
        mixed.insert(len(mixed) // 2, endless)
        (place / f"{name}.clean").write_bytes(b"\n".join(good) + b"\n")
        (place / f"{name}.hostile").write_bytes(b"\n".join(mixed) + b"\n")
    return place


@pytest.mark.parametrize("name", text_formats())
def test_hostile_lines_stop_nothing_and_lose_no_neighbour(logs, name: str) -> None:
    clean, unknown = ingest(name, logs / f"{name}.clean")
    assert unknown == 0
    assert len(clean) > 20
    hostile, unknown = ingest(name, logs / f"{name}.hostile")
    assert unknown > 0
    lost = asked(clean) - asked(hostile)
    assert not lost, list(lost)[:5]


@pytest.mark.parametrize("name", text_formats())
def test_no_escape_reaches_a_terminal_raw(logs, name: str) -> None:
    role = ["--role", "recursive"] if name != "pdns-auth" else []
    path = logs / f"{name}.hostile"
    for place, form in ((str(path), []), (str(path), ["--json"]), ("-", [])):
        ran = CliRunner().invoke(
            load(),
            ["logs", "read", place, "--format", name, *role, *form],
            input=path.read_bytes() if place == "-" else None,
        )
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        raw = RAW.search(ran.output)
        assert raw is None, ran.output[max(0, raw.start() - 80) : raw.end() + 80]
        assert "not understood" in ran.output


def test_hostile_frames_lose_no_neighbour_in_dnstap() -> None:
    from quada.telemetry.emit import compose_dnstap

    chance = random.Random(5)
    events = [
        Event(at_ns=10**18 + n, role=Role.RECURSIVE, client="2001:db8::9", qname=f"h{n}.example.", qtype=28,
              rcode=0, transport=Transport.UDP)
        for n in range(200)
    ]  # fmt: skip
    frames = [frame for one in events if (frame := compose_dnstap(one, b"ns"))]
    clean = DnstapParser("tap")
    good = clean.feed(frames, 7) + clean.flush()
    mixed: list[bytes] = []
    for frame in frames:
        mixed.append(frame)
        hurt = bytearray(frame)
        at = chance.randrange(len(hurt))
        hurt[at : at + 4] = chance.randbytes(4)
        mixed += [bytes(hurt[: chance.randrange(len(hurt))]), chance.randbytes(100), b""]
    parser = DnstapParser("tap")
    found = parser.feed(mixed, 7) + parser.flush()
    assert len(good) == 200
    assert not asked(good) - asked(found)
    assert parser.unknown_count > 0


@pytest.mark.parametrize("is_given", [False, True])
def test_a_dnstap_file_that_goes_on_with_text_tells_what_was_before_and_that(
    tmp_path: Path, is_given: bool
) -> None:
    from quada.telemetry.emit import compose_dnstap
    from quada.telemetry.ingest.dnstap import CONTENT_TYPE, control, frame

    event = Event(at_ns=10**18, role=Role.RECURSIVE, client="2001:db8::9", qname="h.example.",
                  qtype=28, rcode=0, transport=Transport.UDP)  # fmt: skip
    tap = compose_dnstap(event, b"ns")
    assert tap is not None
    octets = control(2, CONTENT_TYPE) + frame(tap) + b"and then text\n"
    (tmp_path / "tap").write_bytes(octets)
    place = "-" if is_given else str(tmp_path / "tap")
    ran = CliRunner().invoke(
        load(), ["logs", "read", place, "--format", "dnstap"], input=octets if is_given else None
    )
    assert ran.exit_code == 1
    assert "h.example." in ran.output
    assert "1 events, 1 not understood" in ran.output
    assert "a frame of" in ran.output
