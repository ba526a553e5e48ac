"""The doctor on keys, signatures and denials of each server, and on reverse zones."""

import json
import sys
from pathlib import Path

import pytest
from internet import Signed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

HOST = "@ AAAA 2001:db8:ff::80\n@ A 192.0.2.80\n"
SIGNED = {
    "cdsown.com.": Signed(HOST, cds="own"),
    "cdsother.com.": Signed(HOST, cds="other"),
    "cdsdelete.com.": Signed(HOST, cds="delete"),
    "otherkey.com.": Signed(HOST, second="key"),
    "onebad.com.": Signed(HOST, second="AAAA"),
    "nodeny.com.": Signed("@ A 192.0.2.80\n", strips=("NSEC",)),
}
EXPECTED = {
    "cdsown.com": set(),
    "cdsother.com": {"cds"},
    "cdsdelete.com": set(),
    "otherkey.com": {"ds-mismatch"},
    "onebad.com": {"server-bogus"},
    "nodeny.com": {"denial", "bogus-aaaa", "aaaa-missing"},
}
LEAF6, LEAF4 = "2001:db8:3::53", "192.0.2.4"
FAULTY6, FAULTY4 = "2001:db8:6::53", "192.0.2.6"
REVERSE = ("revwell", "revlame", "revfour", "revunlike", "revdeny", "revback")
BOTH = ("ns0.example.com.", "ns1.example.com.")
SERVERS = {"revwell": BOTH, "revlame": BOTH[1:], "revfour": ("ns.four.net.",), "revunlike": BOTH,
           "revdeny": ("ns0.revdeny.net.",), "revback": BOTH}  # fmt: skip
ALONE = {"ns-ipv6-count", "ns-diversity", "single-point"}
REVERSE_EXPECTED = {
    "revwell": set(),
    "revlame": {"reverse-lame"},
    "revfour": {"reverse-ipv6"},
    "revunlike": {"reverse-differs"},
    "revdeny": {"reverse-ipv6", "reverse-non-terminal"},
    "revback": {"ptr-unconfirmed"},
}


def reverse_zone(number: int) -> str:
    return f"{number}.f.0.0.8.b.d.0.1.0.0.2.ip6.arpa."


def forward(number: int, name: str) -> tuple[str, str]:
    """What net. says of a domain, and what it says itself: one host, whose PTR is elsewhere."""
    address = f"2001:db8:f{number}::80"
    parent = (
        f"{name}.net. NS ns0.{name}.net.\nns0.{name}.net. A {LEAF4}\nns0.{name}.net. AAAA {LEAF6}\n"
    )
    own = f"@ NS ns0\nns0 A {LEAF4}\nns0 AAAA {LEAF6}\n@ AAAA {address}\nother AAAA {address}\n"
    if name == "revdeny":
        parent += f"ns0.{name}.net. A {FAULTY4}\nns0.{name}.net. AAAA {FAULTY6}\n"
        own += f"ns0 A {FAULTY4}\nns0 AAAA {FAULTY6}\n"
    return parent, own


def pointers(name: str, to: str) -> str:
    """A reverse zone with the PTR of the one host."""
    servers = "".join(f"@ NS {server}\n" for server in SERVERS[name])
    return servers + f"0.8.{'0.' * 17}0 PTR {to}\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, internet_with):
    planted = {f"{name}.net.": forward(n, name) for n, name in enumerate(REVERSE, 1)}
    second, root = {}, ""
    for number, name in enumerate(REVERSE, 1):
        zone = reverse_zone(number)
        root += "".join(f"{zone} NS {server}\n" for server in SERVERS[name])
        if name not in ("revlame", "revdeny"):
            planted[zone] = (
                "",
                pointers(name, "www.example.net." if name == "revback" else f"{name}.net."),
            )
        if name in ("revwell", "revunlike", "revback"):
            to = {"revback": "www.example.net.", "revunlike": "other.revunlike.net."}
            second[zone] = pointers(name, to.get(name, f"{name}.net."))
    lab = internet_with(
        tmp_path_factory.mktemp("keys"), planted, second=second, signed=SIGNED, root=root
    )
    for address in (f"{FAULTY6}/128", f"{FAULTY4}/32"):
        lab.run("ip", "addr", "add", address, "dev", "lo")
    script = str(Path(__file__).with_name("faulty.py"))
    lab.popen([sys.executable, script, "plain", FAULTY6, FAULTY4], "faulty.log")
    lab.wait_for("decent.net", FAULTY6)
    return lab


def look(lab, name: str) -> tuple[set[str], dict]:
    """Give the codes that fail or warn, and all that was said."""
    said = lab.run(
        sys.executable, "-m", "quada", "doctor", name, "--lab", "--json", "--root-hints",
        str(lab.hints), "--trust-anchor", str(lab.anchor), timeout_s=100,
    )  # fmt: skip
    told = json.loads(said)
    return {f["code"] for f in told["findings"] if f["verdict"] in ("FAIL", "WARN")}, told


def test_only_what_is_wrong_with_keys_is_found(lab) -> None:
    for name, expected in EXPECTED.items():
        bad, told = look(lab, name)
        assert bad - {"ptr-missing"} == expected, json.dumps(told, indent=1)


def test_what_cds_asks_for_is_told(lab) -> None:
    said = {}
    for name in ("cdsown.com", "cdsdelete.com", "example.com"):
        _, told = look(lab, name)
        said[name] = [(f["verdict"], f["message"]) for f in told["findings"] if f["code"] == "cds"]
    assert said["cdsown.com"][0][0] == "PASS"
    assert said["cdsdelete.com"] == [("INFO", "it asks the parent to take the DS away")]
    assert said["example.com"] == [("INFO", "no CDS: the parent does not follow its keys")]


@pytest.mark.parametrize("name", REVERSE)
def test_the_reverse_zone_of_an_address_is_judged(lab, name: str) -> None:
    bad, told = look(lab, f"{name}.net")
    assert bad - ALONE == REVERSE_EXPECTED[name], json.dumps(told, indent=1)
    cut = next(one for one in told["findings"] if one["code"] == "reverse-cut")
    assert cut["subject"] == reverse_zone(REVERSE.index(name) + 1)
    assert SERVERS[name][0] in cut["message"]
