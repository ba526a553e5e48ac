"""Links in namespaces: radvd, dnsmasq and Kea, right and wrong, and what a client is told."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from internet import is_possible

from quada.transport.tls import make_certificate

pytestmark = pytest.mark.lab
_COUNT = itertools.count()
ROUTER, OWN = "2001:db8:77::1", "2001:db8:77::53"


class Wire:
    """A router's and a client's namespace with one cable between."""

    def __init__(self, place: Path) -> None:
        self.place = place
        tag = f"{os.getpid()}-{next(_COUNT)}"
        self.router, self.client = f"quada-r-{tag}", f"quada-c-{tag}"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Wire:
        self.place.chmod(0o777)
        for name in (self.router, self.client):
            _sh("ip", "netns", "add", name)
            self.inside(name, "ip", "link", "set", "lo", "up")
            # Addresses are of use at once, without the second of duplicate detection.
            self.inside(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        self.inside(
            self.router, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0"
        )
        self.inside(self.router, "ip", "link", "set", "eth0", "netns", self.client)
        self.inside(self.router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        self.inside(self.router, "ip", "link", "set", "lan0", "up")
        self.inside(self.client, "ip", "link", "set", "eth0", "up")
        self.inside(self.client, "ip", "addr", "add", "2001:db8:77::99/64", "dev", "eth0", "nodad")
        for address in (ROUTER, OWN):
            self.inside(self.router, "ip", "addr", "add", f"{address}/64", "dev", "lan0", "nodad")
        deadline = time.monotonic() + 10
        while "fe80" not in self.inside(self.client, "ip", "-6", "addr", "show", "dev", "eth0"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in (self.router, self.client):
            _sh("ip", "netns", "del", name)

    def inside(self, name: str, *command: str) -> str:
        return _sh("ip", "netns", "exec", name, *command)

    def popen(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.place / "log").open("ab") as log:
            self._running.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.router, *command], stdout=log, stderr=log
                )
            )
        return self._running[-1]

    def radvd(self, inside: str, prefix: str = "prefix 2001:db8:77::/64 { };") -> Path:
        config = self.place / "radvd.conf"
        config.write_text(f"interface lan0 {{ AdvSendAdvert on; {prefix} {inside} }};\n")
        pid = self.place / "radvd.pid"
        self.popen("radvd", "-n", "-C", str(config), "-p", str(pid), "-m", "stderr")
        return config

    def dnsmasq(self, *lines: str) -> Path:
        config = self.place / "dnsmasq.conf"
        config.write_text("\n".join(("interface=lan0", "bind-interfaces", "no-hosts", "no-resolv",
                                     f"dhcp-leasefile={self.place}/leases", *lines)) + "\n")  # fmt: skip
        self.popen("dnsmasq", "-k", "-C", str(config), f"--pid-file={self.place}/dnsmasq.pid",
                   "--user=root", "--log-facility=-")  # fmt: skip
        return config

    def kea(self, options: list[dict[str, str]]) -> Path:
        config = self.place / "kea.json"
        config.write_text("// Kea takes comments\n" + json.dumps({"Dhcp6": {
            "interfaces-config": {"interfaces": ["lan0"]},
            "lease-database": {"type": "memfile", "persist": False},
            "server-id": {"type": "EN", "persist": False, "enterprise-id": 32473, "identifier": "01"},
            "subnet6": [{"subnet": "2001:db8:77::/64", "interface": "lan0", "option-data": options,
                         "pools": [{"pool": "2001:db8:77::1000 - 2001:db8:77::2000"}]}],
            "loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
        }}))  # fmt: skip
        environment = f"KEA_PIDFILE_DIR={self.place}", f"KEA_LOCKFILE_DIR={self.place}"
        self.popen("env", *environment, "kea-dhcp6", "-c", str(config))
        return config

    def seen(self, *options: str) -> dict:
        """What `quada doctor link eth0` says once the daemons speak: waits for those expected."""
        return _quada(self.client, "eth0", "--wait", "4", *options)


def _sh(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def _quada(namespace: str | None, *arguments: str) -> dict:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run(
        [*inside, sys.executable, "-m", "quada", "doctor", "link", *arguments, "--json"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr or done.stdout
    data = json.loads(done.stdout)
    assert "fault" not in data, data
    assert (done.returncode == 1) == ("FAIL" in {one["verdict"] for one in data["findings"]})
    return data


def codes(data: dict, *verdicts: str) -> set[str]:
    return {one["code"] for one in data["findings"] if one["verdict"] in (verdicts or ("FAIL",))}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    why = is_possible()
    if why:
        pytest.skip(why)
    with Wire(tmp_path) as made:
        yield made


def eventually(look: Callable[[], dict], is_right: Callable[[dict], bool]) -> dict:
    """Look until daemons have come up; the last look is the answer."""
    for _ in range(6):
        data = look()
        if is_right(data):
            break
    return data


def test_a_link_without_router_says_so(wire: Wire) -> None:
    assert codes(wire.seen()) == {"link-router"}


def test_radvd_done_right_strands_nobody(wire: Wire) -> None:
    wire.dnsmasq("port=53", "address=/ipv4only.arpa/")
    config = wire.radvd(
        f"MaxRtrAdvInterval 30; AdvOtherConfigFlag off; AdvLinkMTU 1480;"
        f" RDNSS {OWN} {{ AdvRDNSSLifetime 90; }}; DNSSL example.com {{ }};"
    )
    data = eventually(wire.seen, lambda data: not codes(data))
    assert not codes(data, "FAIL", "WARN"), data
    assert {row["resolver"] for row in data["clients"] if "before" not in row["client"]} == {
        "RDNSS"
    }
    router = data["link"]["routers"][0]
    assert router["mtu"] == 1480
    assert router["resolvers"] == [[[OWN], 90]]
    assert router["search"][0][0] == ["example.com."]
    assert data["link"]["probes"][OWN].startswith("NXDOMAIN")
    # The file says the same before it goes live.
    planned = _quada(None, "--config", str(config))
    assert not codes(planned, "FAIL", "WARN")
    told = planned["link"]["routers"][0]
    for same in ("is_managed", "is_other", "mtu", "resolvers", "prefixes", "lifetime_s"):
        assert told[same] == router[same], same


def test_the_o_bit_trap_strands_android_alone(wire: Wire) -> None:
    config = wire.radvd("AdvOtherConfigFlag on;")
    wire.dnsmasq("port=53", "address=/ipv4only.arpa/",
                 "dhcp-range=2001:db8:77::,static,64", f"dhcp-option=option6:dns-server,[{OWN}]")  # fmt: skip
    data = eventually(
        wire.seen, lambda data: bool(data["link"]["leases"] and data["link"]["routers"])
    )
    assert codes(data) == {"o-bit-trap"}, data["findings"]
    fates = {row["client"]: row["resolver"] for row in data["clients"]}
    assert fates["Android"] == fates["ChromeOS"] == "none"
    assert fates["macOS and iOS"] == "DHCPv6"
    assert "o-bit-trap" in codes(_quada(None, "--config", str(config)))


def test_other_resolvers_by_dhcpv6_than_by_rdnss_and_dead_ones(wire: Wire) -> None:
    wire.radvd("AdvOtherConfigFlag on; RDNSS 2001:db8:77::dead { };")
    wire.dnsmasq("port=53", "address=/ipv4only.arpa/",
                 "dhcp-range=2001:db8:77::,static,64", f"dhcp-option=option6:dns-server,[{OWN}]")  # fmt: skip
    data = eventually(
        wire.seen, lambda data: bool(data["link"]["leases"] and data["link"]["routers"])
    )
    assert codes(data) == {"link-resolver"}
    assert codes(data, "WARN") == {"rdnss-dhcpv6-differ"}
    assert next(one for one in data["findings"] if one["code"] == "link-resolver")["subject"] == (
        "2001:db8:77::dead"
    )


def test_an_address_and_no_dns(wire: Wire) -> None:
    wire.radvd("")
    data = eventually(wire.seen, lambda data: bool(data["link"]["routers"]))
    assert codes(data) == {"address-without-resolver"}


def test_dhcpv6_promised_and_silent(wire: Wire) -> None:
    wire.radvd(f"AdvOtherConfigFlag on; RDNSS {OWN} {{ }};")
    data = eventually(lambda: wire.seen("--no-probe"), lambda data: bool(data["link"]["routers"]))
    assert codes(data) == {"dhcpv6-dns"}


def test_dnsmasq_alone_as_its_file_says(wire: Wire) -> None:
    config = wire.dnsmasq(
        "port=53", "address=/ipv4only.arpa/", "enable-ra",
        "dhcp-range=2001:db8:77::,ra-stateless,64", f"dhcp-option=option6:dns-server,[{OWN}]",
    )  # fmt: skip
    data = eventually(wire.seen, lambda data: not codes(data))
    planned = _quada(None, "--config", str(config))
    for seen in (data, planned):
        assert not codes(seen), seen["findings"]
        assert seen["link"]["routers"][0]["is_other"]
        assert not seen["link"]["routers"][0]["is_managed"]
        assert seen["link"]["routers"][0]["resolvers"][0][0] == [OWN]
        assert next(lease["resolvers"] for lease in seen["link"]["leases"]) == [OWN]


def test_what_config_dnr_prints_is_what_clients_are_told(wire: Wire) -> None:
    config = wire.place / "quada.toml"
    config.write_text(
        'version = 1\n[resolver]\nlisten_tls = ["[::]:853"]\nlisten_https = ["[::]:443"]\n'
        f'[tls]\nnames = ["dns.example.net", "{OWN}"]\n'
    )
    said = _sh(sys.executable, "-m", "quada", "config", "dnr", str(config))
    option = next(line for line in said.splitlines() if line.startswith("dnsmasq: ")).removeprefix(
        "dnsmasq: "
    )
    wire.radvd(f"AdvOtherConfigFlag on; RDNSS {OWN} {{ }};")
    wire.dnsmasq("port=53", "address=/ipv4only.arpa/", "dhcp-range=2001:db8:77::,static,64",
                 f"dhcp-option=option6:dns-server,[{OWN}]", option)  # fmt: skip
    data = eventually(
        wire.seen, lambda data: bool(data["link"]["leases"] and data["link"]["routers"])
    )
    assert data["link"]["leases"][0]["encrypted"] == [
        {"name": "dns.example.net.", "addresses": [OWN], "priority": 1,
         "params": b"\x00\x01\x00\x04\x03dot\x00\x03\x00\x02\x03\x55".hex()}
    ]  # fmt: skip
    assert "dnr" in codes(data, "PASS")
    assert "encrypted-dead" in codes(data, "FAIL")
    # Now it is there, under another name first.
    look_encrypted(wire, "other.example.net", ("encrypted-certificate", "FAIL"))
    look_encrypted(wire, "dns.example.net", ("encrypted-ipv6", "PASS"))


def look_encrypted(wire: Wire, name: str, expected: tuple[str, str]) -> None:
    """Serve DoT under a name at the address that is told, and look at the link once more."""
    place = wire.place / name
    place.mkdir()
    make_certificate(
        place / "chain.pem", place / "key.pem", [name], datetime.datetime.now(datetime.UTC)
    )
    (place / "quada.toml").write_text(
        f'version = 1\n[resolver]\nlisten = ["[::1]:5353"]\nlisten_tls = ["[{OWN}]:853"]\n'
        f'[tls]\ncertificate = "{place}/chain.pem"\nkey = "{place}/key.pem"\nnames = ["{name}"]\n'
        f'[server]\nstate_dir = "{place}/state"\nworkers = 1\n'
    )
    process = wire.popen(sys.executable, "-m", "quada", "serve", "--role", "resolver", "--config",
                         str(place / "quada.toml"))  # fmt: skip
    kept = place / "heard.json"
    code, verdict = expected
    data = eventually(
        lambda: wire.seen("--trust", str(place / "chain.pem"), "--save", str(kept)),
        lambda data: code in codes(data, verdict),
    )
    assert _quada(None, "--replay", str(kept))["findings"] == data["findings"]
    process.terminate()
    process.wait(20)


def test_kea_with_and_without_its_option(wire: Wire) -> None:
    config = wire.kea([])
    wire.radvd(
        f"AdvManagedFlag on; AdvOtherConfigFlag on; RDNSS {OWN} {{ }};",
        prefix="prefix 2001:db8:77::/64 { AdvAutonomous off; };",
    )
    data = eventually(
        lambda: wire.seen("--no-probe"),
        lambda data: len(data["link"]["leases"]) > 1 and bool(data["link"]["routers"]),
    )
    assert codes(data) == {"dhcpv6-dns"}, data
    assert "dhcpv6-only-addresses" in codes(data, "WARN")
    fates = {row["client"]: row["address"] for row in data["clients"]}
    assert (fates["Android"], fates["macOS and iOS"]) == ("none", "DHCPv6")
    planned = _quada(None, "--config", str(config))
    assert "dhcpv6-dns" not in codes(planned)  # without routers nobody is sent there
    radvd = str(wire.place / "radvd.conf")
    both = _quada(None, "--config", str(config), "--config", radvd)
    assert codes(both) == {"dhcpv6-dns"}
    mended = wire.place / "mended.json"
    text = config.read_text().replace(
        '"option-data": []', f'"option-data": [{{"name": "dns-servers", "data": "{OWN}"}}]'
    )
    mended.write_text(text)
    assert not codes(_quada(None, "--config", str(mended), "--config", radvd))


def test_what_was_heard_can_be_judged_again_and_from_a_capture(wire: Wire) -> None:
    wire.radvd(
        f"AdvOtherConfigFlag on; MaxRtrAdvInterval 4; MinRtrAdvInterval 3; RDNSS {OWN} {{ }};"
    )
    wire.dnsmasq("port=0", "dhcp-range=2001:db8:77::,static,64",
                 "dhcp-option=option6:dns-server,[2001:db8:77::5]")  # fmt: skip
    kept, capture = wire.place / "kept.json", wire.place / "capture.pcap"
    tcpdump = subprocess.Popen(
        [
            "ip",
            "netns",
            "exec",
            wire.client,
            "tcpdump",
            "-U",
            "-i",
            "eth0",
            "-w",
            str(capture),
            "ip6",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        live = eventually(
            lambda: wire.seen("--no-probe", "--save", str(kept)),
            lambda data: bool(data["link"]["leases"] and data["link"]["routers"]),
        )
        deadline = time.monotonic() + 30
        while True:
            captured = _quada(None, "--pcap", str(capture))
            if any(router["interval_s"] for router in captured["link"]["routers"]):
                break
            assert time.monotonic() < deadline
            time.sleep(1)
    finally:
        tcpdump.terminate()
        tcpdump.wait(10)
    again = _quada(None, "--replay", str(kept))
    assert again["findings"] == live["findings"]
    assert again["clients"] == live["clients"]
    assert captured["clients"] == live["clients"]
    assert {"rdnss-dhcpv6-differ", "link-router"} <= codes(captured, "WARN", "PASS")
    assert 2 <= captured["link"]["routers"][0]["interval_s"] <= 5
