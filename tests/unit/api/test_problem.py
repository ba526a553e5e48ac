"""Problem details at quada's own paths; DNSimple's and PowerDNS's paths keep their own shapes."""

import pytest

from small_api import Api

OWN = "/quada/v1/zones/example.com"
CHANGE = {"creates": [{"name": "a", "type": "AAAA", "value": "192.0.2.1"}]}


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code", "fields"),
    [
        ("GET", "/quada/v1/zones/absent.example", {}, 404, "not-found", []),
        ("GET", "/quada/v1/no-such-thing", {}, 404, "http-404", []),
        ("DELETE", "/quada/v1/status", {}, 405, "http-405", []),
        ("POST", f"{OWN}/changes", {"json": CHANGE}, 400, "data-fault", ["content"]),
        ("POST", f"{OWN}/changes", {"json": {"deletes": ["x"]}}, 400, "data-fault", ["deletes.0"]),
        ("POST", f"{OWN}/changes", {"content": b"{"}, 400, "data-fault", ["base"]),
        ("POST", f"{OWN}/changes", {"json": {}, "headers": {"If-Match": '"9"'}}, 412, "serial-conflict", []),
        ("POST", f"{OWN}/changes", {"json": {}, "headers": {"If-Match": b'"\xb2"'}}, 400, "data-fault", ["If-Match"]),
        ("POST", f"{OWN}/changes", {"json": {}, "headers": {"If-Match": "x"}}, 400, "data-fault", ["If-Match"]),
        ("POST", f"{OWN}/changes", {"json": {}, "headers": {"Idempotency-Key": "ä".encode()}}, 400, "data-fault", ["Idempotency-Key"]),
        ("GET", f"{OWN}/history?limit=0", {}, 400, "data-fault", ["limit"]),
    ],
)  # fmt: skip
def test_a_fault_is_a_problem_with_its_code_and_fields(
    api: Api, method: str, path: str, options: dict, status: int, code: str, fields: list[str]
) -> None:
    found = api.http.request(method, path, **options)
    said = found.json()
    assert (found.status_code, said["status"]) == (status, status)
    assert found.headers["content-type"] == "application/problem+json"
    assert said["code"] == code
    assert [one["field"] for one in said["errors"]] == fields
    assert said["title"]
    assert said["detail"]
    assert said["instance"] == path.partition("?")[0]


def test_who_is_not_known_or_may_not_is_told_by_a_problem(api: Api) -> None:
    nobody = api.client("wrong").get(OWN)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    assert nobody.headers["www-authenticate"] == "Bearer"
    reader = api.client(api.accounts.add_token("reader", ("read",), 1))
    denied = reader.post(f"{OWN}/changes", json={"creates": []})
    assert (denied.status_code, denied.json()["title"]) == (403, "Somebody who may not do this")


def test_a_type_of_problem_says_what_it_means(api: Api) -> None:
    said = api.http.get("/quada/v1/zones/absent.example").json()
    meant = api.http.get(said["type"]).json()
    assert meant == {"type": said["type"], "title": said["title"], "status": 404}
    types = [one["type"] for one in api.http.get("/quada/v1/problems").json()]
    assert len(types) == len(set(types)) > 5
    assert api.http.get("/quada/v1/problems/none").status_code == 404


def test_what_breaks_here_is_a_problem_too_and_tells_nothing_of_the_inside(
    api: Api, monkeypatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(api.accounts, "kept_ids", broken)
    api.http.raises = False
    found = api.http.get(OWN)
    assert (found.status_code, found.json()["code"]) == (500, "http-500")
    assert found.headers["content-type"] == "application/problem+json"
    assert "secret" not in found.text


@pytest.mark.parametrize(
    "path", ["/v2/1/zones/absent.example", "/api/v1/servers/localhost/zones/absent.example"]
)
def test_other_forms_keep_their_errors(api: Api, path: str) -> None:
    found = api.http.get(path)
    assert found.headers["content-type"] == "application/json"
    assert "absent.example" in found.json()["message"]
    assert "absent.example" in found.json()["error"]
