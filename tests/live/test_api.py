"""The HTTP API of a running server: zones and records in DNSimple's form, PowerDNS's and quada's own."""

import contextlib
import datetime
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from quada.store.accounts import FILE, Accounts
from quada.store.zones import ZoneStore
from quada.transport.tls import make_certificate
from small_api import ORIGIN, TEXT


class Api:
    """A running server's API, called with a token."""

    def __init__(self, web) -> None:
        self.served, self.url = web.served, web.url
        self.store = ZoneStore.open(web.served.state_dir / "zones.db")
        self.http = httpx.Client(
            base_url=web.url, headers={"Authorization": f"Bearer {web.token}"}, trust_env=False
        )


@pytest.fixture
def api(serve_web) -> Iterator[Api]:
    made = Api(serve_web(TEXT))
    yield made
    made.http.close()
    made.store.close()


def test_a_record_made_over_http_is_served_and_journaled(api: Api, until) -> None:
    made = api.http.post(
        "/v2/1/zones/example.com/records",
        json={"name": "new", "type": "AAAA", "content": "2001:DB8:0:0::0:7", "ttl": 60},
    )
    assert made.status_code == 201
    assert made.json()["data"]["content"] == "2001:db8::7"
    until(lambda: api.served.udp("new.example.com.", "AAAA").answer, what="served")
    entry = api.store.history(ORIGIN)[0]
    assert (entry.author.who, entry.author.place) == ("token all", "::1")


def test_a_deactivated_zone_is_kept_and_not_served(api: Api, until) -> None:
    path = "/v2/1/zones/example.com/activation"
    until(lambda: api.served.udp("www.example.com.", "AAAA").answer, what="served")
    assert api.http.delete(path).json()["data"]["active"] is False
    until(lambda: api.served.udp("www.example.com.", "AAAA").rcode() == 5, what="refused")
    assert api.http.put(path).json()["data"]["active"] is True
    until(lambda: api.served.udp("www.example.com.", "AAAA").answer, what="served again")
    until(
        lambda: api.http.get("/v2/1/zones/example.com/distribution").json()["data"]["distributed"]
    )


def test_events_are_told_as_they_happen(api: Api, until) -> None:
    until(lambda: api.served.udp("www.example.com.", "AAAA").answer, what="served")
    with api.http.stream("GET", "/quada/v1/events/live", timeout=10) as response:
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        api.served.udp("www.example.com.", "AAAA")
        seen = next(line for line in lines if line.startswith("data:"))
    assert "www.example.com." in seen


def test_the_web_process_comes_back_when_it_dies(api: Api, until) -> None:
    api.http.get("/v2/whoami")
    first = web_process(api)
    assert first
    os.kill(first, signal.SIGKILL)
    until(lambda: web_process(api) not in (0, first), what="another")
    assert httpx.get(f"{api.url}/health", trust_env=False).status_code == 200
    assert api.served.udp("www.example.com.", "AAAA").answer


def web_process(api: Api) -> int:
    """Give the web process: the one child of the supervisor that has the accounts open."""
    for pid in api.served.children():
        with contextlib.suppress(OSError):
            if any(FILE in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
    return 0


def test_a_keyed_change_is_not_made_again_after_the_web_process_was_killed(api: Api, until) -> None:
    path, headers = "/v2/1/zones/example.com/records", {"Idempotency-Key": "one-change"}
    body = {"name": "once", "type": "AAAA", "content": "2001:db8::1"}
    first = api.http.post(path, json=body, headers=headers)
    killed = web_process(api)
    os.kill(killed, signal.SIGKILL)
    until(lambda: web_process(api) not in (0, killed), what="another")
    again = api.http.post(path, json=body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(api.store.history(ORIGIN)) == 2


def test_a_zone_is_signed_over_http_while_it_serves(api: Api, until) -> None:
    path = "/quada/v1/zones/example.com/dnssec"
    until(lambda: api.served.udp("www.example.com.", "AAAA").answer, what="served")
    told = api.http.put(path, json={"has_nsec3": True}, timeout=30).json()
    assert told["is_live"], told
    until(
        lambda: len(api.served.udp("www.example.com.", "AAAA", want_dnssec=True).answer) == 2,
        what="signed",
    )
    state = api.http.get(path).json()
    assert state["keys"][0]["state"] == "active"
    assert state["server"]["held"][0]["what"].startswith("ask the parent for DS")
    assert api.http.get(f"{path}/plan").json()["steps"][0]["what"].startswith("ask the parent")
    assert api.http.get("/quada/v1/pools").json() == []


def test_over_tls_the_certificate_is_checked_replaced_and_cookies_are_secure(
    serve_web, until, tmp_path: Path
) -> None:
    web = serve_web(TEXT, "tls = true\n")
    chain, key = (web.served.state_dir / "tls" / name for name in ("chain.pem", "key.pem"))
    trusting = ssl.create_default_context(cafile=str(chain))
    with httpx.Client(base_url=web.url, verify=trusting, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {web.token}"}
        zones = client.get("/v2/1/zones", headers=headers).json()["data"]
        assert [zone["name"] for zone in zones] == ["example.com"]
        accounts = Accounts.open(web.served.state_dir / FILE)
        link = accounts.make_link("admin", int(time.time()))
        accounts.close()
        cookie = client.post("/login", data={"once": link}).headers["set-cookie"]
        assert {"secure", "httponly", "samesite=strict"} <= {
            part.strip().lower() for part in cookie.split(";")
        }
    with pytest.raises(httpx.HTTPError):
        httpx.get(web.url.replace("https://", "http://") + "/health", trust_env=False)
    port = int(web.url.rpartition(":")[2])
    with (
        socket.create_connection(("::1", port)) as plain,
        trusting.wrap_socket(plain, server_hostname="::1") as secured,
    ):
        assert secured.version() == "TLSv1.3"
        first = secured.getpeercert(binary_form=True)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA:AES256-SHA:@SECLEVEL=0")  # no forward secrecy
    with socket.create_connection(("::1", port)) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    make_certificate(chain, key, ["::1"], datetime.datetime.now(datetime.UTC))

    def serves_another() -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("::1", port)) as plain, context.wrap_socket(plain) as found:
            return found.getpeercert(binary_form=True) != first

    until(serves_another, within_s=40, what="the new certificate")


def test_a_run_under_way_does_not_hold_up_the_end(api: Api, until) -> None:
    begun = api.http.post("/quada/v1/runs", json={"kind": "doctor", "name": "example.com"})
    assert begun.status_code == 202
    started = time.monotonic()
    assert api.served.stop() == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in api.served.log.read_text()
