"""Logins by OpenID Connect, against a provider that runs: whose word is taken, and whose is not."""

import html
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

import quada.console.oidc as oidc
from oidc_provider import CLIENT, SECRET, Provider
from quada.config.settings import OidcSection
from quada.console.session import Person
from quada.server.vouching import check_oidc
from quada.store.accounts import FILE, Accounts
from quada.wire.faults import ConfigFault, ReachFault

TEXT = "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::53\n"
FOREVER = 10**9
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "2", "use": "sig"})


def now() -> int:
    return int(time.time())


@dataclass
class World:
    """quada, its provider, and what is in its accounts."""

    url: str
    provider: Provider
    accounts: Accounts

    browsers: list[httpx.Client] = field(default_factory=list)

    def browser(self) -> httpx.Client:
        self.browsers.append(httpx.Client(trust_env=False, timeout=30))
        return self.browsers[-1]

    def sent(self, browser: httpx.Client) -> dict[str, str]:
        """Begin a login, and give what the provider is asked."""
        answer = browser.get(f"{self.url}/login/oidc")
        assert answer.status_code == 303, answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return {key: values[0] for key, values in query.items()}

    def word(self, browser: httpx.Client, asked: dict[str, str], user: str) -> str:
        """Say to the provider who it is, and give where it sends the browser."""
        answer = browser.post(f"{self.provider.issuer}/authorize", data={**asked, "user": user})
        return answer.headers["location"]

    def come(self, user: str, browser: httpx.Client | None = None) -> httpx.Response:
        browser = browser or self.browser()
        return browser.get(self.word(browser, self.sent(browser), user))

    def said(self) -> str:
        return self.accounts.audited()[0].about


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    made.people = {
        "alice": {"groups": ["staff", "dns-admins"]},
        "bob": {"groups": ["web"]},
        "carol": {"groups": ["staff"]},
    }
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def world(serve_web, provider: Provider) -> Iterator[World]:
    more = f"""[oidc]
issuer = "{provider.issuer}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
grant = ["dns-admins=admin", "web=records:example.com"]
"""
    web = serve_web(TEXT, more)
    provider.back = f"{web.url}/login/oidc/back"
    accounts = Accounts.open(web.served.state_dir / FILE)
    made = World(web.url, provider, accounts)
    yield made
    accounts.close()
    for browser in made.browsers:
        browser.close()


def test_who_is_vouched_for_comes_in_with_what_their_groups_allow(world: World) -> None:
    browser = world.browser()
    assert world.come("alice", browser).status_code == 200
    assert "example.com." in browser.get(f"{world.url}/").text
    assert world.accounts.audited()[0].what == "login by OpenID Connect"
    assert world.accounts.user("oidc:alice").scopes == ("admin",)
    assert world.come("bob").status_code == 200
    assert world.accounts.user("oidc:bob").scopes == ("records:example.com",)


def test_who_has_no_grant_is_refused_and_who_lost_it_is_let_out(world: World) -> None:
    assert world.come("carol").status_code == 403
    assert world.accounts.user("oidc:carol") is None
    browser = world.browser()
    world.come("alice", browser)
    world.provider.people["alice"] = {"groups": ["staff"]}
    assert world.come("alice").status_code == 403
    assert browser.get(f"{world.url}/").headers["location"] == "/login"
    assert "oidc:alice" in world.said()


def test_a_login_ends_in_the_browser_it_began_in_and_once(world: World) -> None:
    mine, other = world.browser(), world.browser()
    back = world.word(mine, world.sent(mine), "alice")
    assert other.get(back).status_code == 403
    assert "another browser" in world.said()
    assert mine.get(back).status_code == 403  # what somebody tried is void
    back = world.word(mine, world.sent(mine), "alice")
    assert mine.get(back).status_code == 200
    assert mine.get(back).status_code == 403
    assert mine.get(f"{world.url}/login/oidc/back?code=x&state=y").status_code == 403


def test_a_code_without_its_verifier_is_worth_nothing(world: World) -> None:
    thief, victim = world.browser(), world.browser()
    stolen = parse_qs(urlsplit(world.word(victim, world.sent(victim), "alice")).query)["code"][0]
    asked = world.sent(thief)
    answer = thief.get(
        f"{world.url}/login/oidc/back", params={"code": stolen, "state": asked["state"]}
    )
    assert answer.status_code == 403
    assert "does not take the code" in world.said()


def test_a_provider_that_is_away_is_said_and_passwords_still_work(world: World) -> None:
    world.accounts.set_password("admin", "a good long password")
    world.provider.shutdown()
    world.provider.server_close()
    browser = world.browser()
    answer = browser.get(f"{world.url}/login/oidc")
    assert answer.status_code == 502
    assert "does not answer" in answer.text
    form = {"name": "admin", "password": "a good long password"}
    assert browser.post(f"{world.url}/login", data=form).headers["location"] == "/"


def log_out(world: World, browser: httpx.Client) -> httpx.Response:
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get(f"{world.url}/").text)
    assert csrf
    return browser.post(f"{world.url}/logout", data={"csrf": csrf[1]})


