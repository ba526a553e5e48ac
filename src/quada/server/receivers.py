"""Receivers of alerts: webhook, Alertmanager, e-mail, a command. One try a call.

`send` gives why a message was not taken, in words, and raises nothing that a receiver could cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import smtplib
import socket
import ssl
import tempfile
import time
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from quada.server.plan import MAIL_PORTS
from quada.telemetry.template import fill, is_json

if TYPE_CHECKING:
    from quada.config.settings import ReceiverSection

_HTTP_S: Final = 5.0
_SLOW_S: Final = 20.0  # mail servers greet late on purpose; a command may have to reach somebody
_SUBJECT_MAX: Final = 200
_SAID_MAX: Final = 200
_SHOWN_FIRST: Final = (
    "summary", "compared", "cause", "where", "since", "next_command", "evidence",
)  # fmt: skip


async def send(receiver: ReceiverSection, body: dict[str, Any]) -> str:
    """Send a message to a receiver; gives why it was not taken, empty where it was."""
    limit_s = _SLOW_S if receiver.kind in ("email", "command") else _HTTP_S
    try:
        async with asyncio.timeout(limit_s):
            if receiver.kind == "email":
                return await _mail(receiver, body)
            if receiver.kind == "command":
                return await _run(receiver, body)
            return await _post(receiver, body)
    except TimeoutError:
        return f"no answer within {limit_s:.0f} s"


async def _post(receiver: ReceiverSection, body: dict[str, Any]) -> str:
    headers = {"Content-Type": "application/json"}
    payload: Any = body
    url = receiver.url
    if receiver.kind == "alertmanager":
        url = f"{url.rstrip('/')}/api/v2/alerts"
        payload = [alertmanager_data(body)]
    octets = json.dumps(payload).encode()
    if receiver.template:
        octets = fill(receiver.template, body).encode("utf-8", "backslashreplace")
        if not is_json(receiver.template):
            headers["Content-Type"] = "text/plain; charset=utf-8"
    if receiver.secret:
        # As others sign webhooks: the receiver computes the same over the body it got.
        made = hmac.new(receiver.secret.encode(), octets, hashlib.sha256).hexdigest()
        headers["X-Quada-Signature"] = f"sha256={made}"
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=octets, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return str(error) or type(error).__name__
    return "" if answer.status_code < 300 else f"status {answer.status_code}"


def alertmanager_data(body: dict[str, Any]) -> dict[str, Any]:
    """Give an alert as Alertmanager's API v2 takes it."""
    starts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(body["opened_at"]))
    made: dict[str, Any] = {
        "labels": {"alertname": body["kind"], "scope": body.get("scope", ""), "service": "quada"},
        "annotations": {
            "summary": body.get("summary", ""),
            "description": f"{body.get('compared', '')} {body.get('where', '')}".strip(),
            "next": body.get("next_command", ""),
        },
        "startsAt": starts,
    }
    if body.get("closed_at"):
        made["endsAt"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(body["closed_at"]))
    return made


async def _mail(receiver: ReceiverSection, body: dict[str, Any]) -> str:
    """Give a message to a mail server. smtplib waits in a thread; its socket is shut at our end."""
    message = compose_mail(receiver, body)
    session = _Session(urlsplit(receiver.url))
    try:
        return await asyncio.to_thread(session.send, receiver, message)
    except asyncio.CancelledError:
        session.abort()
        raise


def compose_mail(receiver: ReceiverSection, body: dict[str, Any]) -> EmailMessage:
    """Compose the mail of an alert; those of one incident are one thread.

    RFC: 5322; 3834 5 (it answers nobody and wants no answer)
    """
    host = socket.gethostname()
    what = body["what"]
    thread = f"<alert-{body['number']}-{body['opened_at']}@{host}>"
    message = EmailMessage()
    message["Subject"] = _clean(f"[quada] {what}: {body.get('summary', '')}")[:_SUBJECT_MAX]
    message["From"] = receiver.sender
    message["To"] = ", ".join(receiver.to)
    message["Date"] = formatdate()
    if what == "opened":
        message["Message-ID"] = thread
    else:
        message["Message-ID"] = f"<alert-{body['number']}-{what}-{time.time_ns()}@{host}>"
        message["In-Reply-To"] = message["References"] = thread
    message["Auto-Submitted"] = "auto-generated"
    lines = [f"{host}: {body['kind']} {what}", ""]
    rest = [key for key in body if key not in (*_SHOWN_FIRST, "what", "kind")]
    for key in (*_SHOWN_FIRST, *rest):
        value = body.get(key)
        if not value:
            continue
        if key in ("since", "opened_at", "closed_at"):
            value = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))
        values = value if isinstance(value, list | tuple) else [value]
        lines += [f"{key.replace('_', ' ')}: " + "\n    ".join(_clean(str(one)) for one in values)]
    text = fill(receiver.template, body) if receiver.template else "\n".join(lines)
    message.set_content(text + "\n")
    return message


class _Session:
    """One conversation with a mail server."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._smtp: smtplib.SMTP | None = None
        self._is_over = False

    def send(self, receiver: ReceiverSection, message: EmailMessage) -> str:
        """Deliver; gives why it was not taken."""
        try:
            with self._connected() as smtp:
                if self._url.scheme == "smtp+starttls":
                    smtp.starttls(context=ssl.create_default_context())
                if receiver.user:
                    smtp.login(receiver.user, receiver.secret)
                refused = smtp.send_message(message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return _clean(str(error))[:_SAID_MAX] or type(error).__name__
        # Somebody has it: sending it to all again would tell them twice.
        return "" if len(refused) < len(receiver.to) else "every recipient was refused"

    def abort(self) -> None:
        """End it: a server that hangs holds no thread."""
        self._is_over = True
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connected(self) -> smtplib.SMTP:
        url = self._url
        host, port = url.hostname or "", url.port or MAIL_PORTS[url.scheme]
        smtp: smtplib.SMTP
        if url.scheme == "smtps":
            smtp = smtplib.SMTP_SSL(timeout=_SLOW_S, context=ssl.create_default_context())
        else:
            smtp = smtplib.SMTP(timeout=_SLOW_S)
        self._smtp = smtp
        # STARTTLS checks the certificate against this, which connect() does not set.
        smtp._host = host  # type: ignore[attr-defined]
        code, said = smtp.connect(host, port)
        if code != 220 or self._is_over:
            smtp.close()
            raise smtplib.SMTPConnectError(code, said)
        return smtp


async def _run(receiver: ReceiverSection, body: dict[str, Any]) -> str:
    """Run a command, without a shell; exit code 0 takes the alert.

    It is JSON on standard input, and some of it is in the environment. Files, not pipes: what the
    command leaves running keeps nobody waiting.
    """
    words = {
        f"QUADA_{key.upper()}": _clean(str(body.get(key, "")))
        for key in ("what", "number", "kind", "key", "summary", "cause", "where")
    }
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as said:
        text = fill(receiver.template, body) if receiver.template else json.dumps(body)
        told.write(text.encode("utf-8", "backslashreplace") + b"\n")
        told.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *receiver.command, stdin=told, stdout=said, stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **words}, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return str(error)
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:  # it, and what it started
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        said.seek(0)
        text = _clean(said.read(_SAID_MAX).decode("utf-8", "replace").strip())
    return "" if code == 0 else f"exit code {code} {text}".strip()


def _clean(text: str) -> str:
    """Make text that strangers chose harmless to headers, terminals and environments."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
