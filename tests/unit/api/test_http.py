"""The HTTP API without a network: DNSimple's form, PowerDNS's and quada's own."""

import pytest

from quada.api.own import since_of
from quada.store.journal import Author
from quada.telemetry.signals import Signal, State
from quada.zones import read_zone
from small_api import ORIGIN, TEXT, Api


def test_a_record_keeps_its_number_when_its_content_changes(api: Api) -> None:
    before = api.records(name="www", type="AAAA")[0]
    path = f"/v2/1/zones/example.com/records/{before['id']}"
    changed = api.http.patch(path, json={"content": "2001:db8::81", "ttl": 120}).json()["data"]
    assert (changed["id"], changed["content"], changed["ttl"]) == (
        before["id"],
        "2001:db8::81",
        120,
    )
    assert api.http.get(path).json()["data"]["content"] == "2001:db8::81"
    again = api.http.patch(path, json={"content": "2001:db8::82"}).json()["data"]
    assert (again["id"], again["ttl"]) == (before["id"], 120)
    assert api.http.delete(path).status_code == 204
    assert api.http.get(path).status_code == 404


def test_mail_exchangers_show_their_priority_apart(api: Api) -> None:
    found = api.records(type="MX")[0]
    assert (found["content"], found["priority"]) == ("mail.example.com", 10)
    changed = api.http.patch(f"/v2/1/zones/example.com/records/{found['id']}", json={"priority": 5})
    assert (changed.json()["data"]["content"], changed.json()["data"]["priority"]) == (
        "mail.example.com",
        5,
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a", "type": "AAAA", "content": "192.0.2.1"}, "content"),
        ({"name": "a", "type": "AAAA", "content": "fe80::1%eth0"}, "content"),
        ({"name": "a", "type": "AAAA", "content": "[::1]"}, "content"),
        ({"name": "a", "type": "AAAA", "content": "2001:db8::1/64"}, "content"),
        ({"name": "a", "type": "NOPE", "content": "x"}, "type"),
        ({"name": "a." * 200, "type": "AAAA", "content": "::1"}, "name"),
        ({"name": "b.example.net.", "type": "AAAA", "content": "::1"}, "name"),
        ({"name": "a", "type": "AAAA", "content": "::1", "ttl": -1}, "ttl"),
        ({"name": "a", "type": "AAAA"}, "content"),
        ({"name": "a", "content": "::1"}, "type"),
        ({"name": "", "type": "SOA", "content": "a. b. 1 2 3 4 5"}, "type"),
    ],
)
def test_a_wrong_record_is_refused_with_the_field_at_fault(
    api: Api, body: dict, field: str
) -> None:
    refused = api.http.post("/v2/1/zones/example.com/records", json=body)
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == [field]


def test_a_cname_beside_other_data_is_refused_and_nothing_changes(api: Api) -> None:
    serial = api.store.zone(ORIGIN).serial
    refused = api.http.post(
        "/v2/1/zones/example.com/records",
        json={"name": "", "type": "CNAME", "content": "a.example.net"},
    )
    assert refused.status_code == 400
    assert api.store.zone(ORIGIN).serial == serial


def test_a_batch_is_made_whole_or_not_at_all(api: Api) -> None:
    www = api.records(name="www")[0]["id"]
    path = "/v2/1/zones/example.com/batch"
    bad = {
        "deletes": [{"id": www}],
        "creates": [
            {"name": "x", "type": "AAAA", "content": "::1"},
            {"name": "y", "type": "AAAA", "content": "no"},
        ],
    }
    refused = api.http.post(path, json=bad)
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == ["creates[1].content"]
    assert api.records(name="www")
    good = {"deletes": [{"id": www}], "creates": [{"name": "x", "type": "AAAA", "content": "::1"}]}
    assert api.http.post(path, json=good).json()["data"]["deletes"] == [{"id": www}]
    assert not api.records(name="www")
    assert len(api.store.history(ORIGIN)) == 2


def test_lists_are_paged_sorted_and_filtered(api: Api) -> None:
    page = api.http.get(
        "/v2/1/zones/example.com/records", params={"per_page": 2, "page": 2, "sort": "name:asc"}
    ).json()
    assert page["pagination"] == {
        "current_page": 2,
        "per_page": 2,
        "total_entries": 6,
        "total_pages": 3,
    }
    names = [one["name"] for one in api.records(sort="name:desc")]
    assert names == sorted(names, reverse=True)
    assert [one["name"] for one in api.records(name_like="ww")] == ["www"]
    assert (
        api.http.get("/v2/1/zones/example.com/records", params={"sort": "owner"}).status_code == 400
    )


def test_without_a_token_nothing_is_shown_and_guesses_are_numbered(api: Api) -> None:
    guesser = api.client("wrong")
    codes = [guesser.get("/v2/whoami").status_code for _ in range(22)]
    assert set(codes[:20]) == {401}
    assert codes[-1] == 429


def test_a_token_of_one_zone_sees_and_changes_no_other(api: Api) -> None:
    other = b"\x07example\x03net\x00"
    api.store.create(read_zone(TEXT, other), Author("test"), 1)
    http = api.client(api.accounts.add_token("one", ("records:example.net",), 1))
    assert [one["name"] for one in http.get("/v2/1/zones").json()["data"]] == ["example.net"]
    assert http.get("/v2/1/zones/example.com/records").status_code == 404
    body = {"name": "x", "type": "AAAA", "content": "::1"}
    assert http.post("/v2/1/zones/example.com/records", json=body).status_code == 404
    assert http.post("/v2/1/zones/example.net/records", json=body).status_code == 201
    assert http.delete("/v2/1/domains/example.net").status_code == 403
    http = api.client(api.accounts.add_token("reader", ("read",), 1))
    assert http.post("/v2/1/zones/example.com/records", json=body).status_code == 403


