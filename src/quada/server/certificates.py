"""Our own certificates, ordered by ACME and renewed before they end (RFC 8555, RFC 9773).

A process beside the workers sleeps until a certificate is due, proves the names by dns-01 in our
own stored zones or by http-01, and writes chain and key; workers notice new files by themselves.
What fails leaves the old certificate serving and is tried again, later and later.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import random
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import acme.challenges
import acme.client
import acme.crypto_util
import acme.errors
import acme.messages
import dns.message
import dns.rdatatype
import josepy
import requests
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import quada.wire.codes as codes
import quada.wire.names as names
from quada import __version__
from quada.disk import replacing
from quada.store.journal import Author
from quada.store.zones import ZoneStore
from quada.transport.single import perform
from quada.transport.tls import covered, write_pair
from quada.wire.ask import Ask, Endpoint, Reply
from quada.wire.faults import ConfigFault, Fault, PeerFault, ReachFault
from quada.zones import Change, Record

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from quada.server.plan import Plan

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_ORDER_S: Final = 120
_SEEN_S: Final = 20.0
_TTL_S: Final = 60
_RETRY_S: Final = (
    60,
    300,
    1_800,
    7_200,
    21_600,
)  # our choice; Let's Encrypt limits failures an hour
_LOOK_S: Final = 21_600.0  # RFC 9773 4.3: ask for renewal information every six hours
_NONCE_TRIES: Final = 3
_ACCOUNT_BITS: Final = 2_048


class Orders:
    """Orders and renews the certificate of a plan. Takes the sockets that http-01 listens on."""

    def __init__(self, plan: Plan, sockets: list[socket.socket]) -> None:
        self._plan = plan
        self._wish = plan.settings.acme
        self._sockets = sockets
        self.chain, self.key = plan.certificate_files
        self._names = plan.certificate_names

    def due_at(self) -> float:
        """When to order (Unix seconds); 0 where a name lacks or it is no CA's."""
        try:
            leaf = x509.load_pem_x509_certificate(self.chain.read_bytes())
        except (OSError, ValueError):
            return 0.0
        if leaf.issuer == leaf.subject or set(self._names) - covered(leaf)[0]:
            return 0.0
        begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        # Two thirds of the lifetime, with a jitter that the certificate decides.
        jitter = random.Random(leaf.serial_number).uniform(0, (end - begin) / 50)
        return begin + (end - begin) * 2 / 3 + jitter

    def renewal_at(self) -> float:
        """When to renew as the CA wants it, or else by our own rule. Never raises for the CA."""
        due = self.due_at()
        if not due:
            return due
        try:
            found, _ = self._client().renewal_time(self.chain.read_bytes())
        except (acme.errors.Error, requests.RequestException, Fault, ValueError) as error:
            log.info("the CA gives no renewal time", why=str(error)[:200])
            return due
        return min(due, found.timestamp()) if found is not None else due

    def order(self) -> None:
        """Order a certificate now and write it. Raises: ReachFault, PeerFault, ConfigFault."""
        try:
            for left in range(_NONCE_TRIES - 1, -1, -1):
                try:
                    self._order()
                    return
                except acme.messages.Error as error:
                    # The library tries a refused nonce once more; a CA may refuse that one too.
                    if error.code != "badNonce" or not left:
                        raise
        except acme.errors.ValidationError as error:
            raise PeerFault(
                _why(error), place=self._wish.directory, remedy="quada acme check NAME"
            ) from error
        except (acme.errors.Error, acme.messages.Error) as error:
            raise PeerFault(
                f"the CA refuses: {str(error) or type(error).__name__}", place=self._wish.directory
            ) from error
        except requests.RequestException as error:
            raise ReachFault(
                f"the CA is not reached: {error}", place=self._wish.directory,
                remedy="is its own certificate trusted? See acme.ca_file",
            ) from error  # fmt: skip

    def _order(self) -> None:
        client = self._client()
        secret = ec.generate_private_key(ec.SECP256R1())
        pem = secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        order = client.new_order(acme.crypto_util.make_csr(pem, list(self._names)))
        with contextlib.ExitStack() as stack:
            if self._wish.challenge == "http-01":
                answers: dict[str, str] = {}
                stack.enter_context(_answering(self._sockets, answers))
                for challenge, _ in self._challenges(order, acme.challenges.HTTP01):
                    response, validation = challenge.response_and_validation(client.net.key)
                    answers[challenge.chall.path] = validation
                    client.answer_challenge(challenge, response)
            else:
                wanted = []
                placed: dict[str, list[str]] = {}
                for challenge, name in self._challenges(order, acme.challenges.DNS01):
                    response, validation = challenge.response_and_validation(client.net.key)
                    wanted.append((challenge, response))
                    placed.setdefault(f"_acme-challenge.{name}.", []).append(validation)
                stack.enter_context(_published(self._plan, placed, self._wish.settle_s))
                for challenge, response in wanted:
                    client.answer_challenge(challenge, response)
            # The library reads the deadline as local time.
            deadline = datetime.now() + timedelta(seconds=_ORDER_S)  # noqa: DTZ005
            done = client.poll_and_finalize(order, deadline)
        write_pair(self.chain, self.key, done.fullchain_pem.encode(), secret)

    def _challenges(
        self, order: acme.messages.OrderResource, kind: type[Any]
    ) -> Iterator[tuple[acme.messages.ChallengeBody, str]]:
        """Give the challenge of one kind of each name that is yet to be proven."""
        for authorization in order.authorizations:
            body = authorization.body
            name = body.identifier.value
            if body.status == acme.messages.STATUS_VALID:
                continue
            found = next((one for one in body.challenges if isinstance(one.chall, kind)), None)
            if found is None:
                raise PeerFault(
                    f"the CA offers no {self._wish.challenge} for {name}",
                    place=self._wish.directory,
                )
            yield found, name

    def _client(self) -> acme.client.ClientV2:
        """Make a client with our account, which is made at first use."""
        key = self._account_key()
        net = acme.client.ClientNetwork(
            key,
            verify_ssl=cast("bool", self._wish.ca_file or True),
            user_agent=f"quada/{__version__}",
        )
        directory = acme.client.ClientV2.get_directory(self._wish.directory, net)
        client = acme.client.ClientV2(directory, net)
        contact = acme.messages.NewRegistration.from_data(
            email=self._wish.contact or None, terms_of_service_agreed=self._wish.accept_terms
        )
        try:
            net.account = client.new_account(contact)
        except acme.errors.ConflictError as known:
            net.account = acme.messages.RegistrationResource(
                uri=known.location, body=acme.messages.Registration()
            )
        return client

    def _account_key(self) -> josepy.jwk.JWKRSA:
        file = self.chain.parent / "account.json"
        try:
            return josepy.jwk.JWKRSA.json_loads(file.read_text())
        except FileNotFoundError:
            pass
        except (OSError, josepy.errors.Error, ValueError) as error:
            raise ConfigFault(
                f"the account's key cannot be read: {error}", place=str(file)
            ) from error
        made = josepy.jwk.JWKRSA(key=rsa.generate_private_key(65537, _ACCOUNT_BITS))
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with replacing(file, mode=0o600) as out:
            json.dump(made.to_json(), out)
        return made


