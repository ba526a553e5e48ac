"""Dry runs at every path that changes something: told what would come, and nothing changes."""

from typing import Any

import pytest

from small_api import ORIGIN, Api

PDNS = "/api/v1/servers/localhost/zones"
ZONE = "/v2/1/zones/example.com"
RRSET = {
    "name": "www.example.com.", "type": "AAAA", "ttl": 60, "changetype": "REPLACE",
    "records": [{"content": "2001:db8::1"}],
}  # fmt: skip
NEW = {"name": "new.example.com", "type": "AAAA", "content": "2001:db8::1"}
ENDPOINT = {"dnsName": "ext.example.com", "targets": ["2001:db8::1"], "recordType": "AAAA"}
SERVERS = ["ns1.example.net.", "ns2.example.net."]
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", f"{ZONE}/records", {"name": "new", "type": "AAAA", "content": "2001:db8::1"}),
    ("PATCH", f"{ZONE}/records/{{record}}", {"content": "2001:db8::1"}),
    ("DELETE", f"{ZONE}/records/{{record}}", None),
    ("POST", f"{ZONE}/batch", {"deletes": [{"id": "{record}"}]}),
    ("PUT", f"{ZONE}/activation", None),
    ("DELETE", f"{ZONE}/activation", None),
    ("POST", "/v2/1/domains", {"name": "example.net", "name_servers": SERVERS}),
    ("DELETE", "/v2/1/domains/example.com", None),
    ("POST", PDNS, {"name": "example.net.", "nameservers": SERVERS}),
    ("PATCH", f"{PDNS}/example.com.", {"rrsets": [RRSET]}),
    ("DELETE", f"{PDNS}/example.com.", None),
    ("POST", "/external-dns/records", {"Create": [ENDPOINT]}),
    ("POST", "/quada/v1/zones/example.com/changes", {"deletes": ["{record}"]}),
    (
        "PUT",
        "/quada/v1/zones/example.com/text",
        {"text": "@ SOA a b 9 9 9 9 9\n@ NS a\na AAAA ::1"},
    ),
    ("POST", "/quada/v1/zones/example.com/history/{entry}/undo", None),
]
NO_RECORD_CHANGES = ("/activation",)
UNDER_WAY = {
    "/quada/v1/runs",
    "/quada/v1/agents/{name}/asks",
    "/quada/v1/agent/poll",
    "/quada/v1/agent/replies",
}
"""What is asked for by POST and changes nothing that is kept."""


def filled(api: Api, value: Any) -> Any:
    www = api.http.get(f"{ZONE}/records?name=www").json()["data"][0]["id"]
    entry = api.store.history(ORIGIN)[0].number
    if isinstance(value, str):
        if value == "{record}":
            return www
        return value.replace("{record}", str(www)).replace("{entry}", str(entry))
    if isinstance(value, dict):
        return {key: filled(api, one) for key, one in value.items()}
    return [filled(api, one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("method", "path", "body"), CHANGES, ids=[f"{m} {p}" for m, p, _ in CHANGES]
)
def test_a_dry_run_tells_what_would_come_and_changes_nothing(
    api: Api, method: str, path: str, body: Any
) -> None:
    api.http.post(f"{ZONE}/records", json={"name": "b", "type": "AAAA", "content": "2001:db8::2"})
    before, audited = api.store.summaries(), api.accounts.audited()
    version = api.store.zone(ORIGIN)
    answer = api.http.request(method, f"{filled(api, path)}?dry_run=true", json=filled(api, body))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    for one in told.get("changes", [told]):
        assert bool(one["removed"] or one["added"]) is not path.endswith(NO_RECORD_CHANGES)
    assert api.store.summaries() == before
    assert api.store.zone(ORIGIN) is version
    assert api.accounts.audited() == audited


def test_every_change_in_the_document_has_its_dry_run(api: Api) -> None:
    document = api.http.get("/quada/v1/openapi.json").json()
    without = {
        f"{method} {path}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "get"
        and path not in UNDER_WAY
        and "dry_run" not in {one.get("name") for one in operation.get("parameters", ())}
    }
    # They answer without changing anything: adjusting is a question, the others are done already.
    zone = "/api/v1/servers/{server}/zones/{zone}"
    assert without == {
        "post /external-dns/adjustendpoints", f"put {zone}/notify", f"put {zone}/rectify",
    }  # fmt: skip


def test_a_dry_run_of_what_the_checks_refuse_tells_their_finding(api: Api) -> None:
    body = {"name": "www", "type": "CNAME", "content": "mail.example.com"}
    told = api.http.post(f"{ZONE}/records?dry_run=true", json=body).json()
    assert any(one["refuses"] for one in told["findings"])
    plan = {
        "create": [
            {
                **ENDPOINT,
                "dnsName": "www.example.com",
                "recordType": "CNAME",
                "targets": ["mail.example.com"],
            }
        ]
    }
    told = api.http.post("/external-dns/records?dry_run=true", json=plan).json()
    assert told["changes"] == []
    assert len(told["refused"]) == 1


def test_a_dry_run_needs_the_rights_of_the_change(api: Api) -> None:
    token = api.accounts.add_token("reader", ("read",), 1)
    answer = api.http.delete(
        "/v2/1/domains/example.com?dry_run=true", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 403


def test_a_zone_of_powerdns_is_made_with_its_rrsets_or_not_at_all(api: Api) -> None:
    body = {
        "name": "example.net.", "nameservers": SERVERS,
        "rrsets": [{**RRSET, "name": "www.example.net.", "records": [{"content": "no address"}]}],
    }  # fmt: skip
    assert api.http.post(PDNS, json=body).status_code == 400
    assert api.http.get(f"{PDNS}/example.net.").status_code == 404
