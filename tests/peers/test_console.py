"""The console in Debian's Chromium, over IPv6."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

import quada.wire.names as names
from conftest import Web
from oidc_provider import CLIENT, SECRET, Provider
from quada.store.accounts import FILE, Accounts
from quada.store.alerts import AlertStore
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.telemetry.signals import Signal, State
from quada.zones import read_zone

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ MX 10 mail
ns1 AAAA 2001:db8::53
mail AAAA 2001:db8::25
www AAAA 2001:db8::80
"""
ORIGIN = b"\x07example\x03com\x00"
REVERSE = b"\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\x00"
REVERSE_TEXT = "$TTL 300\n@ SOA ns1.example.com. host.example.com. 1 3600 600 86400 60\n@ NS ns1.example.com.\n"
PICTURES = os.environ.get("QUADA_PICTURES", "")
"""A directory to keep screenshots in; empty keeps none."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "tests/peers/install.sh installs chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--no-proxy-server"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def shared(start_web: Callable[..., Web]) -> Web:
    """One server for the tests that ask nothing of what others leave but its zones."""
    return with_reverse(start_web(TEXT))


@pytest.fixture
def web(shared: Web, until) -> Web:
    """The shared server, with its zones as they were at its start."""
    store = ZoneStore.open(shared.served.state_dir / "zones.db")
    for text, origin in ((TEXT, ORIGIN), (REVERSE_TEXT, REVERSE)):
        put = store.replace(read_zone(text, origin), Author("test"), 2)
        name, wanted = names.to_text(origin), f" {put.zone.serial} "

        def is_served(name: str = name, wanted: str = wanted) -> bool:
            return any(wanted in str(one) for one in shared.served.udp(name, "SOA").answer)

        until(is_served, what="zones as they were")
    store.close()
    return shared


@pytest.fixture
def fresh_web(serve_web: Callable[..., Web]) -> Web:
    """A server of the test's own, that nobody has asked anything."""
    return with_reverse(serve_web(TEXT))


def with_reverse(made: Web) -> Web:
    store = ZoneStore.open(made.served.state_dir / "zones.db")
    store.create(read_zone(REVERSE_TEXT, REVERSE), Author("test"), 1)
    store.close()
    return made


@pytest.fixture
def page(browser: Browser, web: Web) -> Iterator[Page]:
    yield from logged_in(browser, web)


@pytest.fixture
def fresh_page(browser: Browser, fresh_web: Web) -> Iterator[Page]:
    yield from logged_in(browser, fresh_web)


def logged_in(browser: Browser, web: Web) -> Iterator[Page]:
    """Give a page that is logged in by a one-time link; script errors fail the test."""
    accounts = Accounts.open(web.served.state_dir / FILE)
    link = accounts.make_link("admin", int(time.time()))
    accounts.close()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    shown = context.new_page()
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security" in message.text else None,
    )
    shown.goto(f"{web.url}/login?once={link}")
    shown.get_by_role("button", name="Come in").click()
    shown.wait_for_url(f"{web.url}/")
    yield shown
    context.close()
    assert not errors


