"""An offline KSK: what it is to sign goes out in a file, and comes back signed ahead of time.

As Knot's KSR and SKR, but by content, not by time alone: the request names every DNSKEY RRset that
the planned ZSK rollovers can lead to, with signatures whose times overlap. The server rolls ZSKs as
it always does, and takes no step to an RRset that the KSK has not signed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault
from quada.wire.records import RRset
from quada.zones.bootstrap import CDNSKEY_DELETE, CDS_DELETE
from quada.zones.keys import KeyRole
from quada.zones.sign import rrsig
from quada.zones.signing import DAY_S, SigningKey, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from quada.zones.keys import Key
    from quada.zones.keystate import RolloverPolicy, State
    from quada.zones.signing import SigningPolicy

_FORM: Final = 1
_FILE_OCTETS: Final = 16 << 20  # our choice: ten years of weekly signatures are a tenth of it
_SIGNATURES_MAX: Final = 20_000
_MARGIN_S: Final = 30 * DAY_S  # our choice: how far a rollover may come early or late
_REMOVAL: Final = {codes.CDS: CDS_DELETE, codes.CDNSKEY: CDNSKEY_DELETE}
SLACK_S: Final = DAY_S  # our choice: a signature overlaps the next by this more than it must


class Window(NamedTuple):
    """From when to when one signature holds."""

    inception_s: int
    expiration_s: int


class Asked(NamedTuple):
    """An RRset of the apex, and the windows to sign it for."""

    rrset: RRset
    windows: tuple[Window, ...]


class Request(NamedTuple):
    """What an offline KSK is asked to sign."""

    zone: bytes
    asked: tuple[Asked, ...]


class Presigned(NamedTuple):
    """An RRset of the apex, and signatures over it made ahead of time."""

    rrset: RRset
    rrsigs: tuple[bytes, ...]


def zsk_count(policy: RolloverPolicy, days: int) -> int:
    """Give how many ZSKs a time takes, the present one included."""
    if not policy.zsk_lifetime_s:
        return 1
    return 2 + days * DAY_S // policy.zsk_lifetime_s


def compose_request(
    zone: bytes,
    state: State,
    spares: Iterable[bytes],
    rolling: RolloverPolicy,
    signing: SigningPolicy,
    span: Window,
) -> Request:
    """Compose a request: every DNSKEY RRset of the ZSKs in their order, CDS and CDNSKEY.

    While a KSK replaces another, that is with either of them and with both; of a zone that is taken
    back to unsigned, the removal of DS besides (RFC 8078 4). Takes the DNSKEYs of
    the ZSKs to come, in order, and the time to cover. Raises: DataFault where the zone has no KSK.
    """
    ksks = _ksk_sets(state)
    if not ksks:
        raise DataFault("the zone has no KSK", place=names.to_text(zone))
    rings = sorted(
        (ring for ring in state.rings if ring.role is KeyRole.ZSK), key=lambda one: one.made_at
    )
    zsks = [ring.dnskey for ring in rings] + list(spares)
    began_s = rings[-1].made_at if rings else span.inception_s
    life_s = rolling.zsk_lifetime_s or span.expiration_s - span.inception_s
    ttl = rolling.dnskey_ttl_s
    asked = []
    for number, zsk in enumerate(zsks):
        # One that is here may serve alone at once, where it replaces the other with its algorithm.
        later = max(0, number - max(0, len(rings) - 1))
        start_s = began_s + later * life_s if later or not rings else rings[number].made_at
        begin_s = max(span.inception_s, start_s - _MARGIN_S) if later else span.inception_s
        end_s = min(span.expiration_s, start_s + life_s + _MARGIN_S)
        windows = tuple(_windows(Window(begin_s, end_s), signing))
        if not windows:
            continue
        for some in ([zsk], zsks[number : number + 2]):
            for set_ in ksks:
                rrset = RRset(codes.DNSKEY, ttl, tuple(sorted({*set_, *some})))
                asked.append(Asked(rrset, windows))
    whole = tuple(_windows(span, signing))
    for set_ in ksks:
        ds = (signature.ds_rdata(zone, ksk) for ksk in set_)
        cds = tuple(sorted(one for one in ds if one is not None))
        asked.append(Asked(RRset(codes.CDS, ttl, cds), whole))
        asked.append(Asked(RRset(codes.CDNSKEY, ttl, tuple(sorted(set_))), whole))
    if not state.is_signed:
        asked += [Asked(RRset(rdtype, ttl, (rdata,)), whole) for rdtype, rdata in _REMOVAL.items()]
    return Request(zone, tuple(dict.fromkeys(asked)))


def _ksk_sets(state: State) -> list[tuple[bytes, ...]]:
    """Give the sets of KSKs that a zone may be served with: one, or two and each of them."""
    rings = [ring for ring in state.rings if ring.role is KeyRole.KSK]
    going = [ring.dnskey for ring in rings if not ring.is_staying]
    staying = [ring.dnskey for ring in rings if ring.is_staying]
    if not staying:
        return []
    sets = [tuple(staying)]
    return [tuple(going), (*going, *staying), *sets] if going else sets


def _windows(span: Window, policy: SigningPolicy) -> Iterator[Window]:
    """Give windows that overlap so far that none need be served with less than `refresh_s` left."""
    step_s = max(DAY_S // 24, policy.lifetime_s - policy.refresh_s - SLACK_S)
    at_s = span.inception_s
    while at_s < span.expiration_s:
        yield Window(at_s - policy.inception_s, at_s + policy.lifetime_s)
        at_s += step_s


def sign_request(
    request: Request,
    key: Key,
    sign: Callable[[bytes], bytes] | None = None,
    beside: bytes | None = None,
    *,
    may_remove: bool = False,
) -> list[Presigned]:
    """Sign a request with a KSK. Raises: DataFault where it is not about that key.

    Takes the function that signs, where the private half is in a token, and the DNSKEY of the other
    KSK while one replaces another; and whether the parent may be asked to remove its DS.

    A DNSKEY RRset without the key, or CDS of any but these, is never signed: who can write requests
    must not be able to change the parent's DS. RFC: 7344 4.1, for which the old KSK must sign the
    CDS of the new one.
    """
    place = names.to_text(request.zone)
    if key.zone != request.zone:
        raise DataFault(f"the key is of {names.to_text(key.zone)}", place=place)
    signer = SigningKey(key.algorithm, key.tag, sign or key.signer())
    allowed = [key.dnskey] if beside is None else [key.dnskey, beside]
    out = []
    for rrset, windows in request.asked:
        if rrset.rdatas == (_REMOVAL.get(rrset.rdtype),):
            if not may_remove:
                raise DataFault(
                    "the parent is to be asked to remove DS", place=place,
                    remedy="sign it with --removal, if the zone is to be unsigned",
                )  # fmt: skip
        elif not _may_sign(request.zone, rrset, key.dnskey, allowed):
            if beside is not None and rrset.rdtype == codes.DNSKEY and beside in rrset.rdatas:
                continue  # the other one's to sign
            raise DataFault(f"an RRset to sign is without key {key.tag}", place=place)
        task = Task(request.zone, rrset)
        made = tuple(
            rrsig(request.zone, task, signer, one.inception_s, one.expiration_s) for one in windows
        )
        out.append(Presigned(rrset, made))
    return out


def _may_sign(zone: bytes, rrset: RRset, dnskey: bytes, allowed: list[bytes]) -> bool:
    if rrset.rdtype == codes.DNSKEY:
        return dnskey in rrset.rdatas
    if rrset.rdtype == codes.CDNSKEY:
        return len(rrset.rdatas) > 0 and set(rrset.rdatas) <= set(allowed)
    ds = {signature.ds_rdata(zone, one) for one in allowed}
    return rrset.rdtype == codes.CDS and len(rrset.rdatas) > 0 and set(rrset.rdatas) <= ds


def accept(zone: bytes, ksks: Iterable[bytes], made: Iterable[Presigned]) -> list[Presigned]:
    """Give what was signed, each signature checked. Raises: DataFault where one does not hold."""
    known = {signature.key_tag(ksk): ksk for ksk in ksks}
    place = names.to_text(zone)
    out = list(made)
    for rrset, rrsigs in out:
        for rdata in rrsigs:
            parsed = signature.parse_rrsig(rdata)
            dnskey = known.get(parsed.key_tag) if parsed is not None else None
            if parsed is None or dnskey is None:
                raise DataFault("a signature is not by the zone's KSK", place=place)
            is_about = (parsed.covered, parsed.signer, parsed.original_ttl) == (
                rrset.rdtype,
                zone,
                rrset.ttl,
            )
            if not is_about or not signature.is_valid(
                dnskey, parsed, zone, rrset.rdtype, rrset.rdatas
            ):
                raise DataFault("a signature does not fit what it signs", place=place)
    return out


def pick(made: Iterable[Presigned], rrset: RRset, now_s: int) -> tuple[bytes, ...]:
    """Give the signature over an RRset that lasts longest of those that hold now; none for none."""
    best: dict[int, tuple[int, bytes]] = {}
    for one in made:
        if one.rrset != rrset:
            continue
        for rdata in one.rrsigs:
            begin, end = (int.from_bytes(rdata[at : at + 4], "big") for at in (12, 8))
            tag = int.from_bytes(rdata[16:18], "big")
            if begin <= now_s < end and end > best.get(tag, (0, b""))[0]:
                best[tag] = end, rdata
    return tuple(rdata for _, rdata in best.values())


def lasts(one: Presigned) -> int:
    """Give when the last signature over an RRset ends; 0 where there is none."""
    return max((int.from_bytes(rdata[8:12], "big") for rdata in one.rrsigs), default=0)


def lasts_until(made: Iterable[Presigned]) -> int:
    """Give when the last signature over a DNSKEY RRset ends; 0 where there is none."""
    return max((lasts(one) for one in made if one.rrset.rdtype == codes.DNSKEY), default=0)


# -------------------------------------------------------------------------------- written down


def write_request(request: Request) -> str:
    """Write a request as JSON."""
    asked = [{**_rrset_json(one.rrset), "windows": list(one.windows)} for one in request.asked]
    made = {"form": _FORM, "kind": "request", "zone": names.to_text(request.zone), "asked": asked}
    return json.dumps(made, indent=1)


def read_request(text: str, place: str) -> Request:
    """Read what `write_request` wrote. Raises: DataFault."""
    try:
        made = _read(text, "request", place)
        asked = tuple(
            Asked(
                _read_rrset(one),
                tuple(Window(int(begin), int(end)) for begin, end in one["windows"]),
            )
            for one in made["asked"]
        )
        zone = names.from_text(made["zone"]).lower()
    except (KeyError, TypeError, ValueError) as fault:
        raise DataFault(f"the request cannot be read: {fault!r}", place=place) from None
    if sum(len(one.windows) for one in asked) > _SIGNATURES_MAX:
        raise DataFault(f"more than {_SIGNATURES_MAX} signatures are asked for", place=place)
    return Request(zone, asked)


def write_response(zone: bytes, made: Iterable[Presigned]) -> str:
    """Write what was signed as JSON."""
    signed = [
        {**_rrset_json(one.rrset), "rrsigs": [rdata.hex() for rdata in one.rrsigs]} for one in made
    ]
    text = {"form": _FORM, "kind": "response", "zone": names.to_text(zone), "signed": signed}
    return json.dumps(text, indent=1)


def read_response(text: str, place: str) -> tuple[bytes, list[Presigned]]:
    """Read what `write_response` wrote: zone and signatures, not checked yet. Raises: DataFault."""
    try:
        made = _read(text, "response", place)
        signed = [
            Presigned(_read_rrset(one), tuple(bytes.fromhex(rdata) for rdata in one["rrsigs"]))
            for one in made["signed"]
        ]
        zone = names.from_text(made["zone"]).lower()
    except (KeyError, TypeError, ValueError) as fault:
        raise DataFault(f"the response cannot be read: {fault!r}", place=place) from None
    if sum(len(one.rrsigs) for one in signed) > _SIGNATURES_MAX:
        raise DataFault(f"it holds more than {_SIGNATURES_MAX} signatures", place=place)
    return zone, signed


def _read(text: str, kind: str, place: str) -> dict[str, Any]:
    if len(text) > _FILE_OCTETS:
        raise DataFault("the file is larger than 16 MiB", place=place)
    made: dict[str, Any] = json.loads(text)
    if made["form"] != _FORM or made["kind"] != kind:
        raise DataFault(f"this is not a {kind} of form {_FORM}", place=place)
    return made


def _rrset_json(rrset: RRset) -> dict[str, Any]:
    rdatas = [rdata.hex() for rdata in rrset.rdatas]
    return {"type": rrset.rdtype, "ttl": rrset.ttl, "rdatas": rdatas}


def _read_rrset(made: dict[str, Any]) -> RRset:
    rdatas = tuple(sorted(bytes.fromhex(rdata) for rdata in made["rdatas"]))
    return RRset(int(made["type"]), int(made["ttl"]), rdatas)
