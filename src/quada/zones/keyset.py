"""From a rollover's state to what is served: key sets to sign with, the world the gate must please.

Also how a state is written down (JSON), so that it outlives the process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.wire.faults import DataFault
from quada.wire.records import RRset
from quada.zones.bootstrap import CDNSKEY_DELETE, CDS_DELETE
from quada.zones.gate import World
from quada.zones.keys import KeyRole
from quada.zones.keystate import Keys, Ring, State, View, name_of
from quada.zones.offline import pick
from quada.zones.signing import KeySet, SigningKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quada.zones.keys import Key
    from quada.zones.keystate import Ids, KeyId, RolloverPolicy
    from quada.zones.offline import Presigned
    from quada.zones.zone import Zone

_FORM: Final = 1  # of the JSON below; a later form reads the earlier ones


def key_set(
    state: State,
    keys: Mapping[KeyId, Key],
    policy: RolloverPolicy,
    origin: bytes,
    made: Sequence[Presigned] = (),
    now_s: int = 0,
) -> KeySet | None:
    """Give the keys to publish and sign with; None where the zone is to be unsigned.

    Takes what an offline KSK has signed ahead. Raises: DataFault where a key that must sign has no
    private half here and has not signed ahead what is to be served.
    """
    published = [ring for ring in state.rings if ring.is_published]
    if not published:
        return None

    def signing(ring: Ring) -> SigningKey:
        key = keys[ring.key]
        is_offline = key.is_offline and ring.role is KeyRole.KSK
        return SigningKey(*ring.key, None if is_offline else key.signer())

    rrsets = _apex_rrsets(state, policy, origin)
    by_type = {rrset.rdtype: rrset.rdatas for rrset in rrsets}
    presigned = []
    if offline_ksks(state, keys):
        fault = unsigned_ahead(state, keys, policy, origin, made, now_s)
        if fault:
            raise DataFault(fault, place=names.to_text(origin), remedy="quada dnssec skr request")
        presigned = [(rrset.rdtype, pick(made, rrset, now_s)) for rrset in rrsets]
    return KeySet(
        dnskeys=by_type[codes.DNSKEY],
        key_signers=tuple(signing(ring) for ring in published if ring.signs_keys),
        zone_signers=tuple(signing(ring) for ring in state.rings if ring.signs_zone),
        dnskey_ttl=policy.dnskey_ttl_s,
        cds=by_type.get(codes.CDS, ()),
        cdnskeys=by_type.get(codes.CDNSKEY, ()),
        presigned=tuple(presigned),
    )


def offline_ksks(state: State, keys: Mapping[KeyId, Key]) -> tuple[bytes, ...]:
    """Give the DNSKEYs of the KSKs whose private half is not here."""
    return tuple(
        ring.dnskey
        for ring in state.rings
        if ring.role is KeyRole.KSK and ring.key in keys and keys[ring.key].is_offline
    )


def unsigned_online(state: State, keys: Mapping[KeyId, Key], *, has_online: bool) -> str:
    """Say which key would have to sign answers of the moment and cannot; "" for none.

    Workers sign those, each for itself, and a token is not shared among processes.
    """
    for ring in state.rings if has_online else ():
        if ring.signs_zone and ring.key in keys and keys[ring.key].label:
            return (
                "the zone has ALIAS or pools, whose answers are signed when they are asked for,"
                f" and {name_of(ring)} is in a token"
            )
    return ""


def unsigned_ahead(
    state: State,
    keys: Mapping[KeyId, Key],
    policy: RolloverPolicy,
    origin: bytes,
    made: Sequence[Presigned],
    now_s: int,
) -> str:
    """Say what a state would serve that its offline KSK has not signed; "" for nothing."""
    if not any(ring.is_published for ring in state.rings) or not offline_ksks(state, keys):
        return ""
    signers = {
        ring.key[1]
        for ring in state.rings
        if ring.signs_keys and ring.is_published and ring.dnskey in offline_ksks(state, keys)
    }
    for rrset in _apex_rrsets(state, policy, origin):
        signed_by = {int.from_bytes(rdata[16:18], "big") for rdata in pick(made, rrset, now_s)}
        if not signed_by or not signers <= signed_by:
            what = {codes.DNSKEY: "DNSKEY", codes.CDS: "CDS"}.get(rrset.rdtype, "CDNSKEY")
            tags = ""
            if rrset.rdtype == codes.DNSKEY:
                tags = " of " + " and ".join(
                    str(signature.key_tag(rdata)) for rdata in rrset.rdatas
                )
            return f"the offline KSK has not signed the {what} RRset{tags} for now"
    return ""


def unrenewable(
    version: Zone, keys: KeySet, refresh_s: int, now_s: int
) -> frozenset[tuple[bytes, int]]:
    """Give the apex RRsets whose old signatures are an offline KSK's, which made no newer."""
    node = version.node(version.origin) or ()
    served = next((rrset.rdatas for rrset in node if rrset.rdtype == codes.RRSIG), ())
    out = set()
    for rdtype, made in keys.presigned:
        parsed = ((rdata, signature.parse_rrsig(rdata)) for rdata in served)
        old = {
            rdata
            for rdata, rrsig in parsed
            if rrsig is not None
            and rrsig.covered == rdtype
            and signature.seconds_left(rrsig, now_s) < refresh_s
        }
        if old <= set(made):
            out.add((version.origin, rdtype))
    return frozenset(out)


