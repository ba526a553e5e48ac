"""Pools as a running server tells them: what is configured, and which members are well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class MemberView(NamedTuple):
    """One member. Times are seconds of the Unix epoch; 0 is never.

    `is_known` is False while too few vantage points can tell: `is_healthy` is then what it was.
    `vantage` is what each of them says.
    """

    address: str
    type: str
    weight: int
    priority: int
    label: str
    is_healthy: bool
    since: float
    checked_at: float
    took_ms: float
    detail: str
    is_known: bool
    vantage: list[dict[str, Any]]


class PoolView(NamedTuple):
    """One pool. `down` are the types none of whose members is well: all of them are answered."""

    name: str
    policy: str
    probe: str
    answers: int
    ttl_s: int
    agree: int
    down: tuple[str, ...]
    members: tuple[MemberView, ...]

    @property
    def is_well(self) -> bool:
        """Whether every member is well."""
        return all(member.is_healthy for member in self.members)


def read_pools(rows: Iterable[dict[str, Any]]) -> list[PoolView]:
    """Give the pools that `pools` of a server's status tells of, in its order."""
    members: dict[str, list[MemberView]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind = "AAAA" if ":" in row["address"] else "A"
        rest = {name: row[name] for name in MemberView._fields if name not in ("address", "type")}
        members.setdefault(row["pool"], []).append(MemberView(row["address"], kind, **rest))
        settings[row["pool"]] = row
    return [
        PoolView(
            name, settings[name]["policy"], settings[name]["probe"], settings[name]["answers"],
            settings[name]["ttl_s"], settings[name]["agree"], _down(found), tuple(found),
        )
        for name, found in members.items()
    ]  # fmt: skip


def pool_data(pool: PoolView) -> dict[str, Any]:
    """Give a pool as JSON data."""
    members = [member._asdict() for member in pool.members]
    return {**pool._asdict(), "is_well": pool.is_well, "members": members}


def _down(members: list[MemberView]) -> tuple[str, ...]:
    kinds = dict.fromkeys(member.type for member in members)
    return tuple(kind for kind in kinds if not any(m.is_healthy for m in members if m.type == kind))
