"""Keys, plans and DS over HTTP: the same operations as `quada dnssec`, with callers and trials."""

import pytest

from quada.store.keys import KeyStore
from small_api import ORIGIN, Api

PATH = "/quada/v1/zones/example.com/dnssec"


def test_an_unsigned_zone_says_so(api: Api) -> None:
    told = api.http.get(PATH).json()
    assert (told["zone"], told["is_signed"], told["keys"]) == ("example.com.", False, [])
    assert api.http.get(f"{PATH}/plan").status_code == 404
    assert api.http.get(f"{PATH}/ds").status_code == 404
    assert api.http.delete(PATH).status_code == 404
    assert api.http.get("/quada/v1/dnssec").json() == []
    assert not (api.place / "keys.db").exists()


def test_a_trial_tells_the_plan_and_makes_no_key_store(api: Api) -> None:
    told = api.http.put(f"{PATH}?dry_run=true", json={"algorithm": "ed25519"}).json()
    assert told["plan"]["steps"][0]["what"].startswith("sign the zone with CSK")
    assert told["is_live"] is False
    assert not (api.place / "keys.db").exists()


def test_enabling_saves_the_policy_and_has_the_server_act(api: Api) -> None:
    api.server.told["dnssec-tick"] = ["sign the zone with CSK 1"]
    body = {"algorithm": "ed25519", "has_pair": True, "has_nsec3": True, "zsk_days": 30}
    told = api.http.put(PATH, json=body).json()
    assert (told["is_live"], told["steps"]) == (True, ["sign the zone with CSK 1"])
    store = KeyStore.open(api.place)
    signed = store.load(ORIGIN)
    store.close()
    assert signed is not None
    assert signed.policy.rollover.algorithm == 15
    assert not signed.policy.rollover.has_csk
    assert signed.policy.signing.has_nsec3
    assert [one["zone"] for one in api.http.get("/quada/v1/dnssec").json()] == ["example.com."]
    assert api.http.get(f"{PATH}/ds").json() == {"zone": "example.com.", "ds": []}
    assert api.http.get(f"{PATH}/plan").json()["steps"]
    assert [line.what for line in api.accounts.audited()] == ["dnssec: enabled"]


def test_without_a_server_a_change_waits_for_its_start(api: Api) -> None:
    assert api.http.put(PATH, json={}).json()["is_live"] is False
    told = api.http.delete(PATH).json()
    assert (told["is_signed"], told["is_staying_signed"]) == (True, False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"algorithm": "rsamd5"}, "algorithm"),
        ({"algorithm": "٣"}, "algorithm"),
        ({"lifetime_days": 1}, "lifetime_days"),
        ({"lifetime_days": 10**9}, "lifetime_days"),
        ({"zsk_days": -1}, "zsk_days"),
        ({"ksk_days": 10**9}, "ksk_days"),
        ({"has_pair": "perhaps"}, "has_pair"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_field(
    api: Api, body: dict, field: str
) -> None:
    refused = api.http.put(PATH, json=body)
    assert refused.status_code == 400
    assert [one["field"] for one in refused.json()["errors"]] == [field]


def test_a_rollover_is_begun_once_and_turned_round(api: Api) -> None:
    assert api.http.post(f"{PATH}/rollover", json={}).status_code == 404
    api.http.put(PATH, json={})
    begun = api.http.post(f"{PATH}/rollover", json={}).json()
    assert [key["state"] for key in begun["keys"]] == ["generated"]
    assert api.http.post(f"{PATH}/rollover", json={"role": "zsk"}).status_code == 400
    told = api.http.post(f"{PATH}/rollover", json={"is_cancelled": True})
    assert told.status_code == 400  # nothing was there to be replaced
    again = api.http.post(f"{PATH}/rollover", json={"role": "csk"})
    assert again.status_code == 200
    assert api.http.post(f"{PATH}/rollover", json={}).status_code == 400  # one is under way
    back = api.http.post(f"{PATH}/rollover", json={"is_cancelled": True}).json()
    assert back["plan"]["steps"]


def test_the_parents_ds_is_taken_by_tag(api: Api) -> None:
    api.http.put(PATH, json={})
    key = api.http.post(f"{PATH}/rollover", json={}).json()["keys"][0]
    assert api.http.post(f"{PATH}/seen", json={"tags": [key["tag"] ^ 1]}).status_code == 400
    assert api.http.post(f"{PATH}/seen", json={"tags": [70000]}).status_code == 400
    told = api.http.post(f"{PATH}/seen", json={"tags": [key["tag"]]}).json()
    assert told["keys"][0]["has_ds"] is True


def test_who_may_change_records_may_not_change_keys(api: Api) -> None:
    one = api.client(api.accounts.add_token("one", ("records:example.com",), 1))
    assert one.get(PATH).status_code == 200
    assert one.put(PATH, json={}).status_code == 403
    other = api.client(api.accounts.add_token("other", ("records:example.net",), 1))
    api.http.put(PATH, json={})
    assert other.get(PATH).status_code == 404
    assert other.get("/quada/v1/dnssec").json() == []


def test_a_zone_from_a_file_is_known_by_what_the_server_says(api: Api) -> None:
    path = "/quada/v1/zones/file.example/dnssec"
    assert api.http.get(path).status_code == 404
    api.server.told["status"] = {"zones": [{"zone": "file.example."}], "dnssec": []}
    assert api.http.get(path).json()["is_signed"] is False
    assert api.http.put(path, json={}).json()["zone"] == "file.example."
    held = {"zone": "file.example.", "held": [], "refused": ["why"]}
    api.server.told["status"]["dnssec"] = [held]
    assert api.http.get(path).json()["server"]["refused"] == ["why"]