def _apex_rrsets(state: State, policy: RolloverPolicy, origin: bytes) -> list[RRset]:
    """Give what signing publishes at the apex for its keys."""
    published = [ring for ring in state.rings if ring.is_published]
    ttl = policy.dnskey_ttl_s
    cds, cdnskeys = _child_ds(state, published, origin)
    out = [RRset(codes.DNSKEY, ttl, tuple(sorted(ring.dnskey for ring in published)))]
    if cds:
        out.append(RRset(codes.CDS, ttl, cds))
    if cdnskeys:
        out.append(RRset(codes.CDNSKEY, ttl, cdnskeys))
    return out


def _child_ds(
    state: State, published: list[Ring], origin: bytes
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Compose CDS and CDNSKEY (RFC 7344 3), with SHA-256 digests (RFC 8624 3.3)."""
    wanted = sorted(ring.dnskey for ring in state.rings if ring.wants_ds)
    if wanted:
        made = (signature.ds_rdata(origin, dnskey) for dnskey in wanted)
        return tuple(sorted(ds for ds in made if ds is not None)), tuple(wanted)
    if not state.is_signed and state.ds_seen and published:
        return (CDS_DELETE,), (CDNSKEY_DELETE,)
    return (), ()


def world(state: State, origin: bytes) -> World:
    """Give what resolvers may hold, for the gate: DNSKEY RRsets and DS sets."""
    dnskeys = {ring.key: ring.dnskey for ring in state.rings}

    def rdatas(keys: Ids) -> tuple[bytes, ...]:
        return tuple(sorted(dnskeys[key] for key in keys if key in dnskeys))

    def digests(keys: Ids) -> tuple[bytes, ...]:
        made = (signature.ds_rdata(origin, dnskey) for dnskey in rdatas(keys))
        return tuple(ds for ds in made if ds is not None)

    held = [view.content for view in state.dnskeys if isinstance(view.content, Keys)]
    ds = [view.content for view in state.ds if isinstance(view.content, frozenset)]
    return World(
        tuple(rdatas(keys.published) for keys in held if keys.published),
        tuple(dict.fromkeys(digests(keys) for keys in (*ds, state.ds_asked))),
    )


def ds_ids(state: State, origin: bytes, ds: frozenset[bytes]) -> Ids:
    """Tell which of our keys a DS set at the parent names; what names none is (0, its tag)."""
    out = set()
    for rdata in ds:
        known = [
            ring.key
            for ring in state.rings
            if len(rdata) > 4 and signature.ds_rdata(origin, ring.dnskey, rdata[3]) == rdata
        ]
        out.add(known[0] if known else (0, int.from_bytes(rdata[:2], "big")))
    return frozenset(out)


# -------------------------------------------------------------------------------- written down


def write_state(state: State) -> str:
    """Write a state as JSON."""
    return json.dumps(
        {
            "form": _FORM,
            "is_signed": state.is_signed,
            "rings": [_ring_json(ring) for ring in state.rings],
            "dnskeys": [_view_json(view) for view in state.dnskeys],
            "signatures": [_view_json(view) for view in state.signatures],
            "ds": [_view_json(view) for view in state.ds],
            "ds_seen": None if state.ds_seen is None else _ids_json(state.ds_seen),
            "ds_asked": _ids_json(state.ds_asked),
        }
    )


def read_state(text: str) -> State:
    """Read what `write_state` wrote. Raises DataFault for anything else."""
    try:
        made = json.loads(text)
        if made["form"] != _FORM:
            raise DataFault(f"key state has form {made['form']}", remedy="use a newer quada")
        return State(
            rings=tuple(_read_ring(ring) for ring in made["rings"]),
            dnskeys=tuple(_read_keys_view(view) for view in made["dnskeys"]),
            signatures=tuple(_read_ids_view(view) for view in made["signatures"]),
            ds=tuple(_read_ids_view(view) for view in made["ds"]),
            ds_seen=None if made["ds_seen"] is None else _read_ids(made["ds_seen"]),
            ds_asked=_read_ids(made["ds_asked"]),
            is_signed=made["is_signed"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as fault:
        raise DataFault(f"key state cannot be read: {fault!r}") from None


def _ring_json(ring: Ring) -> dict[str, Any]:
    fields = ring._asdict()
    return {**fields, "key": list(ring.key), "role": str(ring.role), "dnskey": ring.dnskey.hex()}


def _read_ring(made: dict[str, Any]) -> Ring:
    algorithm, tag = made["key"]
    return Ring(
        **{
            **made,
            "key": (algorithm, tag),
            "role": KeyRole(made["role"]),
            "dnskey": bytes.fromhex(made["dnskey"]),
        }
    )


def _view_json(view: View) -> dict[str, Any]:
    content = view.content
    if isinstance(content, Keys):
        published, signed_by = _ids_json(content.published), _ids_json(content.signed_by)
        return {"published": published, "signed_by": signed_by, "until_s": view.until_s}
    return {"keys": _ids_json(content), "until_s": view.until_s}


def _read_keys_view(made: dict[str, Any]) -> View:
    keys = Keys(_read_ids(made["published"]), _read_ids(made["signed_by"]))
    return View(keys, made["until_s"])


def _read_ids_view(made: dict[str, Any]) -> View:
    return View(_read_ids(made["keys"]), made["until_s"])


def _ids_json(ids: Ids) -> list[list[int]]:
    return [list(key) for key in sorted(ids)]


def _read_ids(made: list[list[int]]) -> Ids:
    return frozenset((int(algorithm), int(tag)) for algorithm, tag in made)


def describe(state: State) -> list[dict[str, Any]]:
    """Tell each key's part in words that operators know (RFC 7583 3.1), for status and JSON."""
    out = []
    current = [v for v in state.dnskeys if isinstance(v.content, Keys) and v.content.published]
    for ring in state.rings:
        known = all(ring.key in v.content.published for v in current if isinstance(v.content, Keys))
        out.append(
            {
                "tag": ring.key[1],
                "algorithm": signature.ALGORITHM_NAMES.get(ring.key[0], str(ring.key[0])),
                "role": str(ring.role),
                "state": _stage(ring, is_known=known),
                "signs_zone": ring.signs_zone,
                "signs_keys": ring.signs_keys,
                "has_ds": state.ds_seen is not None and ring.key in state.ds_seen,
                "wants_ds": ring.wants_ds,
                "made_at": ring.made_at,
            }
        )
    return out


def _stage(ring: Ring, *, is_known: bool) -> str:
    does_its_part = ring.signs_zone or (ring.role is KeyRole.KSK and ring.wants_ds)
    if not ring.is_staying:
        return "retired" if not ring.is_idle else "removed"
    if not ring.is_published:
        return "generated"
    if does_its_part:
        return "active"
    return "ready" if is_known else "published"
