"""What a name depends on, and whether that can be reached over one family alone.

Facts are zones with their servers, the glue their parents give, and the addresses the servers'
names have. A zone is reachable over a family if its parent is and one of its servers is usable: by
glue of that family, or because its own name can be resolved over the family and has such an
address. This is a least fixed point: a circle of zones that need each other is never reached.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.doctor.observation import Observation

_CUT_SIZE_MAX: Final = 3
_CANDIDATES_MAX: Final = 60  # servers tried together in a cut; more would take minutes


class Broken(NamedTuple):
    """A zone that cannot be reached although its parent can, and why each server fails."""

    zone: str
    reasons: tuple[str, ...]


class Node(NamedTuple):
    """A zone as a picture shows it: reachable over IPv6 alone or not, servers with families."""

    zone: str
    parent: str
    is_six: bool
    servers: tuple[tuple[str, frozenset[int]], ...]


class Graph:
    """Zones and servers, solved for one family or both.

    Takes for each zone its parent, servers and glue, and for each server's name its addresses and
    the zone it lies in.
    """

    def __init__(
        self,
        parents: dict[str, str],
        servers: dict[str, tuple[str, ...]],
        glue: dict[tuple[str, str], tuple[str, ...]],
        hosts: dict[str, tuple[str, ...]],
    ) -> None:
        self._parents = parents
        self._servers = servers
        self._glue = glue
        self._hosts = hosts

    @classmethod
    def of(cls, observation: Observation) -> Graph:
        """Make the graph of what was seen; an address that was asked and is dead does not count."""
        dead = _dead(observation)
        alive = {
            host: tuple(a for a in found if a not in dead)
            for host, found in observation.hosts.items()
        }
        cuts = observation.cuts.values()
        return cls(
            {cut.zone: cut.parent for cut in cuts},
            {cut.zone: tuple(cut.servers) for cut in cuts},
            {
                (cut.zone, server): tuple(a for a in found if a not in dead)
                for cut in cuts
                for server, found in cut.glue.items()
            },
            alive,
        )

    def zone_of(self, name: str) -> str:
        """Give the nearest known zone at or above a name."""
        while name not in self._servers and name != ".":
            name = name.partition(".")[2] or "."
        return name

    def operator_of(self, server: str) -> str:
        """Give who runs a server: the zone its name lies in, whose contact is in its SOA."""
        return self.zone_of(server)

    def reachable(
        self,
        families: Iterable[int],
        *,
        given: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
    ) -> set[str]:
        """Give the zones that can be reached.

        `given` are servers taken to be usable, `without` servers taken to be away.
        """
        wanted = frozenset(families)
        reached: set[str] = set()
        waiting = list(self._servers)
        is_changed = True
        while is_changed:
            is_changed = False
            for zone in list(waiting):
                parent = self._parents.get(zone, "")
                if zone != "." and parent not in reached:
                    continue
                usable = any(
                    self._is_usable(zone, server, wanted, reached, given, without)
                    for server in self._servers[zone]
                )
                if usable:
                    reached.add(zone)
                    waiting.remove(zone)
                    is_changed = True
        return reached

    def is_reachable(self, name: str, families: Iterable[int]) -> bool:
        """Tell whether the zone of a name can be reached."""
        return self.zone_of(name) in self.reachable(families)

    def broken(self, name: str, family: int) -> list[Broken]:
        """Give what fails first on the way to a name: zones whose parent is still reachable."""
        reached = self.reachable((family,))
        out = []
        for zone in sorted(self._needed(name)):
            if zone in reached or (zone != "." and self._parents.get(zone) not in reached):
                continue
            reasons = tuple(
                self._why(zone, server, family, reached) for server in self._servers[zone]
            )
            out.append(Broken(zone, reasons or ("it has no servers",)))
        return out

    def cuts(self, name: str, family: int) -> list[frozenset[str]]:
        """Give the smallest sets of servers that would, with an address of the family, mend a name.

        Empty where nothing needs mending, or more than three servers would have to be.
        """
        target = self.zone_of(name)
        if target in self.reachable((family,)):
            return []
        candidates = sorted(
            {
                server
                for zone in self._needed(name)
                for server in self._servers[zone]
                if not self._has(self._hosts.get(server, ()), frozenset((family,)))
                or not self._has(self._glue.get((zone, server), ()), frozenset((family,)))
            }
        )[:_CANDIDATES_MAX]
        for size in range(1, _CUT_SIZE_MAX + 1):
            found = [
                frozenset(chosen)
                for chosen in combinations(candidates, size)
                if target in self.reachable((family,), given=frozenset(chosen))
            ]
            if found:
                return found
        return []

    def single_points(self, name: str, family: int) -> list[str]:
        """Give the servers without any one of which the name is gone over a family."""
        target = self.zone_of(name)
        if target not in self.reachable((family,)):
            return []
        servers = {server for zone in self._needed(name) for server in self._servers[zone]}
        return sorted(
            server
            for server in servers
            if target not in self.reachable((family,), without=frozenset((server,)))
        )

    def tree(self, name: str) -> list[str]:
        """Write the way from the root to a name as indented lines, with each server's families."""
        chain = []
        zone = self.zone_of(name)
        while True:
            chain.append(zone)
            if zone == "." or zone not in self._parents:
                break
            zone = self._parents[zone]
        six, four = self.reachable((6,)), self.reachable((4,))
        lines = []
        for depth, zone in enumerate(reversed(chain)):
            marks = f"IPv6 {'yes' if zone in six else 'NO'}, IPv4 {'yes' if zone in four else 'NO'}"
            lines.append(f"{'  ' * depth}{zone}  ({marks})")
            for server in self._servers.get(zone, ()):
                addresses = {*self._hosts.get(server, ()), *self._glue.get((zone, server), ())}
                operator = self.operator_of(server)
                by = "" if operator in (zone, ".") else f"  (run by {operator})"
                words = " ".join(sorted(addresses)) or "?"
                lines.append(f"{'  ' * depth}  - {server} {words}{by}")
        return lines

    def nodes(self, name: str) -> list[Node]:
        """Give every zone on any way to a name."""
        six = self.reachable((6,))
        return [
            Node(
                zone,
                self._parents.get(zone, ""),
                zone in six,
                tuple(
                    (
                        server,
                        frozenset(
                            6 if ":" in address else 4
                            for address in (
                                *self._hosts.get(server, ()), *self._glue.get((zone, server), ())
                            )
                        ),
                    )
                    for server in self._servers[zone]
                ),
            )
            for zone in self._needed(name)
        ]  # fmt: skip

    def _needed(self, name: str) -> set[str]:
        """Give every zone on any way to a name."""
        needed: set[str] = set()
        todo = [self.zone_of(name)]
        while todo:
            zone = todo.pop()
            if zone in needed or zone not in self._servers:
                continue
            needed.add(zone)
            if zone != ".":
                todo.append(self._parents.get(zone, "."))
            todo += [self.zone_of(server) for server in self._servers[zone]]
        return needed

    def _is_usable(
        self,
        zone: str,
        server: str,
        families: frozenset[int],
        reached: set[str],
        given: frozenset[str],
        without: frozenset[str],
    ) -> bool:
        if server in without:
            return False
        own = self.zone_of(server)
        if server in given:
            # An address alone is no use where nobody can learn it: glue comes with it in-domain.
            return own == zone or _is_below(server, zone) or own in reached
        if self._has(self._glue.get((zone, server), ()), families):
            return True
        return own in reached and self._has(self._hosts.get(server, ()), families)

    def _why(self, zone: str, server: str, family: int, reached: set[str]) -> str:
        wanted = frozenset((family,))
        has_address = self._has(self._hosts.get(server, ()), wanted)
        own = self.zone_of(server)
        if not has_address:
            return f"{server} has no usable IPv{family} address"
        if _is_below(server, zone) or own == zone:
            return f"{server} has IPv{family}, but {self._parents.get(zone, '.')} gives no glue"
        if own not in reached:
            return f"{server} is in {own}, which cannot be reached over IPv{family}"
        return f"{server} should be usable"

    @staticmethod
    def _has(addresses: Iterable[str], families: frozenset[int]) -> bool:
        return any((6 if ":" in address else 4) in families for address in addresses)


def _is_below(name: str, zone: str) -> bool:
    return zone == "." or name == zone or name.endswith(f".{zone}")


def _dead(observation: Observation) -> set[str]:
    """Give the addresses that were asked about their zone and never answered with authority."""
    asked: dict[str, bool] = {}
    for one in observation.about("soa-udp", "soa-tcp"):
        asked[one.address] = asked.get(one.address, False) or one.is_good
    return {address for address, is_alive in asked.items() if not is_alive}
