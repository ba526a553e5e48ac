"""Receivers of alerts: mail to a real SMTP server over ::1, commands, and what is wrong with either."""

import asyncio
import json
import os
import socket
import ssl
import time
from pathlib import Path
from threading import Thread

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from quada.config.load import read_settings
from quada.config.settings import ReceiverSection
from quada.server.plan import check_receivers, make_plan
from quada.server.receivers import compose_mail, send
from quada.server.watching import Watcher
from quada.store.alerts import AlertStore
from quada.telemetry.signals import Signal, State
from quada.wire.faults import ConfigFault

BODY = {
    "what": "opened", "number": 3, "kind": "aaaa-servfail", "key": "aaaa-servfail/recursive/example.com.",
    "state": "open", "opened_at": 1_795_200_000, "closed_at": None, "summary": "AAAA of example.com. fails",
    "evidence": ["2001:db8::1 www.example.com."], "next_command": "quada doctor example.com",
}  # fmt: skip


class Mailbox:
    """What a mail server was given; it may refuse recipients."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.refused: set[str] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.got.append(envelope)
        return "250 taken"


def allowed(
    server: SMTP, session: Session, envelope: Envelope, kind: str, data: object
) -> AuthResult:
    return AuthResult(success=data.login == b"quada" and data.password == b"s3", handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox, free_port):
    server = Controller(mailbox, hostname="::1", port=free_port())
    server.start()
    yield f"smtp://[::1]:{server.port}"
    server.stop()


def mail(url: str, **over: object) -> ReceiverSection:
    return ReceiverSection(
        **{"name": "ops", "kind": "email", "url": url, "to": ("ops@example.com", "b@example.com"),
           "sender": "quada@example.com", **over}
    )  # fmt: skip


def test_an_alert_comes_as_mail_that_says_what_and_what_to_do(smtp: str, mailbox: Mailbox) -> None:
    assert asyncio.run(send(mail(smtp), BODY)) == ""
    (got,) = mailbox.got
    assert got.rcpt_tos == ["ops@example.com", "b@example.com"]
    text = got.content.decode()
    assert "Subject: [quada] opened: AAAA of example.com. fails" in text
    assert "next command: quada doctor example.com" in text
    assert "Auto-Submitted: auto-generated" in text
    assert "opened at: 2026-11-20" in text


def test_mails_of_one_incident_are_one_thread() -> None:
    opened, over = (
        compose_mail(mail("smtp://[::1]"), BODY | {"what": w}) for w in ("opened", "closed")
    )
    assert over["In-Reply-To"] == opened["Message-ID"]
    assert over["Message-ID"] != opened["Message-ID"]


def test_what_strangers_named_makes_no_header_and_no_escape() -> None:
    evil = BODY | {
        "summary": "AAAA of x\r\nBcc: all@example.com\x1b[2J fails",
        "evidence": ["\x1b]0;x\x07"],
    }
    text = compose_mail(mail("smtp://[::1]"), evil).as_string()
    assert "\nBcc:" not in text
    assert "\x1b" not in text


def test_one_refused_recipient_is_not_told_twice_and_all_refused_is_no_delivery(
    smtp: str, mailbox: Mailbox
) -> None:
    mailbox.refused = {"b@example.com"}
    assert asyncio.run(send(mail(smtp), BODY)) == ""
    mailbox.refused.add("ops@example.com")
    assert "550" in asyncio.run(send(mail(smtp), BODY))
    assert len(mailbox.got) == 1


def test_mail_over_tls_with_a_certificate_nobody_vouches_for_is_not_sent(
    mailbox: Mailbox, certificate, free_port
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    server = Controller(mailbox, hostname="::1", port=free_port(), tls_context=context)
    server.start()
    try:
        why = asyncio.run(send(mail(f"smtp+starttls://[::1]:{server.port}"), BODY))
    finally:
        server.stop()
    assert "certificate" in why.lower()
    assert mailbox.got == []


def test_mail_over_starttls_with_a_login_is_taken(
    mailbox: Mailbox, certificate, free_port, monkeypatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    server = Controller(
        mailbox, hostname="::1", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=allowed, auth_required=True,
    )  # fmt: skip
    server.start()
    url = f"smtp+starttls://[::1]:{server.port}"
    try:
        assert asyncio.run(send(mail(url, user="quada", secret="s3"), BODY)) == ""
        assert "535" in asyncio.run(send(mail(url, user="quada", secret="no"), BODY))
    finally:
        server.stop()
    assert len(mailbox.got) == 1


def test_a_mail_server_that_never_greets_holds_nobody(monkeypatch) -> None:
    monkeypatch.setattr("quada.server.receivers._SLOW_S", 0.5)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as deaf:
        started = time.monotonic()
        why = asyncio.run(send(mail(f"smtp://[::1]:{deaf.getsockname()[1]}"), BODY))
        assert "no answer" in why or "timed out" in why
        assert time.monotonic() - started < 5


def test_a_mail_server_that_drips_a_byte_at_a_time_holds_nobody(monkeypatch) -> None:
    monkeypatch.setattr("quada.server.receivers._SLOW_S", 1.0)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as tarpit:

        def drip() -> None:
            peer, _ = tarpit.accept()
            with peer:
                try:
                    while True:
                        peer.sendall(b"2")
                        time.sleep(0.1)
                except OSError:
                    return

        Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        assert asyncio.run(send(mail(f"smtp://[::1]:{tarpit.getsockname()[1]}"), BODY))
        assert time.monotonic() - started < 5


def test_nobody_listening_is_said() -> None:
    assert asyncio.run(send(mail("smtp://[::1]:1"), BODY))


def command(*words: str) -> ReceiverSection:
    return ReceiverSection(name="page", kind="command", command=words)


def test_a_command_gets_the_alert_on_its_input_and_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'cat > {out}; echo "$QUADA_WHAT $QUADA_NUMBER $QUADA_SUMMARY" >> {out}'
    assert asyncio.run(send(command("sh", "-c", script), BODY)) == ""
    body, environment = out.read_text().splitlines()
    assert json.loads(body) == BODY
    assert environment == "opened 3 AAAA of example.com. fails"


def test_names_of_strangers_reach_no_shell(tmp_path: Path) -> None:
    evil = BODY | {"summary": f"$(touch {tmp_path}/made); `touch {tmp_path}/made`\x00\n"}
    assert asyncio.run(send(command("/bin/cat"), evil)) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_or_is_not_there_did_not_take_it() -> None:
    why = asyncio.run(send(command("sh", "-c", "echo no pager; exit 3"), BODY))
    assert why == "exit code 3 no pager"
    assert "No such file" in asyncio.run(send(command("/nonexistent/pager"), BODY))


def test_a_command_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch, until
) -> None:
    monkeypatch.setattr("quada.server.receivers._SLOW_S", 0.5)
    pid = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid}; wait"
    assert "no answer" in asyncio.run(send(command("sh", "-c", script), BODY))

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{int(pid.read_text())}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    until(is_gone, what="the end of what the command started")


def test_what_a_command_leaves_running_keeps_nobody_waiting() -> None:
    started = time.monotonic()
    assert asyncio.run(send(command("sh", "-c", "sleep 3 & exit 0"), BODY)) == ""
    assert time.monotonic() - started < 2


def test_a_mail_that_could_not_go_waits_on_disk_and_goes_later(
    tmp_path: Path, smtp: str, mailbox: Mailbox
) -> None:
    found = Signal("pool-down", "www/ipv6", State.OPEN, 1000, "no IPv6 member is healthy")
    down = Watcher(tmp_path / "alerts.db", [mail("smtp://[::1]:1")])
    down.note(found, 2000)
    asyncio.run(down.deliver())
    store = AlertStore.open(tmp_path / "alerts.db")
    (waiting,) = store.due(1 << 40)
    store.put_off(waiting.number, 0)
    store.close()
    asyncio.run(Watcher(tmp_path / "alerts.db", [mail(smtp)]).deliver())
    assert b"no IPv6 member is healthy" in mailbox.got[0].content


@pytest.mark.parametrize(
    "receiver",
    [
        ReceiverSection(kind="webhook", url="http://[::1]/"),
        ReceiverSection(name="a", url="ftp://[::1]/"),
        ReceiverSection(name="a", kind="command"),
        ReceiverSection(name="a", kind="email", url="http://[::1]/", to=("a@b",), sender="c@d"),
        ReceiverSection(name="a", kind="email", url="smtp://[::1]", sender="c@d"),
    ],
)
def test_a_receiver_that_can_never_be_sent_anything_is_refused_at_start(
    receiver: ReceiverSection,
) -> None:
    with pytest.raises(ConfigFault):
        check_receivers([receiver])


def test_the_plan_refuses_two_receivers_of_one_name() -> None:
    one = '[[alert_receiver]]\nname = "a"\nurl = "http://[::1]/"\n'
    make_plan(read_settings(f"version = 1\n{one}"), roles=())
    with pytest.raises(ConfigFault):
        make_plan(read_settings(f"version = 1\n{one}{one}"), roles=())
    assert os.environ.get("QUADA_WHAT") is None


EVIL = BODY | {"summary": 'it\'s "bad" \x1b[2J $where ${kind}', "where": "2001:db8::/48"}


def test_a_template_is_the_users_own_text_and_runs_nothing(smtp: str, mailbox: Mailbox) -> None:
    own = mail(smtp, template="$summary\n\nat $where ($number, $$5)")
    assert asyncio.run(send(own, EVIL)) == ""
    text = mailbox.got[0].content.decode().replace("\r\n", "\n")
    assert 'it\'s "bad" \\x1b[2J $where ${kind}\n\nat 2001:db8::/48 (3, $5)' in text


def test_a_json_template_stays_json_whatever_an_alert_says(tmp_path: Path) -> None:
    out = tmp_path / "out"
    template = '{"text": "$summary", "n": $number, "since": "$opened_at"}'
    one = ReceiverSection(
        name="c", kind="command", command=("sh", "-c", f"cat > {out}"), template=template
    )
    assert asyncio.run(send(one, EVIL)) == ""
    told = json.loads(out.read_text())
    assert told["text"].startswith('it\'s "bad" \\x1b[2J')
    assert (told["n"], told["since"]) == (3, "2026-11-20T18:40:00Z")


@pytest.mark.parametrize(
    "template",
    ["$nothing", "${summary.__class__}", "100 $", '{"a": $summary}', "x" * 10_001],
)
def test_a_template_that_cannot_be_filled_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        check_receivers([mail("smtp://[::1]", template=template)])
    assert caught.value.place == "alert_receiver[0].template"
