"""The incident checklist against planted faults: the right cause comes first."""

import datetime
import json
import sys
import time
from pathlib import Path

import pytest

from quada.transport.tls import make_certificate

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

LEAF6, LEAF4, LEAF2 = "2001:db8:3::53", "192.0.2.4", "2001:db8:4::53"


def zone(name: str, *, glue6: str = LEAF6, six: str = LEAF6, more: str = "") -> tuple[str, str]:
    """What net. says of a zone with one server, and what it says itself."""
    parent = f"{name} NS ns0.{name}\nns0.{name} A {LEAF4}\n" + (
        f"ns0.{name} AAAA {glue6}\n" if glue6 else ""
    )
    return parent, f"@ NS ns0\nns0 A {LEAF4}\n" + (f"ns0 AAAA {six}\n" if six else "") + more


PLANTED = {
    "well.net.": zone("well.net.", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"),
    "noglue.net.": zone("noglue.net.", glue6="", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"),
    "oldglue.net.": zone(
        "oldglue.net.", glue6=LEAF2, more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"
    ),
    "v4zone.net.": zone(
        "v4zone.net.", glue6="", six="", more="@ AAAA 2001:db8:ff::1\n@ A 192.0.2.9\n"
    ),
    "onlya.net.": zone("onlya.net.", more="@ A 192.0.2.9\n"),
    "ring1.net.": ("ring1.net. NS ns.ring2.net.\n", "@ NS ns.ring2.net.\n"),
    "ring2.net.": ("ring2.net. NS ns.ring1.net.\n", "@ NS ns.ring1.net.\n"),
}
# A server of our own with a fault a zone (faulty.py).
FAULTY6, FAULTY4 = "2001:db8:6::53", "192.0.2.6"
for _name in ("noedns", "noaaaa", "bigdrop", "bigfrag", "lowered", "decent"):
    PLANTED[f"{_name}.net."] = (
        f"{_name}.net. NS ns0.{_name}.net.\nns0.{_name}.net. AAAA {FAULTY6}\nns0.{_name}.net. A {FAULTY4}\n",
        "@ NS ns0\n",
    )
PLANTED["glueonly.net."] = zone("glueonly.net.", six="", more="@ AAAA 2001:db8:ff::1\n")
PLANTED["onv4zone.net."] = (
    "onv4zone.net. NS ns0.v4zone.net.\n",
    "@ NS ns0.v4zone.net.\n@ AAAA 2001:db8:ff::1\n",
)
PLANTED["nsdiff.net."] = zone(
    "nsdiff.net.", more=f"@ NS ns9\nns9 AAAA {LEAF6}\n@ AAAA 2001:db8:ff::1\n"
)
# Web servers, by number: addresses 2001:db8:9::N and 192.0.2.20N.
for _number, _name in enumerate(("onfour", "unlike", "badcert", "halfdead", "slow"), 1):
    PLANTED[f"{_name}.net."] = zone(f"{_name}.net.", more=f"@ AAAA 2001:db8:9::{_number}\n@ A 192.0.2.20{_number}\n"
                                    + "@ AAAA 2001:db8:9::99\n" * (_name == "halfdead"))  # fmt: skip
SITUATIONS = [
    # packets to drop, and for each name the cause that is right
    ([], {
        "well.net": "none-found", "www.example.com": "none-found", "nsdiff.net": "none-found",
        "www.broken.com": "aaaa-bogus", "noglue.net": "glue-missing", "oldglue.net": "glue-stale",
        "glueonly.net": "glue-stale", "v4zone.net": "servers-without-ipv6",
        "onv4zone.net": "servers-without-ipv6", "onlya.net": "aaaa-missing",
        "ring1.net": "zone-unresolvable", "noaaaa.net": "aaaa-dropped", "noedns.net": "edns-broken",
        "bigdrop.net": "large-answers-lost", "bigfrag.net": "fragments-lost",
        "onfour.net": "service-closed", "unlike.net": "web-differs", "badcert.net": "certificate",
        "halfdead.net": "address-dead",
    }),
    ([f"ip6 daddr {LEAF6}", f"ip6 daddr {LEAF2}"], {
        "www.example.com": "ipv6-unreachable", "well.net": "ipv6-unreachable",
    }),
    ([f"ip6 daddr {LEAF6} tcp dport 53", f"ip6 daddr {LEAF2} tcp dport 53"],
     {"www.example.com": "tcp-blocked"}),
    ([f"ip6 daddr {LEAF2}", "ip daddr 192.0.2.5"], {"www.example.com": "server-dead"}),
    (["ip6 daddr 2001:db8:9::5 tcp dport 80 tcp flags & (syn|ack) == syn numgen inc mod 2 0"],
     {"slow.net": "slow-ipv6"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory, internet_with):
    place = tmp_path_factory.mktemp("incidents")
    lab = internet_with(place, PLANTED)
    for address in (FAULTY6, FAULTY4, *(f"2001:db8:9::{n}" for n in range(1, 6)),
                    *(f"192.0.2.20{n}" for n in range(1, 6))):  # fmt: skip
        lab.run("ip", "addr", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo")
    now = datetime.datetime.now(datetime.UTC)
    names, pem = ["badcert.net"], place / "web.pem"
    for path, covered in ((pem, names), (Path(f"{pem}.other"), ["other.example"])):
        make_certificate(place / "chain.pem", place / "key.pem", covered, now)
        path.write_text((place / "key.pem").read_text() + (place / "chain.pem").read_text())
    web = []
    for number, name in enumerate(("onfour", "unlike", "badcert", "halfdead", "slow"), 1):
        six, four = f"2001:db8:9::{number}", f"192.0.2.20{number}"
        web += ["elsewhere" if name == "unlike" else name, four, "80"]
        web += [name, six, "80"] if name != "onfour" else []
        web += [name, four, "443", f"tls-other {name}", six, "443"] if name == "badcert" else []
    here = Path(__file__).parent
    lab.popen([sys.executable, str(here / "services.py"), str(pem), *web], "web.log")
    lab.popen([sys.executable, str(here / "faulty.py"), "plain", FAULTY6, FAULTY4], "faulty.log")
    lab.wait_for("decent.net", FAULTY6)
    return lab


def run_incident(lab, name: str) -> dict:
    said = lab.run(
        sys.executable, "-m", "quada", "incident", name, "--lab", "--json", "--root-hints",
        str(lab.hints), "--trust-anchor", str(lab.anchor), timeout_s=120,
    )  # fmt: skip
    return json.loads(said)


def test_the_right_cause_comes_first_in_nine_of_ten(lab) -> None:
    count, wrong = 0, []
    for drops, expected in SITUATIONS:
        for drop in drops:
            lab.drop(drop)
        try:
            said = lab.run(sys.executable, str(Path(__file__).with_name("walk.py")), str(lab.hints),
                           str(lab.anchor), str(lab.place / "web.pem"), *expected, timeout_s=200)  # fmt: skip
        finally:
            if drops:
                lab.restore()
        named = json.loads(said)
        count += len(expected)
        wrong += [
            (name, right, named[name]) for name, right in expected.items() if named[name] != right
        ]
    print(f"{count - len(wrong)} of {count} right; {wrong}")
    assert len(wrong) <= count // 10, wrong


def test_the_steps_come_in_order_with_their_commands(lab) -> None:
    told = run_incident(lab, "www.broken.com")
    assert [step["title"] for step in told["steps"]] == [
        "authoritative answers", "IPv6 transport", "validation", "client discovery", "fallback masking", "blast radius",
    ]  # fmt: skip
    assert told["steps"][2]["verdict"] == "FAIL"
    assert told["steps"][3]["verdict"] == "UNKNOWN"
    assert all(step["commands"] for step in told["steps"])


def test_the_web_process_walks_it_too_from_where_it_stands(lab, tmp_path) -> None:
    from quada.store.accounts import FILE, Accounts

    config = tmp_path / "quada.toml"
    config.write_text(
        'version = 1\n[api]\nlisten = ["[::1]:8080"]\n'
        f'[resolver]\nroot_hints = "{lab.hints}"\ntrust_anchor = "{lab.anchor}"\n'
    )
    state = tmp_path / "state"
    accounts = Accounts.open(state / FILE)
    accounts.add_user("nobody", ("read",), 1)  # so that no first link is printed
    token = accounts.add_token("lab", ("read",), 1)
    accounts.close()
    served = lab.popen(
        [
            sys.executable, "-m", "quada", "serve", "--role", "authority", "--config", str(config),
            "--listen", "[::1]:5399", "--state-dir", str(state),
        ],
        "web",
    )  # fmt: skip
    ask = [
        "curl", "-s", "--retry", "40", "--retry-connrefused", "--retry-delay", "1", "-g",
        "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json",
    ]  # fmt: skip
    try:
        for name, right in (("www.broken.com", "aaaa-bogus"), ("well.net", "none-found")):
            body = json.dumps({"kind": "incident", "name": name})
            begun = lab.run(*ask, "-d", body, "http://[::1]:8080/quada/v1/runs", timeout_s=60)
            path = f"http://[::1]:8080/quada/v1/runs/{json.loads(begun)['id']}"
            deadline = time.monotonic() + 120
            told: dict = {}
            while not told.get("is_done"):
                assert time.monotonic() < deadline, told
                time.sleep(0.5)
                told = json.loads(lab.run(*ask, path))
            assert told["report"]["causes"][0]["code"] == right, told["report"]["causes"]
    finally:
        served.terminate()
        served.wait(20)