def keep_renewed(plan: Plan, sockets: list[socket.socket]) -> None:
    """Order, and renew for ever: the process's work."""
    orders = Orders(plan, sockets)
    failures = 0
    while True:
        wait_s = orders.renewal_at() - time.time()
        if wait_s > 0:
            time.sleep(min(wait_s, _LOOK_S))
            continue
        try:
            orders.order()
        except Fault as fault:
            wait_s = _RETRY_S[min(failures, len(_RETRY_S) - 1)] * random.uniform(1.0, 1.2)
            failures += 1
            log.error("no certificate", why=str(fault), again_in_s=round(wait_s))
            time.sleep(wait_s)
            continue
        failures = 0
        leaf = x509.load_pem_x509_certificate(orders.chain.read_bytes())
        log.info("a certificate was ordered", names=sorted(covered(leaf)[0]),
                 until=leaf.not_valid_after_utc.isoformat())  # fmt: skip
        # Whatever a CA says of renewal, orders do not follow one another in a storm.
        time.sleep(max(1.0, min(_LOOK_S, (leaf.not_valid_after_utc.timestamp() - time.time()) / 4)))


def _why(error: acme.errors.ValidationError) -> str:
    said = [
        f"{one.body.identifier.value}: {challenge.error}"
        for one in error.failed_authzrs
        for challenge in one.body.challenges
        if challenge.error is not None
    ]
    return "; ".join(said) or "the CA could not validate a name"


