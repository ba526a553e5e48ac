"""Signals of how the server stands, from what its supervisor tells: no events are needed.

- `pool-down`: no member of a pool and family passes its checks, so all are answered;
- `pool-flapping`: a member turns again and again;
- `signature-expiry`: signatures that serve end soon, or have ended;
- `secondary-behind`: no primary answers for a zone;
- `zone-refused`: a zone's newest version was refused, and the one before it serves.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from quada.telemetry.signals.signal import Signal, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS: Final = (
    "pool-down", "pool-flapping", "signature-expiry", "secondary-behind", "zone-refused",
)  # fmt: skip
_TURNS_MAX: Final = 4  # in half an hour
_TURNS_S: Final = 1800
_MEMBERS_MAX: Final = 5_000
_EXPIRY_S: Final = 3 * 86_400  # our choice: a weekend
_BEHIND_SHARE: Final = 0.25  # of EXPIRE (RFC 1035 3.3.13) without an answer of any primary
_SHOWN: Final = 5


class Standing:
    """Judges what the supervisor tells. Remembers when pool members turned."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], deque[float]] = {}

    def judge(self, status: Mapping[str, Any], now_s: int) -> list[Signal]:
        """Give every signal that holds now; one that is not given is over."""
        out = self._pools(status.get("pools", ()), now_s)
        for zone in status.get("zones", ()):
            ends_at = zone.get("signature_expires_at")
            if ends_at is not None and ends_at - now_s < _EXPIRY_S:
                out.append(_expiry(zone["zone"], ends_at, now_s))
        for zone in status.get("secondaries", ()):
            found = _behind(zone, now_s)
            if found is not None:
                out.append(found)
        out += (
            Signal("zone-refused", zone, State.OPEN, now_s,
                   f"the newest version of {zone} was refused, and the one before serves", "",
                   "data", "", (str(why),), "quada reload")
            for zone, why in dict(status.get("refused", {})).items()
        )  # fmt: skip
        return out

    def _pools(self, members: Iterable[Mapping[str, Any]], now_s: int) -> list[Signal]:
        pools: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
        out = []
        for member in members:
            family = 6 if ":" in member["address"] else 4
            pools.setdefault(member["pool"], {}).setdefault(family, []).append(member)
            out += self._flapping(member, now_s)
        for pool, families in pools.items():
            for family, here in families.items():
                if any(member["is_healthy"] for member in here):
                    continue
                other = families.get(10 - family, [])
                well = sum(bool(member["is_healthy"]) for member in other)
                out.append(
                    Signal(
                        "pool-down", f"{pool}/ipv{family}", State.OPEN,
                        round(max(member["since"] for member in here)) or now_s,
                        f"no IPv{family} member of pool {pool} is healthy, so all are answered",
                        f"IPv{10 - family}: {well} of {len(other)} healthy" if other else "",
                        "reachability", "",
                        tuple(f"{m['address']} {m['detail']}" for m in here[:_SHOWN]),
                        "quada pool status",
                    )
                )  # fmt: skip
        return out

    def _flapping(self, member: Mapping[str, Any], now_s: int) -> list[Signal]:
        key = member["pool"], member["address"]
        turns = self._turns.get(key)
        if turns is None:
            if len(self._turns) >= _MEMBERS_MAX:
                return []
            turns = self._turns[key] = deque(maxlen=50)
        since = member["since"]
        if since and (not turns or turns[-1] != since):
            turns.append(since)
        while turns and turns[0] < now_s - _TURNS_S:
            turns.popleft()
        if len(turns) < _TURNS_MAX:
            return []
        return [
            Signal("pool-flapping", "/".join(key), State.OPEN, round(turns[0]),
                   f"{key[1]} of pool {key[0]} turned {len(turns)} times in half an hour", "",
                   "reachability", "", (str(member["detail"]),), "quada pool status")
        ]  # fmt: skip


def _expiry(zone: str, ends_at: int, now_s: int) -> Signal:
    is_over = ends_at <= now_s
    left_h = abs(ends_at - now_s) / 3600
    return Signal(
        "signature-expiry", zone, State.OPEN, now_s,
        f"signatures of {zone} ended {left_h:.0f} hours ago: resolvers that validate answer"
        " SERVFAIL" if is_over else f"signatures of {zone} end in {left_h:.0f} hours",
        "", "expired" if is_over else "not renewed", "", (), f"quada dnssec status {zone}",
    )  # fmt: skip


def _behind(zone: Mapping[str, Any], now_s: int) -> Signal | None:
    name, refreshed, expires = zone["zone"], zone["refreshed_at"], zone.get("expires_at")
    if zone.get("is_expired"):
        what, cause = f"secondary zone {name} has expired and is answered SERVFAIL", "expired"
    elif expires is None:
        what, cause = f"secondary zone {name} was never transferred", "reachability"
    elif now_s - refreshed > _BEHIND_SHARE * (expires - refreshed):
        left_h = (expires - now_s) / 3600
        what = f"no primary answers for {name}, which expires in {left_h:.0f} hours"
        cause = "reachability"
    else:
        return None
    return Signal(
        "secondary-behind", name, State.OPEN, round(refreshed) or now_s, what, "", cause, "", (),
        f"quada doctor {name}",
    )  # fmt: skip
