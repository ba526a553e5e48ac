"""The event store: whole commits or none, for any number of readers."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quada.store.events as store_events
from quada.store.events import EventStore, Policy, ask, settled_clients
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault, ReachFault

NOW = 1_795_209_695


def _event(**fields: object) -> Event:
    given: dict[str, object] = {
        "at_ns": NOW * 10**9, "role": Role.RECURSIVE, "source": "r1", "client": "2001:db8:0:1::9",
        "qname": "www.example.com.", "qtype": 28, "rcode": 2,
    }  # fmt: skip
    return Event(**(given | fields))  # type: ignore[arg-type]


def test_what_was_put_is_found_with_all_its_fields(tmp_path: Path) -> None:
    event = _event(
        kind=Kind.UPSTREAM, transport=Transport.DOQ, validation=Validation.BOGUS, ede=6, is_do=True,
        provenance=Provenance.STALE | Provenance.CACHED, cause=Cause.VALIDATION, duration_us=17,
        upstream_family=6, client_port=53, is_nodata=False, zone="example.com.", detail='a "b", c',
    )  # fmt: skip
    EventStore(tmp_path / "s").put([event], {}, NOW)
    names, rows = ask(tmp_path / "s", "SELECT * FROM events")
    found = dict(zip(names, rows[0], strict=True))
    assert found.pop("time").isoformat() == "2026-11-20T21:21:35"
    assert found == {
        "at_ns": NOW * 10**9, "kind": "upstream", "role": "recursive", "source": "r1",
        "client": "2001:db8:0:1::9", "client_port": 53, "family": 6, "transport": "doq",
        "qname": "www.example.com.", "qtype": "AAAA", "rcode": "SERVFAIL", "nodata": False,
        "is_do": True, "ede": 6, "validation": "bogus", "provenance": "stale+cached",
        "cause": "validation", "zone": "example.com.", "duration_us": 17, "response_octets": None,
        "answer_count": None, "upstream_family": 6, "flags": 0, "weight": 1, "detail": 'a "b", c',
    }  # fmt: skip


def test_rollups_of_many_commits_add_up(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    for number in range(4):
        store.put([_event(), _event(role=Role.AUTHORITATIVE, rcode=0)], {}, NOW + number)
    _, rows = ask(tmp_path, "SELECT role, outcome, sum(count) FROM rollups GROUP BY ALL ORDER BY 1")
    assert rows == [("authoritative", "NOERROR", 4), ("recursive", "SERVFAIL", 4)]
    _, rows = ask(
        tmp_path,
        "SELECT prefix, sum(aaaa_servfail_count) FROM clients WHERE role = 'recursive' GROUP BY 1",
    )
    assert rows == [("2001:db8:0:1::/64", 4)]


def test_positions_and_events_become_true_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EventStore(tmp_path)
    store.put([_event()], {"a": [1, 10]}, NOW)

    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_events, "replacing", fails)
    with pytest.raises(ReachFault, match="No space"):
        store.put([_event(), _event()], {"a": [1, 30]}, NOW)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("events/*/*/*.parquet"))) == 2
    again = EventStore(tmp_path)
    assert again.positions() == {"a": [1, 10]}
    assert ask(tmp_path, "SELECT count(*) FROM events")[1] == [(1,)]
    assert len(list(tmp_path.glob("events/*/*/*.parquet"))) == 1  # what never counted is swept
    again.put([_event()], {"b": 1}, NOW)
    assert again.positions() == {"a": [1, 10], "b": 1}
    again.forget("a")
    assert again.positions() == {"b": 1}


def test_old_segments_go_by_age_and_by_space_and_rollups_outlive_events(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "age", Policy(keep_s=100))
    store.put([_event(source="old")], {}, NOW)
    store.put([_event(source="new")], {}, NOW + 101)
    assert ask(tmp_path / "age", "SELECT source FROM events")[1] == [("new",)]
    assert len(list((tmp_path / "age").glob("events/*/*/*.parquet"))) == 1
    store = EventStore(tmp_path / "space", Policy(keep_octets=60_000))
    for number in range(10):
        store.put([_event(qname=f"{number}-{n}.example.com.") for n in range(10)], {}, NOW + number)
    kept = ask(tmp_path / "space", "SELECT count(*), max(qname) FROM events")[1][0]
    assert 0 < kept[0] < 100
    assert kept[1].startswith("9-")
    assert store.status()["octets"] <= 60_000


def test_compaction_changes_files_and_no_answer(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    for number in range(9):
        store.put([_event(qname=f"{number}.example.com.")], {"a": number}, NOW)
    assert store.compact(NOW) == 0  # the hour is not over
    asked = "SELECT * FROM events ORDER BY qname"
    rollup = "SELECT minute, qtype, family, cause, sum(count), sum(duration_us) FROM rollups GROUP BY ALL"
    before, counted = ask(tmp_path, asked), ask(tmp_path, rollup)
    assert store.compact(NOW + 3600) == 27
    assert (ask(tmp_path, asked), ask(tmp_path, rollup)) == (before, counted)
    # Nine parts of the same minute and key have become one.
    assert ask(tmp_path, "SELECT count(*) FROM rollups")[1] == [(1,)]
    assert ask(tmp_path, "SELECT count FROM clients")[1] == [(9,)]
    assert len(list(tmp_path.glob("*/*/*/*.parquet"))) == 3
    assert store.positions() == {"a": 8}


@pytest.mark.parametrize(
    ("policy", "seen"),
    [("whole", "2001:db8:0:1::9"), ("truncated", "2001:db8:0:1::"), ("hashed", None)],
)
def test_of_addresses_only_what_the_policy_allows_is_kept(
    tmp_path: Path, policy: str, seen: str | None
) -> None:
    EventStore(tmp_path, Policy(clients=policy)).put(
        [_event(), _event(client="192.0.2.77")], {}, NOW
    )
    _, rows = ask(tmp_path, "SELECT client, family FROM events ORDER BY family DESC")
    assert [family for _, family in rows] == [6, 4]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("*/*/*/*.parquet"))
    assert (b"192.0.2.77" in kept) == (policy == "whole")
    if seen is None:
        assert len(rows[0][0]) == 32
        assert (tmp_path / "address.key").stat().st_mode & 0o777 == 0o600
        EventStore(tmp_path, Policy(clients=policy)).put([_event()], {}, NOW)  # the key stays
        assert ask(tmp_path, "SELECT count(DISTINCT client) FROM events")[1] == [(2,)]
    else:
        assert rows[0][0] == seen


def test_an_unknown_policy_and_bad_sql_are_the_users_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault):
        EventStore(tmp_path, Policy(clients="some"))
    with pytest.raises(ConfigFault):
        ask(_filled(tmp_path), "SELECT nothing FROM events")
    with pytest.raises(ReachFault):
        ask(tmp_path / "none", "SELECT 1")


def test_a_store_with_no_events_yet_answers(tmp_path: Path) -> None:
    EventStore(tmp_path).put([], {"a": 1}, NOW)
    assert ask(tmp_path, "SELECT count(*) FROM events, rollups, clients")[1] == [(0,)]
    assert json.loads((tmp_path / "manifest.json").read_text())["positions"] == {"a": 1}


@settings(max_examples=30, deadline=None)
@given(st.text(), st.text(), st.integers(-(2**62), 2**62))
def test_no_text_and_no_time_stops_the_store(
    tmp_path_factory: pytest.TempPathFactory, name: str, detail: str, at_ns: int
) -> None:
    place = tmp_path_factory.mktemp("s")
    EventStore(place).put(
        [_event(qname=name, detail=detail, source=name, client=detail, at_ns=at_ns)], {}, NOW
    )
    (row,) = ask(place, "SELECT at_ns, coalesce(qname, '') FROM events")[1]
    assert row[0] == at_ns
    assert row[1].isprintable()


def _filled(place: Path) -> Path:
    EventStore(place).put([_event()], {}, NOW)
    return place


def test_an_import_stores_addresses_as_the_server_does(tmp_path: Path) -> None:
    import subprocess
    import sys

    history = tmp_path / "history"
    EventStore(history, Policy(clients="truncated")).settle()
    log = tmp_path / "c.log"
    log.write_text(
        '[INFO] [2001:db8:1:2::9]:50759 - 2 "AAAA IN h.example. udp 41 false 1232" NOERROR qr 68 0.0009s\n'
    )

    def stored(*options: str) -> tuple[str, str]:
        words = ["logs", "import", str(log), "--format", "coredns", "--state-dir", str(tmp_path)]
        said = subprocess.run(
            [sys.executable, "-m", "quada", *words, *options],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        rows = ask(history, "SELECT client FROM events ORDER BY at_ns DESC")[1]
        return rows[0][0], said

    assert stored()[0] == "2001:db8:1:2::"
    assert settled_clients(history) == "truncated"
    assert stored("--clients", "whole")[0] == "2001:db8:1:2::9"
    assert settled_clients(history) == "truncated"
    EventStore(history, Policy(clients="hashed")).settle()
    client, said = stored()
    assert len(client) == 32
    assert "addresses hashed" in said


def test_where_no_server_ran_an_import_stores_whole_addresses(tmp_path: Path) -> None:
    assert settled_clients(tmp_path) == "whole"
