"""What a caller may do: scopes, and the faults of those who may not."""

from __future__ import annotations

from typing import Final, NamedTuple

import quada.wire.names as names
from quada.api.records import to_ascii
from quada.wire.faults import DataFault, PeerFault

ADMIN: Final = "admin"
READ: Final = "read"
AGENT: Final = "agent"
_RECORDS: Final = "records:"
_SCOPES: Final = "read, records:ZONE, agent or admin"


class Unauthenticated(PeerFault):
    """Nobody, or somebody with a void token or password."""

    code = "unauthenticated"


class Denied(PeerFault):
    """Somebody who may not do this."""

    code = "denied"


class Caller(NamedTuple):
    """Who calls, from where, and what they may do.

    Scopes: `admin` may do all; `read` may see every zone; `records:ZONE` may see and change one
    zone's records; `agent` may call in as a vantage point, and nothing else.
    """

    who: str
    place: str
    scopes: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return ADMIN in self.scopes

    def need_admin(self) -> None:
        """Raise Denied for who is no administrator."""
        if not self.is_admin:
            raise Denied(f"{self.who} is no administrator")

    def need_read(self) -> None:
        """Raise Denied for who may not see the server: its status, events and alerts."""
        if not self.is_admin and READ not in self.scopes:
            raise Denied(f"{self.who} may not see the server")

    def need_change(self, origin: bytes) -> None:
        """Raise Denied for who may not change a zone's records."""
        if not self.may_change(origin):
            raise Denied(f"{self.who} may not change {names.to_text(origin)}")

    def may_see(self, origin: bytes) -> bool:
        """Tell whether a zone may be seen."""
        return self.is_admin or READ in self.scopes or self.may_change(origin)

    def may_change(self, origin: bytes) -> bool:
        """Tell whether a zone's records may be changed."""
        return self.is_admin or any(zone_of(scope) == origin for scope in self.scopes)


def zone_of(scope: str) -> bytes | None:
    """Give the zone of a `records:ZONE` scope."""
    if not scope.startswith(_RECORDS):
        return None
    return names.from_text(to_ascii(scope.removeprefix(_RECORDS))).lower()


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Give scopes back. Raises: DataFault for one that means nothing."""
    for scope in scopes:
        if scope not in (ADMIN, READ, AGENT) and zone_of(scope) is None:
            raise DataFault(f"{scope!r} is no scope", place="scope", remedy=_SCOPES)
    if not scopes:
        raise DataFault("no scope is given", place="scope", remedy=_SCOPES)
    return scopes
