"""Questions of a dashboard over a day of 100 million events, answered from rollups.

`python -m bench.dashboard` writes a day of rollups as the collector would have them: whole hours
put together, and the last hour as the segments of every five seconds. The counts are drawn; the
questions are those of the Grafana dashboard and of the console, and run as `quada logs query` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quada.store.events import EventStore, Policy, Segment, ask
from quada.store.rows import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_S: Final = 1_795_132_800
_EVENTS: Final = 100_000_000
_PER_PUT: Final = 72  # keys: 4 types, 6 outcomes, 3 of families and transports
_PREFIXES: Final = 1_000
QUESTIONS: Final = {
    "by type and minute": "SELECT minute, qtype, sum(count) FROM rollups GROUP BY minute, qtype",
    "failures of AAAA beside A": "SELECT minute, qtype,"
    " sum(CASE WHEN outcome = 'SERVFAIL' THEN count ELSE 0 END) / sum(count)"
    " FROM rollups WHERE qtype IN ('AAAA', 'A') GROUP BY minute, qtype",
    "families": "SELECT {hour} AS hour, family, sum(count) FROM rollups GROUP BY hour, family",
    "latency": "SELECT minute, sum(duration_us) / sum(timed_count) FROM rollups GROUP BY minute",
    "transports of the last hour": "SELECT transport, sum(count) FROM rollups WHERE minute >"
    " (SELECT max(minute) FROM rollups) - INTERVAL 1 HOUR GROUP BY transport",
    "clients that fail most": "SELECT prefix, sum(aaaa_servfail_count) AS n FROM clients"
    " GROUP BY prefix ORDER BY n DESC LIMIT 20",
}
"""In SQL that DuckDB and ClickHouse both take, but for `hour`: the beginning of a minute's hour."""
HOUR: Final = "date_trunc('hour', minute)"


def _select(table: str, from_s: int, length_s: int, step_s: int) -> str:
    """Give SQL that draws one segment's rows: one a key and step."""
    at = f"to_timestamp({from_s} + s - ({from_s} + s) % 60)::TIMESTAMP"
    times = f"range(0, {length_s}, {step_s}) AS t(s)"
    per_row = _EVENTS * step_s / 86_400 / _PER_PUT
    if table == "clients":
        return (
            f"SELECT {at} AS minute, 'recursive' AS role, 'quada' AS source,"
            f" '2001:db8:' || to_hex(k) || '::/64' AS prefix,"
            f" (random() * 12)::BIGINT AS count, (random() * 5)::BIGINT AS aaaa_count,"
            " (random() * 1.1)::BIGINT AS servfail_count,"
            " (random() * 0.6)::BIGINT AS aaaa_servfail_count"
            f" FROM {times}, range({_PREFIXES}) AS p(k)"
        )
    return (
        f"SELECT {at} AS minute, 'recursive' AS role, 'quada' AS source, 'query' AS kind,"
        " (['AAAA', 'A', 'HTTPS', 'other'])[k % 4 + 1] AS qtype,"
        " (['NOERROR', 'NODATA', 'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'FORMERR'])[k // 4 % 6 + 1]"
        " AS outcome, (CASE WHEN k // 24 = 2 THEN 4 ELSE 6 END)::TINYINT AS family,"
        " (['udp', 'tcp', 'udp'])[k // 24 + 1] AS transport, NULL::VARCHAR AS cause,"
        f" (random() * 2 * {per_row})::BIGINT AS count,"
        f" (random() * 2 * {per_row})::BIGINT AS timed_count,"
        f" (random() * 2000 * {per_row})::BIGINT AS duration_us"
        f" FROM {times}, range({_PER_PUT}) AS p(k)"
    )


def _segments(store: EventStore, directory: Path, last_step_s: int) -> Iterator[Segment]:
    """Write 23 hours as they are once put together, and one as it is written."""
    number = 0
    for hour in range(24):
        from_s = _START_S + 3600 * hour
        length_s = 3600 if hour < 23 else last_step_s
        for start_s in range(from_s, from_s + 3600, length_s):
            for table in ("rollups", "clients"):
                number += 1
                stamp = time.strftime("%Y%m%d%H", time.gmtime(from_s))
                name = f"{table}/role=recursive/hour={stamp}/{number:010d}.parquet"
                step_s = 60 if hour < 23 else last_step_s
                store._copy(_select(table, start_s, length_s, step_s), [], name)
                size = (directory / name).stat().st_size
                yield Segment(table, name, 0, size, start_s)


def main() -> None:
    """Write a day, ask, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--commit-s", type=int, default=5)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        store = EventStore(directory, Policy(2**40, 2**62))
        segments = list(_segments(store, directory, wanted.commit_s))
        store._commit(len(segments), segments, {})
        octets = sum(one.octets for one in segments)
        (total,) = ask(directory, "SELECT sum(count) FROM rollups")[1][0]
        print(
            f"{int(total):,} events in {len(segments)} segments of {', '.join(list(TABLES)[1:])},"
            f" {octets / 1e6:.0f} MB"
        )
        for what, sql in QUESTIONS.items():
            took = []
            for _ in range(3):
                started = time.perf_counter()
                _, rows = ask(directory, sql.format(hour=HOUR))
                took.append(time.perf_counter() - started)
            print(f"{what}: {min(took) * 1000:.0f} ms, {len(rows)} rows")


if __name__ == "__main__":
    main()
