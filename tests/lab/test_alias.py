"""ALIAS in the small internet: real resolvers, targets that move, vanish and fall silent."""

import json
import sys
import time

import pytest

pytestmark = pytest.mark.lab

ZONE = """$TTL 300
@ SOA ns host 1 3600 600 86400 60
@ NS ns
ns AAAA 2001:db8:5::53
@ MX 10 mail
mail AAAA 2001:db8:5::25
@ ALIAS www.example.net.
chain ALIAS alias.example.com.
v4 ALIAS v4only.example.com.
none ALIAS nx.example.net.
silent ALIAS www.silent.test.
here ALIAS mail
loop ALIAS loop2
loop2 ALIAS loop
static AAAA 2001:db8::1
*.wild ALIAS www.example.net.
"""


def status(answer: str) -> str:
    return answer.partition("status: ")[2].partition(",")[0]


@pytest.fixture(scope="module", params=["own", "unbound", "pdns_recursor"])
def authority(internet, resolver, request):
    """quada with ALIAS records, asking its own resolver or a real one; gives the port."""
    kind = request.param
    place = internet.place / f"alias-{kind}"
    place.mkdir()
    (place / "zone").write_text(ZONE)
    port = {"own": 5400, "unbound": 5401, "pdns_recursor": 5402}[kind]
    if kind == "own":
        upstream = resolver()[0]
    elif kind == "pdns_recursor":
        upstream = 5410
        internet.popen(
            [
                "pdns_recursor", "--daemon=no", f"--config-dir={place}", f"--socket-dir={place}",
                "--local-address=::1", f"--local-port={upstream}", "--allow-from=::1/128",
                f"--hint-file={internet.hints}", "--dnssec=process-no-validate", "--threads=1",
                "--query-local-address=::,0.0.0.0", "--security-poll-suffix=", "--dont-query=",
                "--server-down-max-fails=0", "--disable-syslog=yes",
            ],
            "alias-pdns.log",
        )  # fmt: skip
        internet.wait_for("example.com", "::1", upstream)
    else:
        upstream = 5409
        (place / "unbound.conf").write_text(
            f'server:\n  interface: ::1@{upstream}\n  do-daemonize: no\n  username: ""\n'
            f'  chroot: ""\n  directory: {place}\n  pidfile: {place}/pid\n  use-syslog: no\n'
            f"  root-hints: {internet.hints}\n  access-control: ::1 allow\n"
            "remote-control:\n  control-enable: no\n"
        )
        internet.popen(["unbound", "-d", "-c", str(place / "unbound.conf")], "alias-unbound.log")
        internet.wait_for("example.com", "::1", upstream)
    (place / "quada.toml").write_text(
        f'version = 1\n[server]\nworkers = 2\nstate_dir = "{place}/state"\n'
        f'[authority]\nlisten = ["[::1]:{port}"]\n[alias]\nupstream = ["[::1]:{upstream}"]\n'
        f'[[zone]]\nname = "example.org"\nfile = "{place}/zone"\n'
    )
    internet.popen(
        [
            sys.executable,
            "-m",
            "quada",
            "serve",
            "--role",
            "authority",
            "--config",
            str(place / "quada.toml"),
        ],
        f"alias-{kind}.log",
    )
    internet.wait_for("example.org", "::1", port)
    return port, place / "state"


@pytest.mark.parametrize(
    ("qname", "rdtype", "rcode", "found"),
    [
        ("example.org", "AAAA", "NOERROR", "2001:db8:ff::82"),
        ("example.org", "A", "NOERROR", "192.0.2.82"),
        ("example.org", "MX", "NOERROR", "mail.example.org."),
        ("chain.example.org", "AAAA", "NOERROR", "2001:db8:ff::82"),
        ("v4.example.org", "A", "NOERROR", "192.0.2.81"),
        ("v4.example.org", "AAAA", "NOERROR", ""),
        ("none.example.org", "AAAA", "NOERROR", ""),
        ("here.example.org", "AAAA", "NOERROR", "2001:db8:5::25"),
        ("loop.example.org", "AAAA", "NOERROR", ""),
        ("x.wild.example.org", "AAAA", "NOERROR", "2001:db8:ff::82"),
        ("example.org", "TYPE65401", "NOERROR", ""),
    ],
)
def test_what_a_target_gives_is_what_the_name_has(
    internet, authority, qname, rdtype, rcode, found
) -> None:
    answer = internet.dig(qname, rdtype, port=authority[0])
    assert status(answer) == rcode, answer
    records = [line for line in answer.splitlines() if line.startswith(qname) and "SOA" not in line]
    if found:
        assert any(found in line for line in records), answer
    else:
        assert "ANSWER: 0" in answer
        assert "SOA" in answer


def test_the_order_is_fresh_then_stale_and_never_late(internet, authority) -> None:
    port, _ = authority
    assert "2001:db8:ff::82" in internet.dig("example.org", "AAAA", port=port)
    internet.drop("meta l4proto udp th dport { 53, 5301-5399, 5409, 5410 }")
    try:
        started = time.monotonic()
        answer = internet.dig("silent.example.org", "AAAA", port=port)
        took = time.monotonic() - started
        assert "ANSWER: 0" in answer
        assert status(answer) == "NOERROR"
        assert "EDE: 22" in answer
        print(f"empty after {took * 1000:.0f} ms")
        assert "2001:db8::1" in internet.dig("static.example.org", "AAAA", port=port)
        assert "2001:db8:ff::82" in internet.dig("example.org", "AAAA", port=port)
    finally:
        internet.restore()


def test_events_say_alias(internet, authority) -> None:
    port, state = authority
    internet.dig("example.org", "AAAA", port=port)
    shown = internet.run(
        sys.executable,
        "-m",
        "quada",
        "tail",
        "--json",
        "--no-follow",
        "-n",
        "3",
        "--state-dir",
        str(state),
    )
    event = json.loads(shown.splitlines()[-1])
    assert "alias" in event["provenance"]
