"""Events and rollups as rows of tables: the schema that `quada logs query` documents."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import dns.rcode
import dns.rdatatype

from quada.telemetry.event import (
    Cause,
    Event,
    Kind,
    Provenance,
    Role,
    Validation,
    provenance_names,
)
from quada.telemetry.rollup import PREFIX_V4_BITS, PREFIX_V6_BITS, prefix_of
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from quada.telemetry.rollup import Minute

Row = tuple[Any, ...]

TABLES: Final[dict[str, dict[str, str]]] = {
    "events": {
        "time": "TIMESTAMP", "at_ns": "BIGINT", "kind": "VARCHAR", "role": "VARCHAR",
        "source": "VARCHAR", "client": "VARCHAR", "client_port": "INTEGER", "family": "TINYINT",
        "transport": "VARCHAR", "qname": "VARCHAR", "qtype": "VARCHAR", "rcode": "VARCHAR",
        "nodata": "BOOLEAN", "is_do": "BOOLEAN", "ede": "INTEGER", "validation": "VARCHAR",
        "provenance": "VARCHAR", "cause": "VARCHAR", "zone": "VARCHAR", "duration_us": "BIGINT",
        "response_octets": "INTEGER", "answer_count": "INTEGER", "upstream_family": "TINYINT",
        "flags": "INTEGER", "weight": "BIGINT", "detail": "VARCHAR",
    },
    "rollups": {
        "minute": "TIMESTAMP", "role": "VARCHAR", "source": "VARCHAR", "kind": "VARCHAR",
        "qtype": "VARCHAR", "outcome": "VARCHAR", "family": "TINYINT", "transport": "VARCHAR",
        "cause": "VARCHAR", "count": "BIGINT", "timed_count": "BIGINT", "duration_us": "BIGINT",
    },
    "clients": {
        "minute": "TIMESTAMP", "role": "VARCHAR", "source": "VARCHAR", "prefix": "VARCHAR",
        "count": "BIGINT", "aaaa_count": "BIGINT", "servfail_count": "BIGINT",
        "aaaa_servfail_count": "BIGINT",
    },
}  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_MAX: Final = 4_096  # an escaped name has at most 1,016 characters (RFC 1035 2.3.4)
_KEY_OCTETS: Final = 32
# The name of each member, in the database: asking an enumeration for it costs more than a row.
_KINDS: Final = {one: one.name.lower() for one in Kind}
_ROLES: Final = {one: one.name.lower() for one in Role}
_TRANSPORTS: Final = {one: one.name.lower() for one in Transport}
_VALIDATIONS: Final = {one: one.name.lower() for one in Validation}
_CAUSES: Final = {one: one.name.lower() if one else None for one in Cause}
_PROVENANCES: Final = tuple("+".join(provenance_names(bits)) or None for bits in range(256))


def event_rows(events: Iterable[Event], show_client: Callable[[str], str]) -> list[Row]:
    """Give the rows of `events`; `show_client` says what is kept of an address."""
    return [
        (
            _time(e.at_ns), e.at_ns, _KINDS[e.kind], e.role and _ROLES[e.role],
            _text(e.source), e.client and show_client(e.client), e.client_port, e.family,
            None if e.transport is None else _TRANSPORTS[e.transport],
            e.qname and _text(e.qname), _type(e.qtype),
            _rcode(e.rcode), e.is_nodata, e.is_do, e.ede,
            None if e.validation is None else _VALIDATIONS[e.validation],
            None if e.provenance is None else _PROVENANCES[e.provenance],
            None if e.cause is None else _CAUSES[e.cause], e.zone and _text(e.zone),
            e.duration_us, e.response_octets, e.answer_count, e.upstream_family, e.flags,
            e.weight, _text(e.detail),
        )
        for e in events
    ]  # fmt: skip


def event_of(row: Row) -> Event:
    """Make an event of a row of `events`."""
    (
        _, at_ns, kind, role, source, client, client_port, _, transport, qname, qtype, rcode,
        nodata, is_do, ede, validation, provenance, cause, zone, duration_us, response_octets,
        answer_count, upstream_family, flags, weight, detail,
    ) = row  # fmt: skip
    return Event(
        at_ns=at_ns, kind=Kind[kind.upper()], role=Role[role.upper()] if role else None,
        source=source or "", client=client, client_port=client_port,
        transport=Transport[transport.upper()] if transport else None, qname=qname,
        qtype=_number(qtype), rcode=None if rcode is None else int(dns.rcode.from_text(rcode)),
        is_nodata=nodata, is_do=is_do, ede=ede,
        validation=Validation[validation.upper()] if validation else None,
        provenance=_provenance(provenance), cause=Cause[cause.upper()] if cause else None,
        zone=zone, duration_us=duration_us, response_octets=response_octets,
        answer_count=answer_count, upstream_family=upstream_family, flags=flags or 0,
        weight=weight or 1, detail=detail or "",
    )  # fmt: skip


def _number(qtype: str | None) -> int | None:
    return None if qtype is None else int(dns.rdatatype.from_text(qtype))


def _provenance(text: str | None) -> Provenance | None:
    if not text:
        return None
    found = Provenance(0)
    for name in text.split("+"):
        found |= Provenance[name.upper()]
    return found


def rollup_rows(minutes: Iterable[Minute]) -> tuple[list[Row], list[Row]]:
    """Give the rows of `rollups` and of `clients`; those of one key add up."""
    rollups: list[Row] = []
    clients: list[Row] = []
    for one in minutes:
        at = _time(one.minute * 60_000_000_000)
        rollups += (
            (
                at, key.role and _ROLES[key.role], _text(key.source), _KINDS[key.kind],
                key.qtype, key.outcome, key.family,
                None if key.transport is None else _TRANSPORTS[key.transport],
                None if key.cause is None else _CAUSES[key.cause], tally.count,
                tally.timed_count, tally.duration_us,
            )
            for key, tally in one.counts.items()
        )  # fmt: skip
        clients += (
            (
                at, place.role and _ROLES[place.role], _text(place.source), place.prefix,
                some.count, some.aaaa_count, some.servfail_count, some.aaaa_servfail_count,
            )
            for place, some in one.prefixes.items()
        )  # fmt: skip
    return rollups, clients


def address_policy(policy: str, key_path: Path) -> Callable[[str], str]:
    """Give what makes of an address what is kept. A key is made where hashing has none yet.

    Raises: ConfigFault for an unknown policy.
    """
    if policy == "whole":
        return _text
    if policy == "truncated":
        return lambda client: (prefix_of(client) or "").partition("/")[0]
    if policy == "hashed":
        key = _key(key_path)
        return lambda client: _hashed(client, key)
    raise ConfigFault(
        f"there is no policy {policy!r}", place="events.clients",
        remedy=f"whole, truncated (/{PREFIX_V6_BITS} and /{PREFIX_V4_BITS}) or hashed",
    )  # fmt: skip


def _hashed(client: str, key: bytes) -> str:
    try:
        packed = ipaddress.ip_address(client.partition("%")[0]).packed
    except ValueError:
        packed = client.encode("utf-8", "backslashreplace")
    return hashlib.blake2b(packed, digest_size=16, key=key).hexdigest()


def _key(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()[:_KEY_OCTETS]
    with os.fdopen(handle, "wb") as file:
        key = secrets.token_bytes(_KEY_OCTETS)
        file.write(key)
    return key


def _time(at_ns: int) -> str | None:
    second, rest = divmod(at_ns, 1_000_000_000)
    text = _second(second)
    return text and f"{text}.{rest // 1000:06d}"


@lru_cache(maxsize=1_000)
def _second(second: int) -> str | None:
    try:
        at = _EPOCH + timedelta(seconds=second)
    except OverflowError:
        return None  # a claim of a source's; at_ns keeps it
    return at.strftime("%Y-%m-%d %H:%M:%S") if at.year >= 1000 else None


def _text(text: str) -> str:
    """Make a stranger's text one that files, terminals and pages can hold."""
    text = text[:_TEXT_MAX]
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


@lru_cache(maxsize=1_000)
def _type(qtype: int | None) -> str | None:
    return None if qtype is None else dns.rdatatype.to_text(dns.rdatatype.RdataType.make(qtype))


@lru_cache(maxsize=1_000)
def _rcode(rcode: int | None) -> str | None:
    return None if rcode is None else dns.rcode.to_text(dns.rcode.Rcode.make(rcode))