def test_logging_out_ends_the_session_at_the_provider_too(world: World) -> None:
    browser = world.browser()
    world.come("alice", browser)
    left = log_out(world, browser)
    found = re.search(r'content="0; url=([^"]+)"', left.text)
    assert found
    assert "You are out" in browser.get(html.unescape(found[1])).text
    assert browser.get(f"{world.url}/").headers["location"] == "/login"


@pytest.mark.parametrize(
    "place",
    [None, 7, "javascript:alert(1)", "http://[::1"],
    ids=["none", "number", "script", "no-url"],
)
def test_a_provider_without_a_good_place_to_log_out_ends_the_session_here(
    world: World, place: object
) -> None:
    world.provider.leaves_at = place
    browser = world.browser()
    world.come("alice", browser)
    assert log_out(world, browser).headers["location"] == "/login"
    assert browser.get(f"{world.url}/").headers["location"] == "/login"


class Direct:
    """What decides about logins, called as the pages call it."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        provider.back = "http://[::1]:1/login/oidc/back"
        section = OidcSection(
            issuer=provider.issuer, client_id=CLIENT, client_secret=SECRET, grant=("staff=read",)
        )
        self.decides = oidc.Provider(section, "http://[::1]:1")

    def come(self, user: str) -> Person:
        asked = parse_qs(urlsplit(self.decides.begin("cookie", now())).query)
        form = {key: values[0] for key, values in asked.items()} | {"user": user}
        answer = httpx.post(f"{self.provider.issuer}/authorize", data=form, trust_env=False)
        back = parse_qs(urlsplit(answer.headers["location"]).query)
        return self.decides.end("cookie", {key: values[0] for key, values in back.items()}, now())


@pytest.fixture
def direct(provider: Provider) -> Direct:
    return Direct(provider)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"nonce": "another"}, "not for this login"),
        ({"aud": "another"}, "not good"),
        ({"aud": [CLIENT, "another"]}, "another client"),
        ({"azp": "another"}, "another client"),
        ({"iss": "http://127.0.0.1:1"}, "not good"),
        ({"exp": 1}, "not good"),
        ({"iat": FOREVER * 9}, "not good"),
        ({"sub": ""}, "not good"),
        ({"sub": "a\nb"}, "no sub"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:30],
)
def test_an_id_token_that_breaks_a_rule_lets_nobody_in(
    direct: Direct, wrong: dict, why: str
) -> None:
    assert direct.come("alice") == Person("oidc:alice", ("read",))
    direct.provider.wrong = wrong
    with pytest.raises(oidc.Refused, match=why):
        direct.come("alice")


def test_a_key_that_is_not_the_providers_lets_nobody_in_and_a_new_one_of_theirs_does(
    direct: Direct,
) -> None:
    direct.come("alice")
    direct.provider.signs_with = OTHER_KEY
    with pytest.raises(oidc.Refused, match="not good"):
        direct.come("alice")
    direct.provider.key = OTHER_KEY
    assert direct.come("alice").name == "oidc:alice"


def test_what_the_provider_refuses_is_a_refusal_here(direct: Direct) -> None:
    with pytest.raises(oidc.Refused, match="access_denied"):
        direct.come("mallory")


def test_a_provider_that_calls_itself_otherwise_is_not_believed(direct: Direct) -> None:
    direct.provider.issuer = direct.provider.issuer + "/"
    with pytest.raises(oidc.Refused, match="calls itself"):
        direct.come("alice")


def test_a_provider_that_did_not_answer_is_left_alone_for_a_while(provider: Provider) -> None:
    direct = Direct(provider)
    was = direct.decides
    was._settings = replace(was._settings, issuer="http://127.0.0.1:1")
    with pytest.raises(ReachFault, match="ConnectError"):
        was.begin("cookie", 1_000)
    with pytest.raises(ReachFault, match="TimeoutError"):
        was.begin("cookie", 1_005)
    with pytest.raises(ReachFault, match="ConnectError"):
        was.begin("cookie", 1_020)


def test_an_address_nobody_verified_names_nobody(provider: Provider) -> None:
    direct = Direct(provider)
    section = replace(direct.decides._settings, name_claim="email")
    direct.decides = oidc.Provider(section, "http://[::1]:1")
    provider.people["alice"] = {"groups": ["staff"], "email": "alice@example.com"}
    with pytest.raises(oidc.Refused, match="not verified"):
        direct.come("alice")
    provider.people["alice"]["email_verified"] = True
    assert direct.come("alice").name == "oidc:alice@example.com"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"issuer": "http://id.example.com"}, "oidc.issuer"),
        ({"client_id": ""}, "oidc.client_id"),
        ({"grant": ()}, "oidc.grant"),
        ({"grant": ("admins=everything",)}, "oidc.grant"),
        ({"grant": ("admin",)}, "oidc.grant"),
    ],
    ids=str,
)
def test_settings_that_nobody_could_come_in_through_are_refused(wrong: dict, place: str) -> None:
    good = OidcSection(issuer="https://id.example.com", client_id="quada", grant=("a=admin",))
    check_oidc(good)
    with pytest.raises(ConfigFault) as raised:
        check_oidc(replace(good, **wrong))
    assert raised.value.place == place
