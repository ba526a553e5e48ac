"""Idempotency keys: a repeated change is made once and answered alike, over a restart too."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quada.api.repeats import read_key
from quada.store.answers import CALLER_KEYS_MAX, KEEP_S, Answer, Answers, KeyBusy, KeysFull
from quada.wire.faults import DataFault
from small_api import ORIGIN, Api

RECORDS = "/v2/1/zones/example.com/records"
CHANGES = "/quada/v1/zones/example.com/changes"
BODY = {"name": "k", "type": "AAAA", "content": "2001:db8::9"}
OWN = {"creates": [{"name": "k", "type": "AAAA", "value": "2001:db8::9"}]}
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


@pytest.mark.parametrize(("path", "body"), [(RECORDS, BODY), (CHANGES, OWN)])
def test_a_repeated_change_is_made_once_and_answered_alike(api: Api, path: str, body: dict) -> None:
    first = api.http.post(path, json=body, headers=KEY)
    again = api.http.post(path, json=body, headers=KEY)
    assert first.status_code in (200, 201)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert "x-ratelimit-remaining" in again.headers
    assert len(api.store.history(ORIGIN)) == 2


def test_without_a_key_the_same_change_is_a_second_change(api: Api) -> None:
    assert api.http.post(RECORDS, json=BODY).status_code == 201
    assert api.http.post(RECORDS, json=BODY).status_code == 400


@pytest.mark.parametrize("path", [RECORDS, CHANGES])
def test_a_key_with_another_body_path_or_precondition_is_refused(api: Api, path: str) -> None:
    assert api.http.post(RECORDS, json=BODY, headers=KEY).status_code == 201
    other = {**BODY, "ttl": 60}
    assert api.http.post(path, json=other, headers=KEY).status_code == 422
    condition = {**KEY, "If-Match": '"1"'}
    assert api.http.post(RECORDS, json=BODY, headers=condition).status_code == 422
    assert len(api.store.history(ORIGIN)) == 2


def test_a_refusal_is_given_again_too(api: Api) -> None:
    wrong = {**BODY, "content": "192.0.2.1"}
    first = api.http.post(RECORDS, json=wrong, headers=KEY)
    again = api.http.post(RECORDS, json=wrong, headers=KEY)
    assert (first.status_code, again.status_code) == (400, 400)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content


def test_an_answer_without_a_body_is_given_again(api: Api) -> None:
    number = api.records(name="www")[0]["id"]
    path = f"{RECORDS}/{number}"
    assert api.http.delete(path, headers=KEY).status_code == 204
    again = api.http.delete(path, headers=KEY)
    assert (again.status_code, again.content) == (204, b"")
    assert api.http.delete(path).status_code == 404


def test_a_key_belongs_to_its_caller_and_what_they_may(api: Api) -> None:
    assert api.http.post(RECORDS, json=BODY, headers=KEY).status_code == 201
    other = api.client(api.accounts.add_token("other", ("read",), 1))
    assert other.post(RECORDS, json=BODY, headers=KEY).status_code == 403
    nobody = api.client("wrong")
    assert nobody.post(RECORDS, json=BODY, headers=KEY).status_code == 401


def test_a_wrong_token_with_a_key_counts_once(api: Api) -> None:
    nobody = api.client("wrong")
    told = [nobody.post(RECORDS, json=BODY, headers=KEY).status_code for _ in range(21)]
    assert told == [401] * 20 + [429]


def test_the_same_change_at_the_same_time_is_made_once(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: api.http.post(RECORDS, json=BODY, headers=KEY), range(8)))
    assert {one.status_code for one in told} <= {201, 409}
    assert 201 in {one.status_code for one in told}
    assert len(api.store.history(ORIGIN)) == 2


def test_a_void_token_gets_no_kept_answer_and_leaves_the_key_free(api: Api) -> None:
    secret = api.accounts.add_token("late", ("admin",), 1, expires_at=api.now_s + 10)
    assert api.client(secret).post(RECORDS, json=BODY, headers=KEY).status_code == 201
    api.now_s += 20
    assert api.client(secret).post(RECORDS, json=BODY, headers=KEY).status_code == 401


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    assert api.http.post(RECORDS, json=BODY, headers=KEY).status_code == 201
    api.now_s += KEEP_S - 1
    assert api.http.post(RECORDS, json=BODY, headers=KEY).status_code == 201
    api.now_s += 1
    assert api.http.post(RECORDS, json=BODY, headers=KEY).status_code == 400  # it is there already


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "ä", "a b", '"a', "a\tb"])
def test_what_is_no_key_is_refused(api: Api, key: str) -> None:
    if key != '"a':
        headers = {"Idempotency-Key": key.encode()}
        assert api.http.post(RECORDS, json=BODY, headers=headers).status_code == 400
    with pytest.raises(DataFault):
        read_key(key)


def test_reading_takes_no_notice_of_a_key(api: Api) -> None:
    for _ in range(2):
        found = api.http.get(RECORDS, headers=KEY)
        assert "idempotent-replayed" not in found.headers


def test_a_restart_keeps_answers_and_admits_what_it_does_not_know(tmp_path: Path) -> None:
    answers = Answers.open(tmp_path / "answers.db")
    assert answers.take(b"who", "done", b"asked", 100) is None
    answers.keep(b"who", "done", Answer(201, (("content-type", "application/json"),), b"{}"))
    assert answers.take(b"who", "open", b"asked", 100) is None
    with pytest.raises(KeyBusy, match="still at work"):
        answers.take(b"who", "open", b"asked", 100)
    answers.close()
    answers = Answers.open(tmp_path / "answers.db")
    known = answers.take(b"who", "done", b"asked", 101)
    assert known == Answer(201, (("content-type", "application/json"),), b"{}")
    with pytest.raises(KeyBusy, match="not known"):
        answers.take(b"who", "open", b"asked", 101)
    answers.close()


def test_a_request_that_breaks_off_is_not_run_again(api: Api, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(api.accounts, "kept_ids", broken)
        with pytest.raises(RuntimeError):
            api.http.post(RECORDS, json=BODY, headers=KEY)
    again = api.http.post(RECORDS, json=BODY, headers=KEY)
    assert again.status_code == 409
    assert "not known" in again.json()["message"]


def test_an_answer_too_large_to_keep_leaves_its_status(tmp_path: Path) -> None:
    import os

    answers = Answers.open(tmp_path / "answers.db")
    answers.take(b"who", "big", b"asked", 100)
    answers.keep(b"who", "big", Answer(200, (), os.urandom(2 << 20)))
    assert answers.take(b"who", "big", b"asked", 100) == Answer(200, (), None)
    answers.close()


def test_keys_are_bounded_and_never_forgotten_early(tmp_path: Path) -> None:
    answers = Answers.open(tmp_path / "answers.db")
    with answers._engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        rows = [(b"who", str(n), b"asked", "", 100) for n in range(CALLER_KEYS_MAX)]
        connection.exec_driver_sql(
            "INSERT INTO answer (caller, key, request, run, at) VALUES (?, ?, ?, ?, ?)", rows
        )
        connection.exec_driver_sql("COMMIT")
    with pytest.raises(KeysFull):
        answers.take(b"who", "one more", b"asked", 100)
    assert answers.take(b"another", "one more", b"asked", 100) is None
    assert answers.take(b"who", "one more", b"asked", 100 + KEEP_S) is None
    answers.close()
