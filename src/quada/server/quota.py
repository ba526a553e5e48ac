"""How much of a resolver one client network, or one zone, may take up at a time.

A flood of random names below one zone whose servers are slow would otherwise hold every place there
is; so would one client that asks for all the world at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class QuotaSettings(NamedTuple):
    """Questions under way at once: in all, for a client network (/56, /24), below a zone cut."""

    total: int = 10_000  # our choice: about 60 MiB
    per_network: int = 2_000
    per_zone: int = 1_000


class Seat(NamedTuple):
    """What a question took. `zone` is None where nobody counted by zone."""

    network: bytes
    zone: bytes | None


class Quota:
    """Counts what is under way. A worker has one."""

    def __init__(self, settings: QuotaSettings, zone_of: Callable[[bytes], bytes]) -> None:
        """Take `zone_of`, which names the zone whose servers will be asked, as far as known."""
        self._settings = settings
        self._zone_of = zone_of
        self._networks: dict[bytes, int] = {}
        self._zones: dict[bytes, int] = {}
        self._count = 0
        self.refused_count = 0

    def take(self, network: bytes, qname: bytes) -> Seat | str:
        """Take a seat for a question; or the reason why there is none.

        Zones are told apart only when so many questions are under way that one could hold them.
        """
        settings = self._settings
        of_network = self._networks.get(network, 0)
        zone: bytes | None = None
        if self._count >= settings.total:
            return self._refused("too many questions are under way")
        if of_network >= settings.per_network:
            return self._refused("too many questions of this client are under way")
        if self._count >= settings.per_zone:
            zone = self._zone_of(qname)
            of_zone = self._zones.get(zone, 0)
            if of_zone >= settings.per_zone:
                return self._refused("too many questions about this zone are under way")
            self._zones[zone] = of_zone + 1
        self._networks[network] = of_network + 1
        self._count += 1
        return Seat(network, zone)

    def leave(self, seat: Seat) -> None:
        """Give a seat back."""
        self._count -= 1
        _count_down(self._networks, seat.network)
        if seat.zone is not None:
            _count_down(self._zones, seat.zone)

    def status(self) -> dict[str, int]:
        """Tell how many questions are under way, and how many found no seat."""
        return {"under_way": self._count, "refused": self.refused_count}

    def _refused(self, reason: str) -> str:
        self.refused_count += 1
        return reason


def _count_down(counts: dict[bytes, int], key: bytes) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
