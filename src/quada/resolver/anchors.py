"""Trust anchors: the root's own, what files say in several forms, and RFC 5011 that keeps them.

An anchor is DS RDATA under a name; a file's DNSKEY becomes the SHA-256 DS of itself.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# IANA "Root Zone DNSSEC Trust Anchors": the KSKs of 2017 and 2024.
ROOT_ANCHORS: Final = (
    bytes.fromhex("4f660802e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d"),
    bytes.fromhex("97280802683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16"),
)
MAX_FILE_OCTETS: Final = 1 << 20  # our choice: an anchor file is a page long

DAY_S: Final = 86_400
ADD_HOLD_DOWN_S: Final = 30 * DAY_S  # RFC 5011 2.4.1
REMOVE_HOLD_DOWN_S: Final = 30 * DAY_S  # RFC 5011 2.4.2
MAX_TRACKED: Final = 32  # our choice: RFC 5011 4.1 wants room for a few

_STATEMENT: Final = re.compile(
    r"(trust-anchors|managed-keys|trusted-keys)\s*\{(.*?)\}\s*;?", re.DOTALL
)
_ENTRY: Final = re.compile(
    r'("[^"]*"|[^\s;"]+)\s+'
    r"(?:(initial-key|static-key|initial-ds|static-ds)\s+)?"
    r'(\d+)\s+(\d+)\s+(\d+)\s+((?:"[^"]*"\s*)+);'
)
_STATE: Final = re.compile(r";;state=(\d)")
_UNUSABLE_STATES: Final = frozenset("145")  # ADDPEND, REVOKED, REMOVED in unbound's files
_AUTO_LINE: Final = re.compile(r'^\s*(?:trust-anchor|auto-trust-anchor)\s*:\s*"?(.*?)"?\s*$')


def root_anchors() -> dict[bytes, tuple[bytes, ...]]:
    """Give the anchors that quada is made with: the root's."""
    return {names.ROOT: ROOT_ANCHORS}


def read_anchors(text: str, place: str = "trust anchors") -> dict[bytes, tuple[bytes, ...]]:
    """Read anchors as zone text (DS or DNSKEY), BIND's statements, or unbound's files and settings.

    Gives DS RDATA by name. Raises: DataFault with the line, also where there is no anchor at all.
    """
    if len(text) > MAX_FILE_OCTETS:
        raise DataFault("trust anchor file is larger than 1 MiB", place=place)
    found: dict[bytes, list[bytes]] = {}
    statements = list(_STATEMENT.finditer(_without_c_comments(text)))
    if statements:
        for statement in statements:
            for name, ds in _read_statement(statement[2], place):
                found.setdefault(name, []).append(ds)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            entry = _read_line(line, f"{place}:{number}")
            if entry is not None:
                found.setdefault(entry[0], []).append(entry[1])
    if not found:
        raise DataFault(
            "there is no trust anchor in it",
            place=place,
            remedy="write DS or DNSKEY records, or BIND's trust-anchors statement",
        )
    return {name: tuple(dict.fromkeys(ds)) for name, ds in found.items()}


def _without_c_comments(text: str) -> str:
    """Take away comments as BIND's configuration has them; quoted keys may hold `//`."""
    pattern = r'("[^"]*")|/\*.*?\*/|(?://|#)[^\n]*'
    return re.sub(pattern, lambda match: match[1] or " ", text, flags=re.DOTALL)


def _read_statement(body: str, place: str) -> Iterable[tuple[bytes, bytes]]:
    rest = _ENTRY.sub("", body).strip()
    if rest:
        raise DataFault(f"cannot read {rest.split()[0]!r} as a trust anchor", place=place)
    for quoted, kind, first, second, third, data in _ENTRY.findall(body):
        name = names.from_text(quoted.strip('"') or ".").lower()
        octets = "".join(data.replace('"', " ").split())
        rdtype = "DS" if kind.endswith("-ds") else "DNSKEY"
        yield name, _as_ds(name, rdtype, f"{first} {second} {third} {octets}", place)


def _read_line(line: str, place: str) -> tuple[bytes, bytes] | None:
    setting = _AUTO_LINE.match(line)
    if setting:
        line = setting[1]
    state = _STATE.search(line)
    if state and state[1] in _UNUSABLE_STATES:
        return None
    fields = line.split(";", 1)[0].replace("(", " ").replace(")", " ").split()
    if not fields or fields[0].startswith(("$", "#")):
        return None
    for place_of_type, field in enumerate(fields):
        if field.upper() in ("DS", "DNSKEY"):
            name = names.from_text(fields[0], names.ROOT).lower()
            rdata = " ".join(fields[place_of_type + 1 :])
            return name, _as_ds(name, field.upper(), rdata, place)
    raise DataFault("a trust anchor is neither DS nor DNSKEY", place=place)


