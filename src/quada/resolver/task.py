"""One client question under way: its budget, the account of what was asked, and what it came to."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from quada.telemetry.event import Validation
from quada.wire.ask import Ask, Outcome, Transport

if TYPE_CHECKING:
    from quada.resolver.cache import Delegation
    from quada.resolver.evidence import Found
    from quada.wire.records import Record

ASKS_MAX: Final = 64  # our choice: messages sent for one client question, all lookups counted

_T = TypeVar("_T")
Steps = Generator[Ask, Outcome, _T]


class Attempt(NamedTuple):
    """One message to a server, for events and `explain`: the rcode that came, or what was wrong."""

    zone: bytes
    name: bytes
    rdtype: int
    server: str
    transport: Transport
    heard: int | str
    took_s: float

    @property
    def outcome(self) -> str:
        """What came of it, in words."""
        return self.heard if isinstance(self.heard, str) else f"rcode {self.heard}"


@dataclass(slots=True)
class Task:
    """One client question's budget, shared by all lookups made for it, and the account of them."""

    asks_left: int = ASKS_MAX
    depth: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    under_way: set[tuple[bytes, int]] = field(default_factory=set)
    in_hand: dict[tuple[bytes, int], Found] = field(default_factory=dict)


@dataclass(slots=True)
class Resolution:
    """The answer to a question: the chain and its end."""

    rcode: int
    answer: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    validation: Validation = Validation.UNTRIED
    stored_at: float = 0.0
    expires_at: float = 0.0
    ede: int | None = None
    reason: str = ""
    is_stale: bool = False
    is_cached: bool = True


class Shot(NamedTuple):
    """A question asked straight of a server of its zone, and what came of it."""

    delegation: Delegation
    address: str
    ask: Ask
    outcome: Outcome | None = None


class Failure(NamedTuple):
    """No server gave a usable answer: EDE code and why."""

    ede: int
    reason: str
