"""Doctor on recursive resolvers as their client sees them: one well, three with faults."""

import datetime
import json
import sys
from pathlib import Path

import pytest

from quada.transport.tls import make_certificate

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

LEAF6 = "2001:db8:3::53"
WELL, MASKS, BLIND, DEAD = (f"2001:db8:5::{n}" for n in range(1, 5))
SIXONLY = ("sixonly.net. NS ns0.sixonly.net.\nns0.sixonly.net. AAAA 2001:db8:3::53\n",
           "@ NS ns0\nns0 AAAA 2001:db8:3::53\nwww AAAA 2001:db8:ff::1\n")  # fmt: skip

# Its server, faulty.py, never answers for AAAA.
NOAAAA = ("noaaaa.net. NS ns0.noaaaa.net.\nns0.noaaaa.net. AAAA 2001:db8:6::53\n", "@ NS ns0\n")


MAKES, FILTERS = "2001:db8:5::5", "2001:db8:5::6"
SIX6, SIX4 = "2001:db8:5::7", "192.0.2.57"  # one resolver, that tells its prefix over IPv6 alone


@pytest.fixture(scope="module")
def lab(tmp_path_factory, internet_with):
    place = tmp_path_factory.mktemp("resolvers")
    lab = internet_with(place, {"sixonly.net.": SIXONLY, "noaaaa.net.": NOAAAA})
    for address in ("2001:db8:6::53", "192.0.2.6"):
        lab.run("ip", "addr", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo")
    faulty = str(Path(__file__).with_name("faulty.py"))
    lab.popen([sys.executable, faulty, "plain", "2001:db8:6::53", "192.0.2.6"], "faulty.log")
    now = datetime.datetime.now(datetime.UTC)
    make_certificate(place / "chain.pem", place / "key.pem", ["dns.example.net"], now)
    encrypted = "".join(f'listen_{one} = ["[{WELL}]:{port}"]\n'
                        for one, port in (("tls", 853), ("https", 443), ("quic", 853)))  # fmt: skip
    for address, more in (
        (WELL, encrypted),
        (MASKS, 'dns64 = ["64:ff9b::/96"]\ndns64_on_failure = "synthesize"\n'),
        (BLIND, 'dns64 = ["2001:db8:64::/96"]\ndnssec = false\nfamilies = "ipv4"\n'),
    ):
        lab.run("ip", "addr", "add", f"{address}/128", "dev", "lo")
        number = address[-1]
        config = place / f"resolver{number}.toml"
        config.write_text(
            f'version = 1\n[tls]\ncertificate = "{place}/chain.pem"\nkey = "{place}/key.pem"\n'
            f'names = ["dns.example.net"]\n[resolver]\nlisten = ["[{address}]:53"]\nallow = ["::/0"]\n'
            f'root_hints = "{lab.hints}"\ntrust_anchor = "{lab.anchor}"\n{more}'
            f'[server]\nstate_dir = "{place}/state{number}"\nworkers = 1\n'
        )
        lab.popen([sys.executable, "-m", "quada", "serve", "--role", "resolver", "--config", str(config)],
                  f"resolver{number}.log")  # fmt: skip
    lab.run("ip", "addr", "add", f"{DEAD}/128", "dev", "lo")
    double = str(Path(__file__).with_name("resolver_double.py"))
    for mode, *addresses in (("made", MAKES), ("filter", FILTERS), ("six", SIX6, SIX4)):
        for address in addresses:
            lab.run("ip", "addr", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo")
        lab.popen([sys.executable, double, mode, *addresses], f"{mode}.log")
    for address in (WELL, MASKS, BLIND, MAKES, FILTERS, SIX6, SIX4):
        lab.wait_for("localhost", address, 53)
    return lab


def test_each_resolver_is_judged_by_what_its_client_sees(lab, tmp_path) -> None:
    command = [sys.executable, "-m", "quada", "doctor", "resolver", "--json"]
    names = {"secure": "example.com", "bogus": "www.broken.com", "native": "www.example.com",
             "broken-aaaa": "noaaaa.net", "signed-four": "v4only.example.com",
             "six-only": "www.sixonly.net"}  # fmt: skip
    kept = tmp_path / "seen.json"
    said = lab.run(
        *command, *(f"--resolver={one}" for one in (DEAD, WELL, MASKS, BLIND)),
        *(f"--use={purpose}={name}" for purpose, name in names.items()), "--nat64-to", "192.0.2.4:53",
        "--trust", str(lab.place / "chain.pem"), "--save", str(kept), timeout_s=60,
    )  # fmt: skip
    assert said.rstrip().endswith("}"), said[-1500:]
    found = json.loads(said)["findings"]
    bad: dict[str, set[str]] = {}
    for one in found:
        if one["verdict"] in ("FAIL", "WARN"):
            bad.setdefault(one["subject"].split(" ")[0], set()).add(one["code"])
    assert bad == {
        DEAD: {"resolver-answers"},
        WELL: {"dns64-prefix", "ddr-certificate"},
        MASKS: {"dns64-masks"},
        BLIND: {"resolver-validates", "resolver-six-outward"},
        "resolvers": {"dns64-prefix", "resolver-order"},
        "64:ff9b::c000:204": {"nat64-path"}, "2001:db8:64::c000:204": {"nat64-path"},
    }, said  # fmt: skip
    passed = {(one["code"], one["subject"]) for one in found if one["verdict"] == "PASS"}
    assert {("resolver-validates", WELL), ("resolver-six-outward", WELL), ("resolver-ipv6", "resolvers"),
            ("encrypted-ipv6", "dns.example.net. DoT"), ("encrypted-ipv6", "dns.example.net. DoH"),
            ("encrypted-ipv6", "dns.example.net. DoQ")} <= passed, said  # fmt: skip
    again = lab.run(*command, f"--replay={kept}", timeout_s=60)
    assert json.loads(again)["findings"] == found


def test_what_dns64_and_filters_do_wrong_is_told_of_each(lab) -> None:
    names = {"secure": "example.com", "bogus": "www.broken.com", "native": "www.example.com",
             "signed-four": "v4only.example.com"}  # fmt: skip
    said = lab.run(
        sys.executable, "-m", "quada", "doctor", "resolver", "--json",
        *(f"--resolver={one}" for one in (MAKES, FILTERS)),
        *(f"--use={purpose}={name}" for purpose, name in names.items()), timeout_s=60,
    )  # fmt: skip
    found = json.loads(said)["findings"]
    told: dict[str, dict[str, str]] = {}
    for one in found:
        told.setdefault(one["subject"].split(" ")[0], {})[one["code"]] = one["verdict"]
    assert {code for code, verdict in told[MAKES].items() if verdict in ("FAIL", "WARN")} == {
        "dns64-over-native", "dns64-signed", "dns64-reverse",
    }, said  # fmt: skip
    assert told[MAKES]["resolver-ede"] == "INFO"
    assert {code for code, verdict in told[FILTERS].items() if verdict in ("FAIL", "WARN")} == {
        "resolver-no-aaaa", "dns64-prefix",
    }, said  # fmt: skip
    messages = {(one["subject"], one["code"]): one["message"] for one in found}
    assert messages[FILTERS, "resolver-info"] == "it says of itself: qnamemin, exterr=15-17"
    assert messages[MAKES, "resolver-info"] == "it has no RESINFO"


def test_a_prefix_that_is_told_over_ipv6_alone_is_noted_as_such(lab) -> None:
    said = lab.run(
        sys.executable, "-m", "quada", "doctor", "resolver", "--json", f"--resolver={SIX6}",
        f"--resolver={SIX4}", "--use=native=www.example.com", timeout_s=60,
    )  # fmt: skip
    found = {
        one["code"]: one for one in json.loads(said)["findings"] if one["subject"] == "resolvers"
    }
    assert found["dns64-family"]["verdict"] == "INFO", said
    assert found["dns64-family"]["message"] == "who asks over IPv6 is told a prefix, over IPv4 none"
    assert found["resolver-order"]["verdict"] == "PASS", said
    assert "dns64-prefix" not in found, said
