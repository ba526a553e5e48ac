"""Trust anchors that follow their keys (RFC 5011): looks taken, states kept in a file.

One worker looks and writes; the others read what it wrote. A file that cannot be read or written
costs the following, never the trust that is configured.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import structlog

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.disk import replacing
from quada.resolver.anchors import (
    KeyState,
    TrackedKey,
    retry_at_s,
    track,
    trusted_ds,
)
from quada.telemetry.event import Validation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from quada.resolver.trust import Anchors
    from quada.wire.records import Record

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_VERSION: Final = 1
_SEP: Final = 0x0101  # zone key and secure entry point (RFC 4034 2.1.1)
_FIRST_TTL_S: Final = 172_800  # of the root's DNSKEY: what a failed first look is timed by


class Anchoring:
    """Tracks the keys of configured trust points. Times are seconds of the Unix epoch.

    Takes the state's file, and the resolver's anchors, which are changed in place.
    """

    def __init__(self, file: Path, anchors: Anchors) -> None:
        self._file = file
        self._anchors = anchors
        self._configured = dict(anchors.positive)
        self._keys: dict[bytes, tuple[TrackedKey, ...]] = {}
        self._look_at: dict[bytes, int] = dict.fromkeys(self._configured, 0)
        self._stamp = 0.0
        self.read()

    def due(self, now_s: int) -> list[bytes]:
        """Give the trust points to look at."""
        return [name for name, at in self._look_at.items() if at <= now_s]

    def failed(self, name: bytes, now_s: int) -> None:
        """Note that a look brought nothing to believe (RFC 5011 2.3)."""
        self._look_at[name] = retry_at_s(
            now_s, original_ttl_s=_FIRST_TTL_S, signature_life_s=_FIRST_TTL_S
        )

    def take(self, name: bytes, answer: list[Record], validation: Validation, now_s: int) -> None:
        """Take a look's answer for DNSKEY; only one that is secure moves anything."""
        rdatas = [r.rdata for r in answer if r.rdtype == codes.DNSKEY and r.owner == name]
        if validation is not Validation.SECURE or not rdatas:
            self.failed(name, now_s)
            return
        rrsigs = [
            parsed
            for r in answer
            if r.rdtype == codes.RRSIG and r.owner == name
            for parsed in (signature.parse_rrsig(r.rdata),)
            if parsed is not None and parsed.covered == codes.DNSKEY
        ]
        seen = {
            key: any(
                rrsig.key_tag == signature.key_tag(key)
                and signature.is_valid(key, rrsig, name, codes.DNSKEY, rdatas)
                for rrsig in rrsigs
            )
            for key in rdatas
            if int.from_bytes(key[:2], "big") & _SEP == _SEP
        }
        known = self._keys.get(name) or self._first(name, seen, now_s)
        tracked = track(
            name, known, seen, now_s,
            original_ttl_s=rrsigs[0].original_ttl if rrsigs else _FIRST_TTL_S,
            signature_life_s=min((signature.seconds_left(one, now_s) for one in rrsigs),
                                 default=_FIRST_TTL_S),
        )  # fmt: skip
        for change in tracked.changes:
            log.warning("a trust anchor's key changes", what=change)
        self._keys[name], self._look_at[name] = tracked.keys, tracked.look_again_at_s
        self._apply(name)
        self._write()

    def read(self) -> None:
        """Read what was kept, if it is newer than what is known."""
        try:
            stamp = self._file.stat().st_mtime
            if stamp == self._stamp:
                return
            data = json.loads(self._file.read_text())
            if data["version"] != _VERSION:
                return
            kept = {
                names.from_text(text).lower(): (_keys(point["keys"]), int(point["look_at"]))
                for text, point in data["points"].items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the state of trust anchors cannot be read", why=str(error)[:200])
            return
        self._stamp = stamp
        for name, (keys, look_at) in kept.items():
            if name in self._configured and keys:
                self._keys[name], self._look_at[name] = keys, look_at
                self._apply(name)

    def _first(self, name: bytes, seen: Mapping[bytes, bool], now_s: int) -> tuple[TrackedKey, ...]:
        """Begin with the keys that the configured anchors stand for."""
        return tuple(
            TrackedKey(key, KeyState.VALID, now_s)
            for key in seen
            if any(signature.ds_rdata(name, key, ds[3]) == ds for ds in self._configured[name])
        )

    def _apply(self, name: bytes) -> None:
        """Trust the tracked keys, and what is configured but for keys that were revoked."""
        keys = self._keys[name]
        gone = {
            signature.ds_rdata(name, key.dnskey, ds[3])
            for key in keys
            if key.state in (KeyState.REVOKED, KeyState.REMOVED)
            for ds in self._configured[name]
        }
        kept = [ds for ds in self._configured[name] if ds not in gone]
        self._anchors.positive[name] = tuple(dict.fromkeys([*kept, *trusted_ds(name, keys)]))

    def _write(self) -> None:
        data = {
            "version": _VERSION,
            "points": {
                names.to_text(name): {
                    "look_at": self._look_at[name],
                    "keys": [
                        {"dnskey": base64.b64encode(key.dnskey).decode(), "state": str(key.state),
                         "since": key.since_s, "tag": signature.key_tag(key.dnskey)}
                        for key in keys
                    ],
                }
                for name, keys in self._keys.items()
            },
        }  # fmt: skip
        try:
            with replacing(self._file) as file:
                json.dump(data, file, indent=1)
            self._stamp = self._file.stat().st_mtime
        except OSError as error:
            log.warning("the state of trust anchors cannot be kept", why=str(error))


def _keys(data: list[dict[str, Any]]) -> tuple[TrackedKey, ...]:
    return tuple(
        TrackedKey(base64.b64decode(one["dnskey"]), KeyState(one["state"]), int(one["since"]))
        for one in data
    )