def test_an_expired_token_is_void(api: Api) -> None:
    http = api.client(api.accounts.add_token("old", ("admin",), 1, expires_at=2))
    assert http.get("/v2/whoami").status_code == 401


def test_rrsets_are_replaced_and_deleted_in_the_form_of_powerdns(api: Api) -> None:
    path = "/api/v1/servers/localhost/zones/example.com."
    patch = {
        "rrsets": [
            {
                "name": "www.example.com.",
                "type": "AAAA",
                "ttl": 60,
                "changetype": "REPLACE",
                "records": [{"content": "2001:db8::1"}, {"content": "2001:db8::2"}],
            },
            {"name": "mail.example.com.", "type": "AAAA", "changetype": "DELETE"},
            {"name": "example.com.", "type": "MX", "changetype": "DELETE"},
        ]
    }
    assert api.http.patch(path, json=patch).status_code == 204
    rrsets = {(one["name"], one["type"]): one for one in api.http.get(path).json()["rrsets"]}
    assert [one["content"] for one in rrsets["www.example.com.", "AAAA"]["records"]] == [
        "2001:db8::1",
        "2001:db8::2",
    ]
    assert ("mail.example.com.", "AAAA") not in rrsets
    assert len(api.store.history(ORIGIN)) == 2


def test_a_trial_tells_what_would_come_and_changes_nothing(api: Api) -> None:
    body = {"creates": [{"name": "t", "type": "AAAA", "value": "2001:db8::9"}]}
    told = api.http.post("/quada/v1/zones/example.com/changes?dry_run=true", json=body).json()
    assert [one["name"] for one in told["added"]] == ["t.example.com."]
    assert api.store.zone(ORIGIN).serial == 1


def test_who_edits_an_old_version_is_told_so(api: Api) -> None:
    body = {"creates": [{"name": "t", "type": "AAAA", "value": "2001:db8::9"}]}
    path = "/quada/v1/zones/example.com/changes"
    etag = api.http.get("/quada/v1/zones/example.com").headers["etag"]
    assert api.http.post(path, json=body, headers={"If-Match": etag}).status_code == 200
    body["creates"][0]["name"] = "u"
    assert api.http.post(path, json=body, headers={"If-Match": etag}).status_code == 412


def test_history_is_shown_and_undone(api: Api) -> None:
    api.http.put(
        "/quada/v1/zones/example.com/text",
        json={"text": TEXT + "more AAAA 2001:db8::5\n", "why": "more"},
    )
    path = "/quada/v1/zones/example.com/history"
    entry = api.http.get(path).json()[0]
    assert entry["why"] == "more"
    undone = api.http.post(f"{path}/{entry['number']}/undo").json()
    assert [one["name"] for one in undone["removed"] if one["type"] == "AAAA"] == [
        "more.example.com."
    ]


def test_zone_text_is_not_written_over_what_somebody_else_changed(api: Api) -> None:
    path = "/quada/v1/zones/example.com/text"
    etag = api.http.get(path).headers["etag"]
    changed = api.http.put(
        path, json={"text": TEXT + "one AAAA 2001:db8::1\n"}, headers={"If-Match": etag}
    )
    assert changed.status_code == 200
    late = api.http.put(
        path, json={"text": TEXT + "two AAAA 2001:db8::2\n"}, headers={"If-Match": etag}
    )
    assert late.status_code == 412
    assert b"\x03one" + ORIGIN in api.store.zone(ORIGIN).nodes


def test_who_may_only_read_takes_no_alert_on(api: Api) -> None:
    signal = Signal("blind", "recursive", State.BLIND, 1000, "cannot judge")
    api.alerts.note(signal, 1000, ())
    reader = api.client(api.accounts.add_token("reader", ("read",), 1))
    assert reader.get("/quada/v1/alerts").json()[0]["summary"] == "cannot judge"
    assert reader.post("/quada/v1/alerts/1/acknowledge").status_code == 403
    assert api.http.post("/quada/v1/alerts/1/acknowledge").json()["acked_by"] == "token all"


def test_names_of_every_script_are_kept_as_dns_has_them(api: Api) -> None:
    path = "/v2/1/zones/example.com/records"
    made = api.http.post(path, json={"name": "*._x.Müller", "type": "AAAA", "content": "::1"})
    assert made.json()["data"]["name"] == "*._x.xn--mller-kva"
    assert api.records(name="*._x.müller")
    zone = {"name": "Bücher.example", "name_servers": ["ns1.example.net"]}
    domain = api.http.post("/v2/1/domains", json=zone).json()["data"]
    assert (domain["name"], domain["unicode_name"]) == ("xn--bcher-kva.example", "bücher.example")
    one = api.client(api.accounts.add_token("one", ("records:bücher.example",), 1))
    assert one.get("/v2/1/zones/bücher.example").status_code == 200
    refused = api.http.post(path, json={"name": "a\u200b\u0378", "type": "AAAA", "content": "::1"})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["name"])


def test_who_follows_goes_on_from_what_it_says_it_saw_if_that_is_a_time() -> None:
    assert since_of("1800000000000000000", 5) == 1_800_000_000_000_000_000
    for nonsense in ("", "-1", "x", "\u00b2", "9" * 5_000):
        assert since_of(nonsense, 5) == 5
