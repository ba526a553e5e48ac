"""external-dns's webhook protocol: every shape it sends, and what it must never be told."""

import base64
import json

import pytest

from quada.store.journal import Author
from quada.zones import read_zone
from small_api import ORIGIN, TEXT, Api, Http

PATH = "/external-dns"
MEDIA = "application/external.dns.webhook+json;version=1"
ACCEPT = {"Accept": MEDIA}
SENT = {"Content-Type": MEDIA}


def endpoint(name: str, rdtype: str, *targets: str, **more: object) -> dict:
    return {"dnsName": name, "recordType": rdtype, "targets": list(targets), **more}


def told(api: Api) -> dict[tuple[str, str], dict]:
    """Give what external-dns is told, by name and type."""
    found = api.http.get(f"{PATH}/records", headers=ACCEPT)
    assert found.status_code == 200
    assert found.headers["content-type"] == MEDIA
    return {(one["dnsName"], one["recordType"]): one for one in found.json()}


def apply(api: Api, **changes: object) -> int:
    return api.http.post(f"{PATH}/records", json=changes, headers=SENT).status_code


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
def test_the_domain_filter_names_the_zones_that_may_be_changed(api: Api, path: str) -> None:
    other = b"\x07example\x03net\x00"
    api.store.create(read_zone(TEXT, other), Author("test"), 1)
    found = api.http.get(path, headers=ACCEPT)
    assert (found.headers["content-type"], found.headers["vary"]) == (MEDIA, "Content-Type")
    assert found.json() == {"include": ["example.com", "example.net"]}
    one = api.client(api.accounts.add_token("one", ("records:example.net", "read"), 1))
    assert one.get(path, headers=ACCEPT).json() == {"include": ["example.net"]}
    assert {
        name["dnsName"].rpartition("example.")[2] for name in one.get(f"{PATH}/records").json()
    } == {"net"}


def test_who_may_change_nothing_gets_no_filter_because_an_empty_one_matches_all(api: Api) -> None:
    reader = api.client(api.accounts.add_token("reader", ("read",), 1))
    assert reader.get(PATH, headers=ACCEPT).status_code == 403


def test_the_root_zone_is_in_no_filter(api: Api) -> None:
    api.store.create(
        read_zone("@ SOA a. b. 1 2 3 4 5\n@ NS a.\na. AAAA 2001:db8::1\n", b"\x00"),
        Author("test"),
        1,
    )
    assert api.http.get(PATH, headers=ACCEPT).json() == {"include": ["example.com"]}
    root = api.client(api.accounts.add_token("root", ("records:.",), 1))
    assert root.get(PATH, headers=ACCEPT).status_code == 403


def test_another_version_of_the_protocol_is_refused(api: Api) -> None:
    newer = "application/external.dns.webhook+json;version=2"
    assert api.http.get(PATH, headers={"Accept": newer}).status_code == 406
    assert api.http.get(PATH, headers={"Accept": f"{newer}, {MEDIA}"}).status_code == 200
    assert (
        api.http.post(f"{PATH}/records", content=b"{}", headers={"Content-Type": newer}).status_code
        == 415
    )


def test_health_needs_no_token(api: Api) -> None:
    nobody = api.client("wrong")
    assert nobody.get("/healthz").status_code == 200
    assert nobody.get(f"{PATH}/healthz").text == "ok"
    assert nobody.get(PATH).status_code == 401


def test_a_token_comes_as_the_password_of_the_url(api: Api) -> None:
    secret = api.accounts.add_token("kube", ("records:example.com",), 1)
    for password, status in ((secret, 200), ("quada_wrong", 401)):
        encoded = base64.b64encode(f"token:{password}".encode()).decode()
        http = Http(api.app, "")
        assert http.get(PATH, headers={"Authorization": f"Basic {encoded}"}).status_code == status


