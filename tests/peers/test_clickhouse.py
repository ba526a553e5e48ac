"""ClickHouse as the event store: same questions, same answers; whole commits or none."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import bench.dashboard as dashboard
import httpx
import pytest

from quada.console.figures import figure_of
from quada.server.looking import read_logged
from quada.store.clickhouse import ClickHouseStore, Place, filled
from quada.store.events import Policy
from quada.store.queue import QueuedStore
from quada.store.seam import ask, open_events, open_history, settle_place, settled_clients
from quada.store.spans import read_span
from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.telemetry.filter import read_terms
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault, ReachFault

NOW = 1_795_209_695
CONFIG = """<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>::1</listen_host><http_port>{port}</http_port>
  <path>{place}/data/</path><tmp_path>{place}/tmp/</tmp_path>
  <users_config>{place}/users.xml</users_config>
  <default_profile>default</default_profile><default_database>default</default_database>
  <mark_cache_size>10000000</mark_cache_size>
</yandex>"""
USERS = """<yandex>
  <profiles><default></default></profiles><quotas><default></default></quotas>
  <users><quada><password>s3</password><networks><ip>::1</ip></networks>
    <profile>default</profile><quota>default</quota></quada></users>
</yandex>"""

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import socket

    place = tmp_path_factory.mktemp("clickhouse")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    (place / "config.xml").write_text(CONFIG.format(port=port, place=place))
    (place / "users.xml").write_text(USERS)
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            ["clickhouse-server", f"--config-file={place}/config.xml"],
            stdout=log, stderr=log, cwd=place,
        )  # fmt: skip
    url = f"http://[::1]:{port}"
    for _ in range(200):
        assert process.poll() is None, (place / "log").read_text()
        try:
            if httpx.get(f"{url}/ping", trust_env=False).status_code == 200:
                break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def place(server: str, request: pytest.FixtureRequest) -> Place:
    name = f"d{abs(hash(request.node.nodeid)) % 10**9}"
    return Place(f"{server}/{name}", "quada", "s3")


def event(**over: object) -> Event:
    return Event(
        **{
            "at_ns": NOW * 10**9 + 123_456_789, "role": Role.RECURSIVE, "source": "r1",
            "client": "2001:db8:0:1::9", "qname": "www.example.com.", "qtype": 28, "rcode": 2, **over,
        }
    )  # fmt: skip


EVENTS = [
    event(),
    event(rcode=0, client="192.0.2.1", qtype=1, duration_us=1700, is_nodata=False, is_do=True),
    event(
        kind=Kind.UPSTREAM, client="2001:db8:53::1", transport=Transport.DOQ, ede=6, flags=0x8180,
        validation=Validation.BOGUS, provenance=Provenance.STALE | Provenance.CACHED,
        cause=Cause.VALIDATION, zone="example.com.", upstream_family=6, weight=7, response_octets=99,
    ),
    event(role=None, qname="tab\\009quote'back\\\\slash.example.", rcode=None, is_nodata=True),
    event(source="a\tb\nc\\", detail="why\0", at_ns=NOW * 10**9 + 60 * 10**9, role=Role.AUTHORITATIVE),
]  # fmt: skip
QUESTIONS = (
    "SELECT count(*), sum(weight), min(at_ns), max(at_ns) FROM events",
    "SELECT at_ns, kind, role, source, client, client_port, family, transport, qname, qtype, rcode,"
    " nodata, is_do, ede, validation, provenance, cause, zone, duration_us, response_octets,"
    " answer_count, upstream_family, flags, weight, detail FROM events ORDER BY at_ns, kind, qname,"
    " client, source",
    "SELECT qtype, rcode, count(*) FROM events GROUP BY qtype, rcode ORDER BY qtype, rcode, count(*)",
    "SELECT role, source, kind, qtype, outcome, family, transport, cause, sum(count), sum(timed_count),"
    " sum(duration_us) FROM rollups GROUP BY role, source, kind, qtype, outcome, family, transport,"
    " cause ORDER BY role, source, kind, qtype, outcome, family, transport, cause",
    "SELECT prefix, sum(count), sum(aaaa_count), sum(servfail_count), sum(aaaa_servfail_count)"
    " FROM clients GROUP BY prefix ORDER BY prefix",
)


def nulls_last(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    plain = [tuple(int(c) if isinstance(c, bool) else c for c in row) for row in rows]
    return sorted(plain, key=lambda row: [(cell is None, str(cell)) for cell in row])


def test_the_same_questions_get_the_same_answers(tmp_path: Path, place: Place) -> None:
    files, elsewhere = tmp_path / "files", tmp_path / "clickhouse"
    settle_place(files, None)
    settle_place(elsewhere, place)
    for directory in (files, elsewhere):
        store = open_events(directory, Policy())
        store.put(EVENTS[:2], {"ns1": {"at": [1, 2]}}, NOW)
        store.put(EVENTS[2:], {"ns2": {"at": [3, 4]}}, NOW + 5)
        assert store.positions() == {"ns1": {"at": [1, 2]}, "ns2": {"at": [3, 4]}}
        store.forget("ns1")
        assert set(store.positions()) == {"ns2"}
        assert store.status()["events"] == len(EVENTS)
    for question in QUESTIONS:
        mine, theirs = (ask(directory, question)[1] for directory in (files, elsewhere))
        assert nulls_last(mine) == nulls_last(theirs), question
        assert len(mine) > 0


def both(tmp_path: Path, place: Place) -> tuple[Path, Path]:
    """The same events in files and in ClickHouse, of our own servers, over three minutes."""
    made = (tmp_path / "files", tmp_path / "clickhouse")
    for directory, where in zip(made, (None, place), strict=True):
        settle_place(directory, where)
        store = open_events(directory, Policy())
        store.put(
            [
                event(source="quada", at_ns=(NOW + at) * 10**9, qtype=28 if at % 3 else 1,
                      rcode=2 if at % 7 == 0 else 0, client=f"2001:db8:{at % 5}::9" if at % 4 else "192.0.2.9",
                      transport=Transport.TCP if at % 6 == 0 else Transport.UDP, duration_us=100 + at,
                      kind=Kind.UPSTREAM if at % 9 == 0 else Kind.QUERY,
                      cause=Cause.REACHABILITY if at % 18 == 0 else Cause.NONE)
                for at in range(170)
            ],
            {}, NOW,
        )  # fmt: skip
    return made


def test_the_consoles_dashboard_shows_the_same_from_either(tmp_path: Path, place: Place) -> None:
    start = NOW // 60 * 60
    files, elsewhere = (read_span(one, start, 60, 4) for one in both(tmp_path, place))
    assert len(files.counts) > 10
    assert nulls_last(elsewhere.counts) == nulls_last(files.counts)
    assert sorted(elsewhere.prefixes) == sorted(files.prefixes)
    figures = [figure_of(one, Role.RECURSIVE, 4) for one in (files, elsewhere)]
    assert figures[0].query_count > 100
    assert figures[0].mix == figures[1].mix
    assert figures[0].fell == figures[1].fell


@pytest.mark.parametrize("name", dashboard.QUESTIONS)
def test_a_dashboards_questions_get_the_same_answers(
    tmp_path: Path, place: Place, name: str
) -> None:
    files, elsewhere = both(tmp_path, place)
    hour = ("date_trunc('hour', minute)", "toStartOfHour(minute)")
    mine, theirs = (
        ask(directory, dashboard.QUESTIONS[name].format(hour=word))[1]
        for directory, word in zip((files, elsewhere), hour, strict=True)
    )
    assert len(mine) > 1

    def plain(rows: list[tuple[object, ...]]) -> list[tuple[str, ...]]:
        return sorted(
            tuple(
                f"{float(c):.9f}" if isinstance(c, (int, float, Decimal)) else str(c) for c in row
            )
            for row in rows
        )

    assert plain(mine) == plain(theirs)


def test_many_servers_events_are_asked_in_one_question(tmp_path: Path, server: str) -> None:
    """Each has a database of its own, which ClickHouse joins."""
    for number in (1, 2):
        directory = tmp_path / f"node{number}"
        settle_place(directory, Place(f"{server}/node{number}", "quada", "s3"))
        open_events(directory, Policy()).put(
            [event(rcode=n % 2 * 2) for n in range(number * 10)], {}, NOW
        )
    _, rows = ask(
        tmp_path / "node1",
        "SELECT node, qtype, rcode, count(*) FROM (SELECT 'one' AS node, qtype, rcode FROM node1.events"
        " UNION ALL SELECT 'two' AS node, qtype, rcode FROM node2.events)"
        " GROUP BY node, qtype, rcode ORDER BY node, rcode",
    )
    assert rows == [
        ("one", "AAAA", "NOERROR", 5), ("one", "AAAA", "SERVFAIL", 5),
        ("two", "AAAA", "NOERROR", 10), ("two", "AAAA", "SERVFAIL", 10),
    ]  # fmt: skip


def test_events_come_back_whole_narrowed_and_fresh(tmp_path: Path, place: Place) -> None:
    settle_place(tmp_path, place)
    store = open_events(tmp_path, Policy())
    store.put(EVENTS[:3], {"ring:a": {"at": [1, 2]}}, NOW)
    history = open_history(tmp_path)
    assert sorted(history.since(0), key=repr) == sorted(EVENTS[:3], key=repr)
    assert history.positions == {"ring:a": {"at": [1, 2]}}
    words = read_terms(["aaaa", "zone", "example.com", "upstream"])
    assert list(history.since(0, words)) == [EVENTS[2]]
    assert history.fresh() == []
    store.put(EVENTS[3:4], {}, NOW)
    assert history.fresh() == EVENTS[3:4]
    assert list(history.since((NOW + 1) * 10**9)) == []


def test_incident_reads_the_same_from_either(tmp_path: Path, place: Place) -> None:
    now_ns = time.time_ns()
    some = [event(at_ns=now_ns - 10**9), event(at_ns=now_ns - 10**9, qtype=1, rcode=0),
            event(at_ns=now_ns - 10**9, kind=Kind.UPSTREAM, zone="example.com.", upstream_family=6,
                  cause=Cause.REACHABILITY, rcode=None)]  # fmt: skip
    told = []
    for name, at in (("a", None), ("b", place)):
        settle_place(tmp_path / name / "history", at)
        open_events(tmp_path / name / "history", Policy()).put(some, {}, now_ns // 10**9)
        told.append(read_logged(tmp_path / name, "www.example.com.", 10))
    assert told[0] == told[1]
    assert told[0].six_failed == ("2001:db8:0:1::9",)
    assert told[0].upstream == {6: (1, 0)}


@pytest.mark.parametrize("lost", ["the commit is lost", "only its answer is lost", "rows are lost"])
def test_a_connection_that_breaks_loses_nothing_and_doubles_nothing(
    tmp_path: Path, place: Place, monkeypatch, lost: str
) -> None:
    store = ClickHouseStore(tmp_path, place, Policy())
    store.put([event(qname="first.")], {"n": 1}, NOW)
    run = store._connection.run

    def breaks(sql: str, data: bytes = b"", **options: bool) -> str:
        if sql.startswith("INSERT INTO commits" if "rows" not in lost else "INSERT INTO clients"):
            if lost == "only its answer is lost":
                run(sql, data, **options)
            raise ReachFault("gone")
        return run(sql, data, **options)

    monkeypatch.setattr(store._connection, "run", breaks)
    buffer = [event(qname="second.")]
    for _ in range(2):
        with pytest.raises(ReachFault):
            store.put(buffer, {"n": 2}, NOW)
        buffer.append(event(qname="third."))
        if lost == "only its answer is lost":
            break
    monkeypatch.setattr(store._connection, "run", run)
    store.put(buffer, {"n": 3}, NOW)
    names = [row[0] for row in store.ask("SELECT qname FROM events ORDER BY qname")[1]]
    assert names == ["first.", "second.", *["third."] * (len(buffer) - 1)]
    assert store.positions() == {"n": 3}


def test_what_was_never_committed_is_not_seen_also_after_a_restart(
    tmp_path: Path, place: Place, monkeypatch
) -> None:
    store = ClickHouseStore(tmp_path, place, Policy())
    monkeypatch.setattr(store, "_commit", lambda *_: (_ for _ in ()).throw(ReachFault("killed")))
    with pytest.raises(ReachFault):
        store.put([event(qname="half.")], {}, NOW)
    assert store.status()["events"] == 0
    after = ClickHouseStore(tmp_path, place, Policy())
    after.put([event(qname="whole.")], {}, NOW)
    assert after.ask("SELECT qname FROM events")[1] == [("whole.",)]


def away(place: Place) -> Place:
    return place._replace(url="http://[::1]:1/quada")


def test_events_wait_on_disk_while_the_server_is_away_and_go_in_once(
    tmp_path: Path, place: Place
) -> None:
    policy = Policy(clients="truncated")
    first = QueuedStore(tmp_path, away(place), policy, 1 << 20)
    assert first.trouble
    assert first.positions() == {}
    first.put([event(qname="a.")], {"file": 1}, NOW)
    first.put([event(qname="b.", client=None, detail="why")], {"file": 2}, NOW)
    assert first.waiting_octets > 0
    assert b"2001:db8:0:1::9" not in b"".join(f.read_bytes() for f in tmp_path.rglob("*.json"))
    # The next start finds the server: what waited goes in, in order, and its positions too.
    second = QueuedStore(tmp_path, place, policy, 1 << 20)
    assert second.positions()["file"] == 2
    second.put([event(qname="c.")], {"file": 3}, NOW)
    assert (second.trouble, second.waiting_octets) == ("", 0)
    store = ClickHouseStore(tmp_path, place, policy)
    _, rows = store.ask("SELECT qname, client, detail FROM events ORDER BY qname")
    assert rows == [
        ("a.", "2001:db8:0:1::", None),
        ("b.", None, "why"),
        ("c.", "2001:db8:0:1::", None),
    ]
    # Away again at the next start: where files were read to is known all the same.
    third = QueuedStore(tmp_path, away(place), policy, 1 << 20)
    assert third.positions()["file"] == 3


def test_what_came_through_before_the_answer_was_lost_is_not_put_again(
    tmp_path: Path, place: Place
) -> None:
    queued = QueuedStore(tmp_path, away(place), Policy(), 1 << 20)
    queued.put([event()], {"file": 1}, NOW)
    store = ClickHouseStore(tmp_path, place, Policy())
    store.put([event()], {"file": 1, "queue": {"at": 1}}, NOW)
    back = QueuedStore(tmp_path, place, Policy(), 1 << 20)
    back.put([], {"file": 1}, NOW)
    assert store.ask("SELECT count() FROM events")[1] == [(1,)]
    assert not back.waiting_octets


def test_a_queue_is_bounded_and_a_broken_file_in_it_keeps_nothing_waiting(
    tmp_path: Path, place: Place
) -> None:
    queued = QueuedStore(tmp_path, away(place), Policy(), 2_000)
    took = 0
    with contextlib.suppress(ReachFault):
        for took in range(20):  # noqa: B007
            queued.put([event()], {}, NOW)
    with pytest.raises(ReachFault, match="full"):
        queued.put([event()], {}, NOW)
    assert took > 1
    assert queued.waiting_octets <= 2_000
    (tmp_path / "queue" / "000000000001.json").write_text("{")
    count = len(list((tmp_path / "queue").glob("*.json"))) - 1
    back = QueuedStore(tmp_path, place, Policy(), 2_000)
    back.put([], {}, NOW)
    assert not back.waiting_octets
    assert (tmp_path / "queue" / "000000000001.broken").exists()
    assert ask_count(tmp_path, place) == count


def ask_count(directory: Path, place: Place) -> int:
    return ClickHouseStore(directory, place, Policy()).ask("SELECT count() FROM events")[1][0][0]


def test_old_days_go_by_age_and_by_space(tmp_path: Path, place: Place) -> None:
    store = ClickHouseStore(tmp_path, place, Policy(keep_s=10 * 86_400))
    for days in (20, 5, 0):
        store.put([event(qname=f"d{days}.")], {"n": days}, NOW - days * 86_400)
    assert store.compact(NOW) > 0
    assert {row[0] for row in store.ask("SELECT qname FROM events")[1]} == {"d5.", "d0."}
    assert store.positions() == {"n": 0}
    small = ClickHouseStore(tmp_path, place, Policy(keep_octets=1))
    small.compact(NOW)
    assert {row[0] for row in small.ask("SELECT qname FROM events")[1]} == {"d0."}


def test_questions_change_nothing_and_wrong_ones_are_told_in_the_servers_words(
    tmp_path: Path, place: Place
) -> None:
    settle_place(tmp_path, place)
    open_events(tmp_path, Policy()).put([event()], {}, NOW)
    for sql in (
        "DROP TABLE events_rows",
        "INSERT INTO voided VALUES (1)",
        "SELECT nonsense FROM events",
    ):
        with pytest.raises(ConfigFault):
            ask(tmp_path, sql)
    evil = "x' OR '1'='1"
    assert ask(tmp_path, "SELECT count(*) FROM events WHERE qname = ?", [evil])[1] == [(0,)]
    assert filled("a = ? AND b = ?", ["\\'", 3]) == "a = '\\\\\\'' AND b = 3"
    with pytest.raises(ConfigFault):
        filled("a = ?", ["b", "c"])


def test_a_server_that_is_away_is_said_and_a_wrong_url_too(tmp_path: Path) -> None:
    with pytest.raises(ReachFault):
        ClickHouseStore(tmp_path, Place("http://[::1]:1/quada"), Policy())
    for url in ("", "http://[::1]:8123", "http://[::1]:8123/a;b", "tcp://[::1]/quada"):
        with pytest.raises(ConfigFault):
            ClickHouseStore(tmp_path, Place(url), Policy())


def test_a_running_server_stores_there_and_its_commands_find_it(
    serve, tmp_path: Path, place: Place, until
) -> None:
    zone, config = tmp_path / "zone", tmp_path / "quada.toml"
    zone.write_text("@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n@ 60 AAAA 2001:db8::1\n")
    config.write_text(
        f'version = 1\n[events]\nclickhouse = "{place.url}"\nclickhouse_user = "quada"\n'
        f'clickhouse_secret = "s3"\nclients = "truncated"\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    for _ in range(5):
        served.udp("example.com.", "AAAA")
    state = ("--state-dir", str(served.state_dir))

    def quada(*words: str) -> str:
        words = (sys.executable, "-m", "quada", *words, *state)
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def count() -> int:
        found = quada(
            "logs", "query", "--json", "SELECT count(*) AS n, min(client) AS c FROM events"
        )
        return json.loads(found)[0]["n"] if found else 0

    until(lambda: count() == 5, within_s=30, what="five stored events")
    history = served.state_dir / "history"
    assert settled_clients(history) == "truncated"
    assert (history / "clickhouse.json").stat().st_mode & 0o077 == 0
    assert not list(history.glob("events/*"))
    shown = quada("tail", "--since", "1h", "--no-follow", "--json").splitlines()
    assert [json.loads(line)["client"] for line in shown] == ["::"] * 5
    served.stop()
    settle_place(history, None)
    with pytest.raises(ReachFault):
        ask(history, "SELECT 1")
    assert os.environ.get("CLICKHOUSE") is None
