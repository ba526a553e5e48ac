"""Zone keys in a token (SoftHSM): made there, signing there, rolled there, away and back."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
from quada.server.signing import SigningDesk
from quada.store.alerts import FILE, AlertStore
from quada.store.held import HeldKeys, TokenAway, TokenPlace
from quada.store.keys import KeyStore
from quada.store.token import Token
from quada.wire.faults import DataFault
from quada.zones import Zone
from quada.zones.read import read_zone
from quada.zones.write import write_zone

pytestmark = pytest.mark.peers
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ORIGIN = names.from_text("example.")
TEXT = """
example. 300 IN SOA ns.example. host.example. 10 3600 900 86400 300
example. 300 IN NS ns.example.
ns.example. 300 IN AAAA 2001:db8::53
www.example. 300 IN AAAA 2001:db8::1
"""


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenPlace]:
    """Make a token, and name it as that of the zones in the state directory `state0`."""
    if not MODULE.exists():
        pytest.skip("softhsm2 is not there: tests/peers/install.sh installs it")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    (tmp_path / "pin").write_text("1234\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    run("softhsm2-util", "--init-token", "--free", "--label", "quada", "--so-pin", "5678",
        "--pin", "1234")  # fmt: skip
    quada(tmp_path, "token", "set", "--pkcs11-module", str(MODULE), "--pin-file",
          str(tmp_path / "pin"))  # fmt: skip
    pkcs11.lib(str(MODULE)).reinitialize()  # the library knows the tokens of the test before
    yield TokenPlace(MODULE, "quada", tmp_path / "pin")
    pkcs11.lib(str(MODULE)).finalize()


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def quada(place: Path, *command: str) -> str:
    return run(
        sys.executable, "-m", "quada", "dnssec", *command, "--state-dir", str(place / "state0")
    )


def take_away(place: Path) -> None:
    (place / "tokens").rename(place / "away")


def bring_back(place: Path) -> None:
    (place / "away").rename(place / "tokens")


def desk_at(place: Path) -> SigningDesk:
    return SigningDesk(KeyStore.open(place / "state0"))


def content(text: str) -> Zone:
    return read_zone(text, ORIGIN)


def verify(place: Path, version) -> None:
    (place / "zone").write_text("\n".join(write_zone(version, is_portable=True)) + "\n")
    run("dnssec-verify", "-z", "-o", "example", str(place / "zone"))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--in-token=csk",), 1),
        (("--ksk-zsk", "--in-token=ksk"), 1),
        (("--ksk-zsk", "--in-token=zsk", "--nsec3"), 1),
        (("--ksk-zsk", "--in-token=zsk", "--in-token=ksk", "--algorithm=rsasha256"), 2),
        (("--in-token=csk", "--algorithm=ecdsap384sha384"), 1),
    ],
    ids=["csk", "ksk", "zsk", "both-rsa", "csk-p384"],
)
def test_a_zone_is_signed_by_keys_that_never_leave_the_token(
    tmp_path: Path, token: TokenPlace, options: tuple[str, ...], count: int
) -> None:
    quada(tmp_path, "enable", "example", *options)
    verify(tmp_path, desk_at(tmp_path).publish(content(TEXT), int(time.time())))
    told = json.loads(quada(tmp_path, "status", "example", "--json"))[0]
    assert len(told["in_token"]) == count
    shown = json.loads(quada(tmp_path, "token", "show", "--json"))
    assert [(one["zone"], one["use"]) for one in shown["keys"]] == [("example.", "in use")] * count
    assert sorted(one["tag"] for one in shown["keys"]) == told["in_token"]
    assert quada(tmp_path, "status", "example").count("in the token") == count
    # Nothing of it is at rest here, and the token gives nothing out.
    with sqlite3.connect(tmp_path / "state0" / "keys.db") as base:
        sealed = dict(base.execute("SELECT tag, sealed FROM dnssec_key"))
    assert [tag for tag, octets in sorted(sealed.items()) if not octets] == told["in_token"]
    opened = Token(MODULE, "quada", "1234")
    for found in opened._session.get_objects(
        {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    ):
        assert found[pkcs11.Attribute.SENSITIVE]
        assert found[pkcs11.Attribute.NEVER_EXTRACTABLE]
    opened.close()


def test_keys_roll_in_the_token_and_out_of_memory_into_it(tmp_path, token) -> None:
    quada(tmp_path, "enable", "example", "--ksk-zsk")
    desk, now_s = desk_at(tmp_path), int(time.time())
    verify(tmp_path, desk.publish(content(TEXT), now_s))
    quada(tmp_path, "enable", "example", "--ksk-zsk", "--in-token=zsk")
    for turn in (1, 2):
        quada(tmp_path, "rollover", "example", "--role=zsk")
        planned = quada(tmp_path, "plan", "example")
        assert "sign" in planned
        version = None
        for at_s in range(0, 3 * 86_400, 1_800):
            clock = turn * 10 * 86_400 + at_s
            for made in desk.tick(now_s + clock, float(clock)):
                version = made.version
            assert desk.refused == {}
        assert version is not None
        told = json.loads(quada(tmp_path, "status", "example", "--json"))[0]
        zsk = [one["tag"] for one in told["keys"] if one["role"] == "zsk"]
        assert zsk == told["in_token"], told
    uses = [one["use"] for one in json.loads(quada(tmp_path, "token", "show", "--json"))["keys"]]
    assert sorted(uses) == ["in use", "left"]


def test_while_the_token_is_away_the_old_version_serves_and_then_the_new_one(
    tmp_path, token
) -> None:
    quada(tmp_path, "enable", "example", "--in-token=csk")
    desk, now_s = desk_at(tmp_path), int(time.time())
    first = desk.publish(content(TEXT), now_s)
    assert desk.away() == {ORIGIN: ""}
    take_away(tmp_path)
    assert desk.tick(now_s + 30, 30.0) == []
    edited = content(TEXT.replace("db8::1", "db8::2"))
    with pytest.raises(TokenAway, match="the token quada cannot be used"):
        desk.publish(edited, now_s + 60)
    assert "cannot be used" in desk.away()[ORIGIN]
    assert desk.tick(now_s + 90, 90.0) == []  # tried again, and in vain
    bring_back(tmp_path)
    (made,) = desk.tick(now_s + 120, 120.0)
    assert desk.away() == {ORIGIN: ""}
    assert made.version.serial == first.serial + 1
    www = names.from_text("www.example.")
    assert made.version.rrset(www, codes.AAAA).rdatas == edited.rrset(www, codes.AAAA).rdatas
    assert desk.tick(now_s + 150, 150.0) == []


def test_a_key_made_for_a_version_that_never_came_is_taken_by_the_next(tmp_path, token) -> None:
    quada(tmp_path, "enable", "example", "--in-token=csk")
    store = KeyStore.open(tmp_path / "state0")
    signed = store.load(ORIGIN)
    role = signed.policy.rollover.token_roles[0]
    first = store.shelf.make_key(signed, role, frozenset())
    assert store.shelf.make_key(signed, role, frozenset()).dnskey == first.dnskey
    assert store.shelf.make_key(signed, role, frozenset((first.tag,))).dnskey != first.dnskey
    assert [one.use for one in store.shelf.made()] == ["spare", "spare"]


@pytest.mark.parametrize("rdtype", ["ALIAS target.example.net.", "POOL www"], ids=["alias", "pool"])
def test_answers_of_the_moment_are_not_signed_in_a_token_and_it_says_so(
    tmp_path, token, rdtype: str
) -> None:
    text = TEXT + f"moment.example. 300 IN {rdtype}\n"
    quada(tmp_path, "enable", "example", "--in-token=csk")
    desk, now_s = desk_at(tmp_path), int(time.time())
    moment = content(text)
    assert desk.publish(moment, now_s).rrset(ORIGIN, codes.DNSKEY) is None
    (told,) = desk.status()
    assert any("is in a token" in one["waits_for"] for one in told["held"]), told
    # Where it is signed already such content is refused, and the old goes on.
    signed = desk.publish(content(TEXT), now_s + 10)
    assert signed.rrset(ORIGIN, codes.DNSKEY) is not None
    with pytest.raises(DataFault, match="signed when they are asked for"):
        desk.publish(moment, now_s + 20)


def test_a_ksk_in_the_token_leaves_answers_of_the_moment_to_a_zsk_here(tmp_path, token) -> None:
    quada(tmp_path, "enable", "example", "--ksk-zsk", "--in-token=ksk")
    desk = desk_at(tmp_path)
    text = TEXT + "moment.example. 300 IN ALIAS target.example.net.\n"
    version = desk.publish(content(text), int(time.time()))
    assert version.rrset(ORIGIN, codes.DNSKEY) is not None
    assert len(desk.online(ORIGIN).keys) == 1


def test_a_refused_pin_is_not_tried_again_until_it_is_another(tmp_path, token, monkeypatch) -> None:
    tried = []
    begin = Token.__init__

    def count(self, module, label, pin) -> None:
        tried.append(pin)
        begin(self, module, label, pin)

    monkeypatch.setattr(Token, "__init__", count)
    held = HeldKeys(token)
    token.pin_file.write_text("9999\n")
    assert "cannot be used" in held.missing(())
    assert "not tried again" in held.missing(())
    assert tried == ["9999"]
    token.pin_file.write_text("1234\n")
    assert held.missing(()) == ""
    held.close()


def test_what_cannot_be_in_a_token_is_refused_with_the_remedy(tmp_path, token) -> None:
    for options, words in (
        (("--in-token=zsk",), "no 'zsk'"),
        (("--in-token=csk", "--algorithm=ed25519"), "ecdsap256sha256, ecdsap384sha384, rsasha256"),
    ):
        with pytest.raises(AssertionError, match=words):
            quada(tmp_path, "enable", "example", *options)
    with pytest.raises(AssertionError, match="quada dnssec token set"):
        quada(tmp_path / "elsewhere", "enable", "example", "--in-token=csk")
    with pytest.raises(AssertionError, match="cannot be used"):
        quada(tmp_path, "token", "set", "--pkcs11-module", str(MODULE), "--pkcs11-token=other",
              "--pin-file", str(token.pin_file))  # fmt: skip


def alerts(place: Path) -> list[str]:
    path = place / "state0" / FILE
    if not path.exists():
        return []
    store = AlertStore.open(path)
    try:
        return sorted(store.open_keys())
    finally:
        store.close()


def test_a_server_whose_token_is_away_raises_an_alert_and_serves_the_rest(
    tmp_path, token, serve, until
) -> None:
    (tmp_path / "example.zone").write_text("$ORIGIN example.\n" + TEXT)
    (tmp_path / "other.zone").write_text(TEXT.replace("example.", "other."))
    config = tmp_path / "quada.toml"
    config.write_text("version = 1\n[dnssec]\ntick_s = 0.2\n")
    arguments = ("--role", "authority", "--config", str(config), "--zone",
                 f"example={tmp_path}/example.zone", "--zone", f"other={tmp_path}/other.zone")  # fmt: skip
    quada(tmp_path, "enable", "example", "--in-token=csk")
    take_away(tmp_path)
    served = serve(*arguments)  # with its token away from the start
    until(lambda: alerts(tmp_path))
    assert served.udp("example", "SOA").answer == []
    assert served.udp("other", "SOA").answer
    bring_back(tmp_path)
    until(lambda: served.udp("www.example", "AAAA", want_dnssec=True).answer)
    assert len(served.udp("www.example", "AAAA", want_dnssec=True).answer) == 2
    until(lambda: not alerts(tmp_path))
    take_away(tmp_path)
    until(lambda: alerts(tmp_path))
    text = (tmp_path / "example.zone").read_text()
    (tmp_path / "example.zone").write_text(text.replace("db8::1", "db8::2"))
    until(lambda: re.search("zone refused", served.log.read_text()))
    assert served.udp("www.example", "AAAA").answer[0][0].address == "2001:db8::1"
    status = quada(tmp_path, "status", "example")
    # A session that is open sees its keys gone, a new one does not find the token.
    assert re.search("token: the token quada (cannot be used|has no key)", status), status
    bring_back(tmp_path)
    until(lambda: served.udp("www.example", "AAAA").answer[0][0].address == "2001:db8::2")
    until(lambda: not alerts(tmp_path))