def test_records_are_told_as_external_dns_has_them(api: Api) -> None:
    api.http.put(
        "/quada/v1/zones/example.com/text",
        json={
            "text": TEXT + '@ ALIAS www.example.net.\nc CNAME www\nt TXT "a b" c\n'
            "s SRV 1 2 443 www\n* AAAA 2001:DB8:0::1\nn NS ns.example.net.\nh HTTPS 1 .\n"
        },
    )
    found = told(api)
    assert found["www.example.com", "AAAA"] == endpoint(
        "www.example.com", "AAAA", "2001:db8::80", recordTTL=300
    )
    assert found["*.example.com", "AAAA"]["targets"] == ["2001:db8::1"]
    assert found["c.example.com", "CNAME"]["targets"] == ["www.example.com"]
    assert found["t.example.com", "TXT"]["targets"] == ['"a b" "c"']
    assert found["s.example.com", "SRV"]["targets"] == ["1 2 443 www.example.com."]
    assert found["n.example.com", "NS"]["targets"] == ["ns.example.net"]
    assert found["example.com", "MX"]["targets"] == ["10 mail.example.com"]
    alias = found["example.com", "CNAME"]
    assert (alias["targets"], alias["providerSpecific"]) == (
        ["www.example.net"],
        [{"name": "alias", "value": "true"}],
    )
    assert ("example.com", "NS") not in found
    assert not any(rdtype in ("SOA", "HTTPS") for _, rdtype in found)


@pytest.mark.parametrize(
    "one",
    [
        endpoint("a.example.com", "AAAA", "2001:db8::1", "2001:db8::2", recordTTL=60),
        endpoint("a.example.com", "A", "192.0.2.1"),
        endpoint("*.example.com", "AAAA", "2001:db8::1"),
        endpoint("a.example.com", "CNAME", "b.example.net"),
        endpoint("a.example.com", "CNAME", "b.example.net", providerSpecific=[{"name": "alias", "value": "true"}]),
        endpoint("aaaa-a.example.com", "TXT", '"heritage=external-dns,external-dns/owner=default"'),
        endpoint("a.example.com", "TXT", "a b; c"),
        endpoint("_s._tcp.example.com", "SRV", "0 5 443 b.example.net."),
        endpoint("a.example.com", "NS", "ns.example.net"),
        endpoint("a.example.com", "MX", "10 mail.example.net"),
        endpoint("a.example.com", "PTR", "b.example.net"),
        endpoint("a.example.com", "NAPTR", '100 10 "u" "sip+E2U" "!^.*$!sip:a@example.net!" .'),
    ],
)  # fmt: skip
def test_every_type_comes_back_as_it_is_adjusted_and_goes_again(api: Api, one: dict) -> None:
    adjusted = api.http.post(f"{PATH}/adjustendpoints", json=[one], headers=SENT)
    assert adjusted.headers["content-type"] == MEDIA
    wanted = adjusted.json()[0]
    assert apply(api, create=[one]) == 204
    got = told(api)[one["dnsName"], one["recordType"]]
    assert (got["targets"], got.get("providerSpecific")) == (
        wanted["targets"],
        wanted.get("providerSpecific"),
    )
    assert got["recordTTL"] == one.get("recordTTL", 3600)
    assert apply(api, delete=[got]) == 204
    assert (one["dnsName"], one["recordType"]) not in told(api)


def test_an_update_replaces_targets_and_ttl_as_one_change(api: Api) -> None:
    old = endpoint("www.example.com", "AAAA", "2001:db8::80", recordTTL=300)
    new = endpoint("www.example.com", "AAAA", "2001:db8::81", "2001:db8::82", recordTTL=60)
    assert apply(api, updateOld=[old], updateNew=[new]) == 204
    got = told(api)["www.example.com", "AAAA"]
    assert (got["targets"], got["recordTTL"]) == (["2001:db8::81", "2001:db8::82"], 60)
    entry = api.store.history(ORIGIN)[0]
    assert (entry.author.why, entry.author.who) == ("external-dns", "token all")