def _as_ds(name: bytes, rdtype: str, text: str, place: str) -> bytes:
    try:
        kind = dns.rdatatype.from_text(rdtype)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text).to_wire()
    except (dns.exception.DNSException, ValueError) as fault:
        raise DataFault(f"a {rdtype} cannot be read: {fault}", place=place) from None
    assert rdata is not None
    if rdtype == "DS":
        return rdata
    ds = signature.ds_rdata(name, rdata)
    assert ds is not None
    return ds


# ----------------------------------------------------------------------------------------- RFC 5011


class KeyState(StrEnum):
    """Where a tracked key stands (RFC 5011 4.1)."""

    ADD_PENDING = "add-pending"
    VALID = "valid"
    MISSING = "missing"
    REVOKED = "revoked"
    REMOVED = "removed"


class TrackedKey(NamedTuple):
    """A key of a trust point, and since when (seconds) it is in its state."""

    dnskey: bytes
    state: KeyState
    since_s: int

    @property
    def is_trusted(self) -> bool:
        """True where the key may verify: a missing key is still trusted (RFC 5011 4.1)."""
        return self.state in (KeyState.VALID, KeyState.MISSING)


class Tracked(NamedTuple):
    """A trust point after one look: its keys, what changed in words, when to look again."""

    keys: tuple[TrackedKey, ...]
    changes: tuple[str, ...]
    look_again_at_s: int


def track(
    name: bytes,
    keys: Iterable[TrackedKey],
    seen: Mapping[bytes, bool],
    now_s: int,
    *,
    original_ttl_s: int,
    signature_life_s: int,
) -> Tracked:
    """Take one validated look at a trust point's DNSKEY RRset and move each key on.

    Takes the SEP keys seen, each with whether the RRset is signed by that key itself (needed to
    believe a revocation). The caller has validated the RRset by a key that `is_trusted`, and keeps
    what this gives. A trust point that loses its last trusted key has none, and stays so.
    RFC: 5011 2 to 4
    """
    plain = {_without_revoke(dnskey): (dnskey, by_itself) for dnskey, by_itself in seen.items()}
    changes: list[str] = []
    out: list[TrackedKey] = []
    for key in keys:
        here = plain.pop(key.dnskey, None)
        is_revoked = here is not None and here[1] and _is_revoked(here[0])
        moved = _move(key, here is not None, is_revoked, now_s, original_ttl_s)
        if moved is None:
            changes.append(f"{_text(name, key.dnskey)} is forgotten")
        else:
            if moved.state is not key.state:
                changes.append(f"{_text(name, key.dnskey)} becomes {moved.state}")
            out.append(moved)
    for dnskey, (with_flags, _) in plain.items():
        if not _is_revoked(with_flags) and len(out) < MAX_TRACKED:
            out.append(TrackedKey(dnskey, KeyState.ADD_PENDING, now_s))
            changes.append(f"{_text(name, dnskey)} is new, and waits out its hold-down")
    # RFC 5011 2.3: half the TTL or of the signature's life, between an hour and fifteen days.
    interval = max(3600, min(15 * DAY_S, original_ttl_s // 2, signature_life_s // 2))
    return Tracked(tuple(out), tuple(changes), now_s + interval)


def retry_at_s(now_s: int, *, original_ttl_s: int, signature_life_s: int) -> int:
    """Give when to look again after a look that failed (RFC 5011 2.3)."""
    return now_s + max(3600, min(DAY_S, original_ttl_s // 10, signature_life_s // 10))


def _move(
    key: TrackedKey, is_here: bool, is_revoked: bool, now_s: int, original_ttl_s: int
) -> TrackedKey | None:
    """Move one key along RFC 5011's table (4.2); None where it may be forgotten."""
    state, held_s = key.state, now_s - key.since_s
    match state:
        case KeyState.ADD_PENDING:
            if not is_here or is_revoked:
                return None
            if held_s >= max(ADD_HOLD_DOWN_S, original_ttl_s):
                state = KeyState.VALID
        case KeyState.VALID | KeyState.MISSING:
            if is_revoked:
                state = KeyState.REVOKED
            else:
                state = KeyState.VALID if is_here else KeyState.MISSING
        case KeyState.REVOKED:
            if not is_here:
                state = KeyState.REMOVED
        case KeyState.REMOVED:
            if held_s >= REMOVE_HOLD_DOWN_S:
                return None
    return key if state is key.state else TrackedKey(key.dnskey, state, now_s)


def trusted_ds(name: bytes, keys: Iterable[TrackedKey]) -> tuple[bytes, ...]:
    """Give the anchors that tracked keys stand for."""
    made = (signature.ds_rdata(name, key.dnskey) for key in keys if key.is_trusted)
    return tuple(ds for ds in made if ds is not None)


def _without_revoke(dnskey: bytes) -> bytes:
    return dnskey[:1] + bytes((dnskey[1] & ~signature.FLAG_REVOKE,)) + dnskey[2:]


def _is_revoked(dnskey: bytes) -> bool:
    return bool(dnskey[1] & signature.FLAG_REVOKE)


def _text(name: bytes, dnskey: bytes) -> str:
    return f"key {signature.key_tag(dnskey)} of {names.to_text(name)}"
