"""Doctor on what a domain offers beside its zone: web, mail, encrypted name servers."""

import datetime
import json
import sys
from pathlib import Path

import pytest

from quada.transport.tls import make_certificate

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

LEAF6, LEAF4 = "2001:db8:3::53", "192.0.2.4"
DNS6, DNS4 = "2001:db8:8::53", "192.0.2.8"
WEB6, WEB4 = "2001:db8:9::{}", "192.0.2.{}"
ALONE = {"ns-ipv6-count", "ns-diversity", "single-point"}


def planted(number: int, name: str, *, more: str = "", six: int = 1) -> tuple[str, tuple[str, str]]:
    """A zone with its web server at addresses of its own, reverse names aside."""
    parent = f"{name}. NS ns0.{name}.\nns0.{name}. A {LEAF4}\nns0.{name}. AAAA {LEAF6}\n"
    own = f"@ NS ns0\nns0 A {LEAF4}\nns0 AAAA {LEAF6}\n@ A {WEB4.format(200 + number)}\n"
    own += "".join(f"@ AAAA {WEB6.format(number + 100 * at)}\n" for at in range(six))
    return f"{name}.", (parent, own + more)


def svcb(alpn: str, *, rest: str = "") -> str:
    return f"_dns.ns0 SVCB 1 dot alpn={alpn} {rest}\n"


HOST6, HOST4 = f"dot AAAA {DNS6}\n", f"dot A {DNS4}\n"
ZONES = dict((
    planted(1, "good.net", more="@ MX 1 mx\nmx AAAA 2001:db8:9::1\n" + HOST6 + HOST4
            + svcb("dot,doq,h2", rest='dohpath="/dns-query{?dns}" ipv6hint=' + DNS6)),
    planted(2, "onfour.net", more="@ MX 1 mx\nmx A 192.0.2.202\n" + HOST6 + HOST4
            + svcb("dot", rest="port=8853")),
    planted(3, "unlike.net", more=HOST6 + HOST4 + svcb("dot")),
    planted(4, "badcert.net", more=HOST6 + HOST4 + svcb("doq", rest=f"port=9 ipv4hint={DNS4}"), six=2),
    planted(5, "slow.net"),
    planted(6, "srvfour.net", more="_imaps._tcp SRV 0 0 993 imap\nimap A 192.0.2.206\n"),
    planted(7, "srvdead.net", more="_sip._udp SRV 0 0 5060 www.four.net.\n"),
    planted(8, "https.net", more="@ HTTPS 1 web alpn=h2\nweb A 192.0.2.208\n"),
    planted(9, "stalehint.net", more="@ HTTPS 1 . ipv6hint=2001:db8:9::99\n"),
))  # fmt: skip
EXPECTED = {
    "good.net": set(),
    "onfour.net": {"service-ipv6", "mail-ipv6", "encrypted-ipv6"},
    "unlike.net": {"web-differs", "encrypted-certificate"},
    "badcert.net": {"web-certificate", "service-address", "encrypted-dead", "encrypted-hints"},
    "slow.net": {"happy-eyeballs"},
    "srvfour.net": {"service-aaaa"},
    "srvdead.net": {"target-ipv6-only"},
    "https.net": {"service-aaaa"},
    "stalehint.net": {"https-hints"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, internet_with):
    place = tmp_path_factory.mktemp("services")
    lab = internet_with(place, ZONES)
    for address in (f"{DNS6}/128", f"{DNS4}/32"):
        lab.run("ip", "addr", "add", address, "dev", "lo")
    for number in (*range(1, len(ZONES) + 1), 104):
        lab.run("ip", "addr", "add", f"{WEB6.format(number)}/128", "dev", "lo")
        lab.run("ip", "addr", "add", f"{WEB4.format(200 + number)}/32", "dev", "lo")
    now = datetime.datetime.now(datetime.UTC)
    names = [*(name.rstrip(".") for name in ZONES), "dot.good.net", "dot.onfour.net"]
    trusted, pem = "", place / "web.pem"
    for path, covered in ((pem, names), (Path(f"{pem}.other"), ["other.example"])):
        make_certificate(place / "chain.pem", place / "key.pem", covered, now)
        path.write_text((place / "key.pem").read_text() + (place / "chain.pem").read_text())
        trusted += (place / "chain.pem").read_text()
        if path == pem:
            for part in ("chain", "key"):
                (place / f"dns-{part}.pem").write_text((place / f"{part}.pem").read_text())
    (place / "trust.pem").write_text(trusted)
    config = place / "dns.toml"
    config.write_text(
        f'version = 1\n[tls]\ncertificate = "{place}/dns-chain.pem"\nkey = "{place}/dns-key.pem"\n'
        f'[authority]\nlisten = ["[{DNS6}]:5398"]\nlisten_tls = ["[{DNS6}]:853", "{DNS4}:853", "{DNS4}:8853"]\n'
        f'listen_https = ["[{DNS6}]:443"]\nlisten_quic = ["[{DNS6}]:853"]\n'
        f'[server]\nstate_dir = "{place}/state"\nworkers = 1\n'
    )
    lab.popen(
        [sys.executable, "-m", "quada", "serve", "--role", "authority", "--config", str(config)],
        "dns.log",
    )
    web = []
    for number, name in enumerate(ZONES, 1):
        six, four = WEB6.format(number), WEB4.format(200 + number)
        for port in ("80", "443"):
            web += ["elsewhere" if name == "unlike.net." else name, four, port]
            if name != "onfour.net.":
                web += [
                    "tls-other badcert.net." if name == "badcert.net." and port == "443" else name,
                    six,
                    port,
                ]
    lab.popen(
        [sys.executable, str(Path(__file__).with_name("services.py")), str(pem), *web], "web.log"
    )
    lab.wait_for("nowhere", DNS6, 5398)
    return lab


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_domain_offers_is_judged_over_both_families(lab, name: str) -> None:
    if name == "slow.net":  # the first SYN is lost, and comes again after a second
        lab.drop(
            f"ip6 daddr {WEB6.format(5)} tcp dport 80 tcp flags & (syn|ack) == syn numgen inc mod 2 0"
        )
    report = lab.place / f"{name}.html"
    said = lab.run(
        sys.executable, "-m", "quada", "doctor", name, "--lab", "--json", "--root-hints", str(lab.hints),
        "--trust-anchor", str(lab.anchor), "--trust", str(lab.place / "trust.pem"), "--html", str(report),
        timeout_s=60,
    )  # fmt: skip
    found = json.loads(said)["findings"]
    bad = {one["code"] for one in found if one["verdict"] in ("FAIL", "WARN")}
    assert bad - {"ptr-missing"} == EXPECTED[name] | ALONE, said
    assert "How its services are reached" in report.read_text()
    if name == "good.net":
        passed = {(one["code"], one["subject"]) for one in found if one["verdict"] == "PASS"}
        for transport in ("DoT", "DoH", "DoQ"):
            assert ("encrypted-ipv6", f"dot.good.net. {transport}") in passed, said
        assert ("service-ipv6", "good.net. port 443") in passed