def test_a_plan_of_the_older_spelling_and_one_sent_again_are_well(api: Api) -> None:
    plan = {
        "Create": [endpoint("a.example.com", "AAAA", "2001:db8::1")],
        "UpdateOld": None,
        "UpdateNew": None,
        "Delete": [endpoint("mail.example.com", "AAAA", "2001:db8::25")],
    }
    for _ in range(2):
        sent = api.http.post(f"{PATH}/records", content=json.dumps(plan).encode())
        assert sent.status_code == 204  # Go's older client sends no content type
    assert ("a.example.com", "AAAA") in told(api)
    assert ("mail.example.com", "AAAA") not in told(api)
    assert len(api.store.history(ORIGIN)) == 2


def test_one_refused_name_does_not_stop_the_others_and_is_written_down(api: Api) -> None:
    good = endpoint("good.example.com", "AAAA", "2001:db8::1")
    for bad in (
        endpoint("bad.example.com", "AAAA", "192.0.2.1"),
        endpoint("www.example.com", "CNAME", "other.example.net"),
        endpoint("a.example.net", "AAAA", "2001:db8::1"),
        endpoint("a.example.com", "AAAA"),
        endpoint("a.example.com", "WAT", "x"),
        endpoint("a.example.com", "AAAA", "2001:db8::1", setIdentifier="eu"),
        endpoint("a" * 64 + ".example.com", "AAAA", "2001:db8::1"),
    ):
        assert apply(api, create=[bad, good]) == 500
        assert ("good.example.com", "AAAA") in told(api)
        assert bad["dnsName"].lower()[:20] in api.accounts.audited(1)[0].about
        assert apply(api, delete=[good]) == 204


def test_an_apex_cname_becomes_an_alias_and_foreign_properties_go(api: Api) -> None:
    sent = [
        endpoint("example.com", "CNAME", "Lb.Example.net.", labels={"owner": "x"}),
        endpoint("www.example.com", "AAAA", "2001:DB8:0:0::80", providerSpecific=[{"name": "aws/weight", "value": "1"}]),
        endpoint("x.example.com", "AAAA", "nonsense", setIdentifier="eu"),
    ]  # fmt: skip
    got = api.http.post(f"{PATH}/adjustendpoints", json=sent, headers=SENT).json()
    assert got[0]["providerSpecific"] == [{"name": "alias", "value": "true"}]
    assert got[0]["labels"] == {"owner": "x"}
    assert (got[1]["targets"], "providerSpecific" in got[1]) == (["2001:db8::80"], False)
    assert (got[2]["targets"], got[2]["setIdentifier"]) == (["nonsense"], "eu")
    assert apply(api, create=[got[0]]) == 204
    assert told(api)["example.com", "CNAME"]["targets"] == got[0]["targets"]


@pytest.mark.parametrize("body", [b"null", b"[]", b""])
def test_nothing_to_adjust_is_an_empty_list(api: Api, body: bytes) -> None:
    found = api.http.post(f"{PATH}/adjustendpoints", content=body, headers=SENT)
    assert (found.status_code, found.json()) == ((200, []) if body else (400, found.json()))


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b'"x"', b'{"create": 1}', b'{"create": [1]}', b'{"create": [{"targets": [1]}]}',
        b'{"create": [{"recordTTL": -1}]}', b'{"create": [{"recordTTL": 99999999999}]}',
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused_with_its_place(api: Api, body: bytes) -> None:
    refused = api.http.post(f"{PATH}/records", content=body, headers=SENT)
    assert refused.status_code == 400
    assert refused.json()["errors"]


def test_a_plan_over_two_zones_changes_each_once(api: Api) -> None:
    other = b"\x07example\x03net\x00"
    api.store.create(read_zone(TEXT, other), Author("test"), 1)
    inner = b"\x03sub" + ORIGIN
    api.store.create(read_zone(TEXT, inner), Author("test"), 1)
    names = ("a.example.com", "b.example.com", "a.example.net", "a.sub.example.com")
    assert apply(api, create=[endpoint(name, "AAAA", "2001:db8::1") for name in names]) == 204
    assert [len(api.store.history(origin)) for origin in (ORIGIN, other, inner)] == [2, 2, 2]
    assert b"\x01a" + inner in api.store.zone(inner).nodes
