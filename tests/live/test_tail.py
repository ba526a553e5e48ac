"""`quada tail --since`: what is stored, then what happens, without a gap and nothing twice."""

import json
import subprocess
import sys
import time
from pathlib import Path

ZONE = "@ 60 SOA a b 1 2 3 4 5\n@ 60 NS a.example.net.\n* 60 AAAA 2001:db8::1\n"
LINE = (
    "20-Nov-2026 21:00:00.000 queries: info: client @0x7fa0 2001:db8:1::9#1024 ({0}):"
    " query: {0} IN AAAA +E(0)K (2001:db8::53)\n"
    "20-Nov-2026 21:00:00.001 query-errors: info: client @0x7fa0 2001:db8:1::9#1024 ({0}):"
    " query failed (SERVFAIL) for {0}/IN/AAAA at query.c:7916\n"
)


def quada(*words: str) -> list[str]:
    return [sys.executable, "-m", "quada", *words]


def test_history_goes_over_into_what_happens_and_tells_of_other_servers(
    serve, tmp_path: Path, until
) -> None:
    zone, log = tmp_path / "zone", tmp_path / "queries.log"
    zone.write_text(ZONE)
    log.write_text("")
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
        f'[[logs]]\nname = "ns1"\npath = "{log}"\nformat = "bind"\nrole = "recursive"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    state = ("--state-dir", str(served.state_dir))
    for number in range(20):
        served.udp(f"n{number}.example.com.", "AAAA")

    def is_stored() -> bool:
        ask = quada("logs", "query", "--json", *state, "SELECT count(*) AS n FROM events")
        ran = subprocess.run(ask, capture_output=True, text=True, check=False)
        return ran.returncode == 0 and json.loads(ran.stdout)[0]["n"] >= 20

    until(is_stored, within_s=20, what="twenty stored events")
    for number in range(20, 30):
        served.udp(f"n{number}.example.com.", "AAAA")
    out = tmp_path / "out"
    with out.open("w") as file:
        tail = subprocess.Popen(
            quada("tail", "--since", "2026-11-20T00:00", "--json", *state), stdout=file
        )
        try:
            until(lambda: len(out.read_text().splitlines()) == 30, within_s=20, what="thirty")
            for number in range(30, 40):
                served.udp(f"n{number}.example.com.", "AAAA")
            with log.open("a") as more:
                more.write(LINE.format("other.example"))
            until(lambda: '"ns1"' in out.read_text(), within_s=30, what="the other server's")
            time.sleep(6)  # the next commit stores what was shown live, and must not show it again
        finally:
            tail.terminate()
            tail.wait(10)
    shown = [json.loads(line) for line in out.read_text().splitlines()]
    own = [one["qname"] for one in shown if one["source"] == "quada"]
    assert own == [f"n{number}.example.com." for number in range(40)]
    (other,) = [one for one in shown if one["source"] == "ns1"]
    assert (other["qname"], other["rcode"]) == ("other.example.", "SERVFAIL")
    few = subprocess.run(
        quada("tail", "--since", "1h", "--no-follow", "--json", *state, "name", "n7.example.com"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(few.stdout.splitlines()) == 1


def test_where_no_history_is_kept_the_rings_are_read(serve, tmp_path: Path) -> None:
    zone, config = tmp_path / "zone", tmp_path / "quada.toml"
    zone.write_text(ZONE)
    config.write_text(
        "version = 1\n[events]\nhistory_days = 0\n"
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    served.udp("a.example.com.", "AAAA")
    words = ("tail", "--since", "5m", "--no-follow", "--state-dir", str(served.state_dir))
    ran = subprocess.run(quada(*words), capture_output=True, text=True, check=True)
    assert "a.example.com." in ran.stdout
    ran = subprocess.run(
        quada("tail", "--since", "5m", "--state-dir", str(tmp_path / "nowhere")),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "no events are kept" in ran.stderr
