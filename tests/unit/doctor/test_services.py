"""Which services and endpoints are asked: nothing that a record could make of a request."""

import pytest

from quada.doctor.observation import Observation, Resolved, Service
from quada.doctor.observe_services import calls_of, observe_encrypted, read_designated


def test_records_name_an_endpoint_for_each_transport() -> None:
    text = '1 dns.example. alpn="dot,doq,h2,h3" port=8853 dohpath="/q{?dns}" ipv6hint=2001:db8::1 ipv4hint=192.0.2.1'
    found = read_designated([text], "ns1.example.")
    assert [(one.transport, one.port, one.path) for one in found] == [
        ("dot", 8853, "/q"), ("doq", 8853, "/q"), ("doh", 8853, "/q"),
    ]  # fmt: skip
    assert found[0].hinted == ["2001:db8::1", "192.0.2.1"]
    assert read_designated(["1 . alpn=dot"], "ns1.example.")[0].target == "ns1.example."


@pytest.mark.parametrize(
    "text",
    [
        r"1 a\032b.example. alpn=dot", r"1 a\000.example. alpn=dot", r"1 a\010host.example. alpn=h2",
        "1 dns.example. alpn=dot port=0", "0 dns.example.", "nonsense", "",
    ],
)  # fmt: skip
def test_records_that_no_request_can_be_made_of_are_left(text: str) -> None:
    assert read_designated([text], "ns1.example.") == []


@pytest.mark.parametrize(
    "path", ["//evil.example/{?dns}", "no-slash", "/a b", r"/\010x", "/" + "x" * 300]
)
def test_a_path_that_is_none_is_not_asked_for(path: str) -> None:
    for one in read_designated([f'1 dns.example. alpn=h2 dohpath="{path}"'], "ns1.example."):
        assert one.path.startswith("/")
        assert len(one.path) < 256
        assert not one.path.startswith("//")
        assert " " not in one.path


def test_only_global_addresses_of_plain_hosts_are_called() -> None:
    seen = Observation("example.com.", "example.com.", 1.0)
    seen.services = [
        Service("web", "example.com.", ["2a00:1450::1", "::1", "fe80::1", "fd00::1", "10.0.0.1", "127.0.0.1"]),
        Service("mail", r"a\032b.example.", ["2a00:1450::2"]),
        Service("mail", "*.example.", ["2a00:1450::3"]),
    ]  # fmt: skip
    assert {call.address for _, call in calls_of(seen, frozenset())} == {"2a00:1450::1"}


def test_an_endpoint_in_an_inner_network_is_not_asked() -> None:
    class Prober:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def resolve(self, kind: str, name: str, qtype: int):
            yield from ()
            found = [
                "1 in.example. alpn=dot port=22 ipv6hint=::1,fd00::1,2a00:1450::9 ipv4hint=10.0.0.1"
            ]
            return Resolved(
                name, "", kind, "NOERROR", "insecure", found if name.startswith("_dns.") else []
            )

        def probe(self, wanted):
            yield from ()
            self.asked = [address for _, _, address, _ in wanted]
            return []

    prober, seen = Prober(), Observation("example.com.", "example.com.", 1.0)
    assert list(observe_encrypted(prober, seen, [])) == []
    assert prober.asked == ["2a00:1450::9"]
