"""What stored events tell an incident."""

import time
from pathlib import Path

from quada.server.looking import read_logged
from quada.store.events import EventStore
from quada.telemetry.event import Cause, Event, Kind, Role


def event(
    client: str,
    qtype: int,
    rcode: int | None,
    *,
    name: str = "www.example.com.",
    kind: Kind = Kind.QUERY,
) -> Event:
    is_upstream = kind is Kind.UPSTREAM
    return Event(
        at_ns=time.time_ns(), kind=kind, role=Role.RECURSIVE, client=client, qname=name, qtype=qtype, rcode=rcode,
        zone="example.com." if is_upstream else None, cause=Cause.NONE if rcode is not None else Cause.REACHABILITY,
        upstream_family=(6 if ":" in client else 4) if is_upstream else None,
    )  # fmt: skip


def test_attempts_and_failures_are_read_by_client_and_upstream_by_family(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "history")
    events = [
        event("2001:db8::1", 28, 2), event("2001:db8::1", 28, 0), event("2001:db8::2", 28, 0),
        event("2001:db8::1", 1, 0), event("2001:db8::9", 28, 2, name="other.example.com."),
        event("2001:db8::53", 28, None, kind=Kind.UPSTREAM), event("192.0.2.53", 28, 0, kind=Kind.UPSTREAM),
    ]  # fmt: skip
    store.put(events, {}, int(time.time()))
    logged = read_logged(tmp_path, "www.example.com.", 60)
    assert sorted(logged.six) == ["2001:db8::1", "2001:db8::2"]
    assert logged.six_failed == ("2001:db8::1",)
    assert logged.four == ("2001:db8::1",)
    assert logged.upstream == {6: (1, 0), 4: (1, 1)}