def keep(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def add_record(page: Page, name: str, rdtype: str, value: str) -> None:
    form = page.locator("form[data-record]").first
    form.get_by_role("textbox", name="Name").fill(name)
    form.get_by_role("combobox").select_option(rdtype)
    form.get_by_role("textbox", name="Value").fill(value)
    form.get_by_role("button", name="Preview").click()


def test_an_aaaa_record_is_added_with_its_ptr_and_taken_back(page: Page, web, until) -> None:
    keep(page, "zones")
    page.get_by_role("link", name="example.com.", exact=True).click()
    form = page.locator("form[data-record]").first
    form.get_by_role("textbox", name="Value").fill("2001:db8::77")
    page.get_by_text("2001:0db8:0000:0000:0000:0000:0000:0077").wait_for()
    assert (
        "no PTR yet in 8.b.d.0.1.0.0.2.ip6.arpa." in page.locator("[data-told]").first.inner_text()
    )
    add_record(page, "new", "AAAA", "2001:db8::77")
    page.get_by_text("+ new.example.com.").wait_for()
    keep(page, "preview")
    page.get_by_label("Why, for the history").fill("a test")
    page.get_by_role("button", name="Apply").click()
    until(lambda: web.served.udp("new.example.com.", "AAAA").answer, what="served")
    pointer = "7.7." + "0." * 22 + "8.b.d.0.1.0.0.2.ip6.arpa."
    until(lambda: web.served.udp(pointer, "PTR").answer, what="its PTR served")
    page.get_by_text("2001:db8::77").wait_for()
    keep(page, "editor")
    page.get_by_role("link", name="History").click()
    page.get_by_text("a test").wait_for()
    keep(page, "history")
    page.get_by_role("button", name="Undo").first.click()
    until(lambda: web.served.udp("new.example.com.", "AAAA").rcode() == 3, what="taken back")


def test_a_record_is_edited_in_place_and_removed(page: Page, web, until) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    page.get_by_role("link", name="Edit www AAAA").click()
    row = page.locator("tr.editing")
    row.get_by_role("textbox", name="Value").fill("2001:db8::81")
    row.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Apply").click()
    until(lambda: "2001:db8::81" in str(web.served.udp("www.example.com.", "AAAA")), what="edited")
    page.get_by_role("button", name="Remove www AAAA").click()
    page.get_by_role("button", name="Apply").click()
    until(lambda: web.served.udp("www.example.com.", "AAAA").rcode() == 3, what="removed")


def test_pasted_zone_text_is_added_whole_and_a_fault_names_its_line(page: Page, web, until) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    page.get_by_text("Paste zone text").click()
    lines = page.get_by_label("Records to add")
    lines.fill("a AAAA 2001:db8::a\nb AAAA 2001:db8::b\n@ ALIAS www\n")
    page.locator("details").get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Apply").click()
    until(lambda: web.served.udp("b.example.com.", "AAAA").answer, what="pasted")
    page.get_by_text("Paste zone text").click()
    page.get_by_label("Records to add").fill("c AAAA 2001:db8::c\nd AAAA nonsense\n")
    page.locator("details").get_by_role("button", name="Preview").click()
    assert "nonsense" in page.get_by_role("alert").inner_text()
    assert web.served.udp("c.example.com.", "AAAA").rcode() == 3


def test_what_the_checks_refuse_cannot_be_applied(page: Page, web) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    add_record(page, "www", "CNAME", "other.example.net.")
    assert "refuse" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("button", name="Apply").count() == 0


def test_two_editors_at_once_lose_nothing(page: Page, web) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    add_record(page, "first", "AAAA", "2001:db8::1")
    store = ZoneStore.open(web.served.state_dir / "zones.db")
    other = read_zone(TEXT + "second AAAA 2001:db8::2\n", ORIGIN)
    store.replace(other, Author("another"), 2)
    page.get_by_role("button", name="Apply").click()
    assert "serial" in page.get_by_role("alert").inner_text()
    found = set(store.zone(ORIGIN).nodes)
    store.close()
    assert b"\x06second" + ORIGIN in found
    assert b"\x05first" + ORIGIN not in found


def test_script_in_records_and_query_names_is_shown_and_never_run(page: Page, web) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    hostile = '"<script>document.title=1</script><img src=x onerror=alert(1)>"'
    add_record(page, "x", "TXT", hostile)
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("<script>document.title=1</script>").wait_for()
    page.goto(f"{web.url}/tail")
    web.served.udp(r"<img\032src=x\032onerror=document.title=2>.example.com.", "AAAA")
    page.get_by_text("onerror").first.wait_for()
    keep(page, "tail")
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "Live tail · quada"


def test_the_tail_shows_queries_as_they_come_and_filters_them(page: Page, web) -> None:
    page.goto(f"{web.url}/tail")
    web.served.udp("www.example.com.", "AAAA")
    web.served.udp("www.example.com.", "MX")
    page.get_by_role("cell", name="MX", exact=True).wait_for()
    page.get_by_label("Type").fill("aaaa")
    rows = page.locator("#events tbody tr:visible")
    asked = rows.filter(has=page.get_by_role("cell", name="AAAA", exact=True))
    assert rows.count() == asked.count() > 0


def test_health_dashboard_server_and_access_pages_show_what_is(
    fresh_page: Page, fresh_web: Web, until
) -> None:
    page, web = fresh_page, fresh_web
    for number in range(40):
        web.served.udp("www.example.com.", "AAAA" if number % 3 else "A")
    page.goto(f"{web.url}/zones/example.com./health")
    page.get_by_text("yes", exact=True).wait_for()
    keep(page, "health")
    page.goto(f"{web.url}/dashboard")
    page.get_by_text("40 queries").wait_for()
    assert page.locator("svg rect").count() > 0
    page.get_by_role("heading", name="Versions serving").wait_for()
    assert page.get_by_text("behind", exact=True).count() == 0
    keep(page, "dashboard")
    hour = f"{web.url}/dashboard?span=hour"
    until(lambda: "40 queries" in page.request.get(hour).text(), within_s=60, what="stored")
    page.get_by_role("link", name="Hour").click()
    page.get_by_text("40 queries").wait_for()
    assert page.locator("svg rect").count() > 0
    keep(page, "dashboard-hour")
    page.goto(f"{web.url}/servers")
    page.get_by_text("authority").first.wait_for()
    page.get_by_text("No agent has called in.").wait_for()
    page.get_by_role("link", name="Settings").click()
    row = page.get_by_role("row").filter(has_text="authority.listen")
    row.get_by_text("set", exact=True).first.wait_for()
    page.get_by_role("link", name="All settings").click()
    row = page.get_by_role("row").filter(has_text="resolver.families")
    row.get_by_text("default", exact=True).wait_for()
    page.goto(f"{web.url}/no-such-page")
    page.get_by_text("there is no such page").wait_for()
    page.goto(f"{web.url}/people")
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Scopes").fill("records:example.com")
    page.get_by_role("button", name="Make token").click()
    page.get_by_text(re.compile("^quada_")).wait_for()
    keep(page, "access")


def test_an_alert_is_shown_with_its_evidence_and_taken_on(fresh_page: Page, fresh_web: Web) -> None:
    page, web = fresh_page, fresh_web
    store = AlertStore.open(web.served.state_dir / "alerts.db")
    hostile = "<img src=x onerror=document.title=3>"
    store.note(
        Signal("aaaa-servfail", "recursive/example.com.", State.OPEN, 1000, f"AAAA fails {hostile}",
               "A fails for 0 of 9", "validation", "everywhere", (hostile,), "quada doctor example.com"),
        1000, (),
    )  # fmt: skip
    page.goto(f"{web.url}/alerts")
    page.get_by_text("quada doctor example.com").wait_for()
    keep(page, "alerts")
    assert page.locator("main img").count() == 0
    page.get_by_role("button", name="Take alert 1 on").click()
    page.get_by_text("taken on by user admin").wait_for()
    store.close()


def test_pages_fit_a_telephone_and_are_reached_by_keys_alone(page: Page, web) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", "/zones/example.com.", "/dashboard", "/tail"):
        page.goto(web.url + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, path
    page.goto(f"{web.url}/zones/example.com.")
    keep(page, "telephone")
    page.keyboard.press("/")
    page.keyboard.type("mail")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=mail**")
    assert page.locator("table.records tbody tr").count() == 2


def test_nobody_comes_in_without_a_login_and_a_foreign_form_is_refused(browser, page, web) -> None:
    import httpx

    away = httpx.get(f"{web.url}/zones/example.com.", trust_env=False).headers["location"]
    assert away == "/login?then=%2Fzones%2Fexample.com."
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    assert all(one["httpOnly"] and one["sameSite"] == "Strict" for one in page.context.cookies())
    forged = httpx.post(
        f"{web.url}/zones/example.com./undo",
        data={"number": "1", "csrf": "x"},
        cookies=cookies,
        trust_env=False,
    )
    assert forged.status_code == 403
    context = browser.new_context()
    fresh = context.new_page()
    fresh.goto(f"{web.url}/")
    assert fresh.url == f"{web.url}/login"
    fresh.get_by_label("User").fill("admin")
    fresh.get_by_label("Password").fill("wrong wrong wrong")
    fresh.get_by_role("button", name="Log in").click()
    assert fresh.get_by_role("alert").count() == 1
    keep(fresh, "login")
    context.close()


def log_in_again(page: Page, web: Web) -> None:
    accounts = Accounts.open(web.served.state_dir / FILE)
    accounts.set_password("admin", "a long enough one")
    accounts.close()
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Log in").click()


def test_a_session_that_ends_in_the_middle_of_an_edit_says_so_and_leads_back(
    fresh_page: Page, fresh_web: Web
) -> None:
    page, web = fresh_page, fresh_web
    zone = f"{web.url}/zones/example.com."
    page.goto(zone)
    form = page.locator("form[data-record]").first
    form.get_by_role("textbox", name="Name").fill("late")
    page.context.clear_cookies()
    form.get_by_role("textbox", name="Value").fill("2001:db8::1a7e")
    form.get_by_role("button", name="Preview").click()
    assert "was not done" in page.get_by_role("alert").inner_text()
    log_in_again(page, web)
    page.wait_for_url(zone)
    page.context.clear_cookies()
    page.goto(f"{zone}/history")
    log_in_again(page, web)
    page.wait_for_url(f"{zone}/history")
    for elsewhere in ("//example.net/", "/\\example.net", "https://example.net/"):
        page.context.clear_cookies()
        page.goto(f"{web.url}/login?then={elsewhere}")
        log_in_again(page, web)
        page.wait_for_url(f"{web.url}/")


def test_the_tail_says_that_its_connection_is_lost_and_goes_on_where_it_was(
    page: Page, web, until
) -> None:
    page.goto(f"{web.url}/tail")
    web.served.udp("before.example.com.", "AAAA")
    page.get_by_text("before.example.com").wait_for()
    port = web.url.rpartition(":")[2]
    holders = subprocess.run(
        ["ss", "-Htlnp", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout
    pids = {int(pid) for pid in re.findall(r"pid=(\d+)", holders)} - {web.served.process.pid}
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)  # the web process: the server begins another
    page.get_by_text("The connection is lost").wait_for(timeout=30_000)
    web.served.udp("meanwhile.example.com.", "AAAA")
    page.get_by_text("meanwhile.example.com").wait_for(timeout=30_000)
    assert page.get_by_text("The connection is lost").count() == 0
    assert page.get_by_role("cell", name="before.example.com.", exact=True).count() == 1


def test_a_login_link_works_once(browser: Browser, web) -> None:
    accounts = Accounts.open(web.served.state_dir / FILE)
    link = accounts.make_link("admin", int(time.time()))
    accounts.close()
    for attempt in range(2):
        context = browser.new_context()
        shown = context.new_page()
        shown.goto(f"{web.url}/login?once={link}")
        shown.get_by_role("button", name="Come in").click()
        assert shown.get_by_role("alert").count() == attempt
        context.close()


def test_the_incident_checklist_runs_live_and_names_its_steps(page: Page, web) -> None:
    page.goto(f"{web.url}/incident")
    assert page.locator("ol li").count() == 6
    keep(page, "incident-empty")
    page.get_by_label("The name that fails").fill("www.example.com")
    page.get_by_role("button", name="Walk the checklist").click()
    page.wait_for_url("**/runs/*")
    page.locator("#stages li").first.wait_for()
    page.get_by_role("heading", name="The checklist").wait_for(timeout=120_000)
    words = page.locator("ol.steps li b").all_inner_texts()
    assert words == [
        "authoritative answers", "IPv6 transport", "validation", "client discovery",
        "fallback masking", "blast radius",
    ]  # fmt: skip
    keep(page, "incident")
    page.goto(f"{web.url}/incident")
    assert page.locator("ul.plain a", has_text="www.example.com.").count() == 1


def test_doctor_looks_at_a_zone_and_is_kept_there(page: Page, web) -> None:
    page.goto(f"{web.url}/zones/example.com.")
    page.get_by_role("link", name="Doctor").click()
    assert "Nobody has looked" in page.locator("p.empty").inner_text()
    keep(page, "doctor-empty")
    page.get_by_role("button", name="Look now").click()
    page.get_by_role("heading", name="Findings").wait_for(timeout=120_000)
    assert page.locator(".finding .tag").count() > 0
    keep(page, "doctor")
    page.goto(f"{web.url}/zones/example.com./doctor")
    assert page.locator("ul.plain a", has_text="example.com.").count() == 1


def test_a_run_can_be_watched_without_scripts(browser: Browser, page: Page, web) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies(page.context.cookies())
    plain = context.new_page()
    plain.goto(f"{web.url}/incident")
    plain.get_by_label("The name that fails").fill("plain.example.com")
    plain.get_by_role("button", name="Walk the checklist").click()
    plain.get_by_role("heading", name="The checklist").wait_for(timeout=120_000)
    context.close()


def test_a_run_of_no_name_and_a_run_that_is_gone_are_said_well(page: Page, web) -> None:
    page.goto(f"{web.url}/incident")
    page.get_by_label("The name that fails").fill("a..b")
    page.get_by_role("button", name="Walk the checklist").click()
    assert "name" in page.get_by_role("alert").inner_text()
    page.goto(f"{web.url}/runs/none")
    assert "no such run" in page.get_by_role("alert").inner_text()


def test_health_tells_a_signed_zones_keys_and_what_comes_next(
    fresh_page: Page, fresh_web: Web
) -> None:
    page, web = fresh_page, fresh_web
    import httpx

    page.goto(f"{web.url}/zones/example.com./health")
    page.get_by_text("Not signed by quada").wait_for()
    headers = {"Authorization": f"Bearer {web.token}"}
    path = f"{web.url}/quada/v1/zones/example.com/dnssec"
    assert httpx.put(path, json={}, headers=headers, trust_env=False, timeout=30).json()["is_live"]
    page.reload()
    page.get_by_text("ECDSAP256SHA256").wait_for()
    assert "active" in page.locator("ul.plain li").first.inner_text()
    assert "ask the parent for DS" in page.locator("ol.steps li").first.inner_text()
    keep(page, "health-signed")
    assert not Axe().run(page, options={"runOnly": AXE_TAGS}).response["violations"]


def test_somebody_comes_in_by_a_provider_of_another_site(browser: Browser, serve_web) -> None:
    provider = Provider()
    provider.people = {"alice": {"groups": ["dns-admins"]}, "carol": {"groups": []}}
    web = serve_web(
        TEXT,
        f'[oidc]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
        'grant = ["dns-admins=admin"]\ntitle = "the house"\n',
    )
    provider.back = f"{web.url}/login/oidc/back"
    context = browser.new_context()
    shown = context.new_page()
    for who in ("carol", "alice"):
        shown.goto(f"{web.url}/login")
        keep(shown, "login-oidc")
        assert not Axe().run(shown, options={"runOnly": AXE_TAGS}).response["violations"]
        shown.get_by_role("link", name="Log in with the house").click()
        shown.get_by_label("Who").fill(who)
        shown.get_by_role("button", name="It is me").click()
        if who == "carol":
            assert "nothing here is granted" in shown.get_by_role("alert").inner_text()
    shown.wait_for_url(f"{web.url}/")
    shown.get_by_role("link", name="example.com.", exact=True).wait_for()
    assert shown.locator("aside.banner").count() == 0
    shown.goto(f"{web.url}/people")
    shown.get_by_text("login by OpenID Connect").first.wait_for()
    assert shown.get_by_label("New password").count() == 0
    shown.get_by_role("button", name="Log out").click()
    shown.get_by_role("link", name="You are out").click()
    shown.wait_for_url(f"{web.url}/login")
    context.close()
    provider.shutdown()
    provider.server_close()


AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def test_axe_finds_nothing_on_any_page_light_and_dark_wide_and_narrow(
    page: Page, web, until
) -> None:
    until(lambda: web.served.udp("www.example.com.", "AAAA").answer, what="served")
    signal = Signal("servfail-aaaa", "example.com.", State.OPEN, 1000, "AAAA fails", cause="bogus")
    alerts = AlertStore.open(web.served.state_dir / "alerts.db")
    alerts.note(signal, 1000, ())
    alerts.close()
    page.goto(f"{web.url}/incident")
    page.get_by_label("The name that fails").fill("mail.example.com")
    page.get_by_role("button", name="Walk the checklist").click()
    page.get_by_role("heading", name="The checklist").wait_for(timeout=120_000)
    run = page.url.removeprefix(web.url)
    edit = re.search(r"edit=\d+", page.request.get(f"{web.url}/zones/example.com.").text())
    assert edit is not None
    zone = "/zones/example.com."
    wrong: list[str] = []

    def look(what: str) -> None:
        for details in page.locator("details").all():
            details.evaluate("one => one.open = true")
        page.evaluate(AXE_SCRIPT)  # once a page, and asked four times
        for scheme, width in itertools.product(("light", "dark"), (1280, 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            found = page.evaluate("tags => axe.run({runOnly: tags})", AXE_TAGS)["violations"]
            wrong.extend(
                f"{what} {scheme} {width}: {one['id']}: {node['html'][:200]} {node['any'][:1]}"
                for one in found
                for node in one["nodes"][:3]
            )

    for path in (
        "/", "/?text=none", zone, f"{zone}?{edit[0]}", f"{zone}?text=none", f"{zone}/health",
        f"{zone}/doctor", f"{zone}/history", "/dashboard", "/dashboard?span=day", "/alerts", "/alerts?all=true", "/incident", run,
        "/tail", "/explain", "/explain?name=www.example.com", "/servers", "/settings?all=true",
        "/people", "/zones/none.example", "/no-such-page", "/login",
    ):  # fmt: skip
        page.goto(f"{web.url}{path}")
        look(path)
    page.goto(f"{web.url}{zone}")
    add_record(page, "new", "AAAA", "2001:db8::77")
    look("preview")
    page.goto(f"{web.url}{zone}")
    add_record(page, "www", "CNAME", "other.example.net.")
    look("refused")
    assert not wrong, "\n".join(wrong)
