"""Pools over HTTP: what the running server tells, by pool."""

from pathlib import Path

from quada.authority.pool import Member, Pool, PoolState, Result
from quada.server.pools import PoolWatch
from small_api import Api


def watched() -> list[dict]:
    """Give what a server tells of two pools, the IPv6 member of one being out."""
    web = PoolState(
        Pool(
            name="web",
            members=(Member(address="2001:db8::80", weight=2), Member(address="192.0.2.80")),
        )
    )
    mail = PoolState(Pool(name="mail", members=(Member(address="2001:db8::25"),)))
    for _ in range(3):
        web.take(Result("web", "2001:db8::80", False, 1.5, "refused"), 100.0)
    return PoolWatch({"web": web, "mail": mail}, lambda _: None).status()


def test_pools_are_told_with_what_is_down(api: Api) -> None:
    api.server.told["status"] = {"pools": watched()}
    web, mail = api.http.get("/quada/v1/pools").json()
    assert (web["name"], web["is_well"], web["down"]) == ("web", False, ["AAAA"])
    assert (web["policy"], web["probe"]) == ("all", "tcp")
    first = web["members"][0]
    assert (first["address"], first["type"], first["weight"]) == ("2001:db8::80", "AAAA", 2)
    assert (first["is_healthy"], first["since"], first["detail"]) == (False, 100.0, "refused")
    assert (mail["is_well"], mail["down"]) == (True, [])
    assert api.http.get("/quada/v1/pools/mail").json() == mail
    assert api.http.get("/quada/v1/pools/none").status_code == 404


def test_without_a_server_nothing_is_known_of_pools(api: Api) -> None:
    told = api.http.get("/quada/v1/pools")
    assert (told.status_code, told.json()["code"]) == (504, "reach-fault")


def test_who_sees_one_zone_sees_no_pools(api: Api, tmp_path: Path) -> None:
    one = api.client(api.accounts.add_token("one", ("records:example.com",), 1))
    assert one.get("/quada/v1/pools").status_code == 403