@contextlib.contextmanager
def _answering(sockets: list[socket.socket], answers: dict[str, str]) -> Iterator[None]:
    """Answer http-01 on sockets that are bound already, from a table of paths."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            found = answers.get(self.path)
            body = (found or "").encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    servers = []
    for sock in sockets:
        server = http.server.ThreadingHTTPServer(
            sock.getsockname()[:2], Handler, bind_and_activate=False
        )
        server.socket.close()
        server.socket = sock.dup()
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def _published(plan: Plan, placed: dict[str, list[str]], settle_s: float) -> Iterator[None]:
    """Have TXT records in our stored zones while the CA looks; they go whatever happens."""
    store = ZoneStore.open(plan.store_path)
    made = [
        (
            _zone_of(store, owner),
            Record(owner, codes.TXT, _TTL_S, bytes([len(value)]) + value.encode()),
        )
        for owner, value in (
            (names.from_text(text).lower(), value)
            for text, values in placed.items()
            for value in values
        )
    ]
    author = Author("quada", "certificates", "ACME dns-01")
    try:
        for origin, record in made:
            _edit(store, origin, record, author, is_there=True)
        _wait_until_served(plan, [record for _, record in made])
        time.sleep(settle_s)
        yield
    finally:
        for origin, record in made:
            with contextlib.suppress(Fault):
                _edit(store, origin, record, author, is_there=False)
        store.close()


def _edit(
    store: ZoneStore, origin: bytes, record: Record, author: Author, *, is_there: bool
) -> None:
    """Add a record beside others of its name, or take it away."""
    zone = store.zone(origin)
    rrset = zone.rrset(record.owner, record.rdtype) if zone is not None else None
    before = [record._replace(ttl=rrset.ttl, rdata=one) for one in rrset.rdatas] if rrset else []
    kept = [one._replace(ttl=record.ttl) for one in before if one.rdata != record.rdata]
    after = [*kept, record] if is_there else kept
    store.apply(origin, Change(tuple(before), tuple(after)), author, int(time.time()))


def _zone_of(store: ZoneStore, owner: bytes) -> bytes:
    """Give the stored zone that holds a name. Raises: ConfigFault."""
    held = [origin for origin in store.active_zones() if names.is_subdomain(owner, origin)]
    if not held:
        raise ConfigFault(
            "dns-01 needs the zone in the store",
            place=names.to_text(owner),
            remedy='import it with `quada zone import`, or use acme.challenge = "http-01"',
        )
    return max(held, key=len)


def _wait_until_served(plan: Plan, records: list[Record]) -> None:
    """Wait until our own server gives what was published. Raises: ReachFault."""
    if not plan.authority_listen:
        return
    address = plan.authority_listen[0].address
    host = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(address.host, address.host)
    deadline = time.monotonic() + _SEEN_S
    for record in records:
        query = dns.message.make_query(names.to_text(record.owner), dns.rdatatype.TXT).to_wire()
        while True:
            outcome = perform(Ask(Endpoint(host, address.port), query, 1.0))
            if isinstance(outcome, Reply) and record.rdata in outcome.message:
                break
            if time.monotonic() > deadline:
                raise ReachFault(
                    "our own server does not give the challenge's TXT record",
                    place=names.to_text(record.owner),
                    remedy="is it running, with the zone active?",
                )
            time.sleep(0.1)
