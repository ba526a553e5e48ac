"""`dns64-masking`: DNS64 answers for names whose own AAAA fails (CHECKS.md 0.6).

Clients then get addresses that work through NAT64, and nobody sees the failure. Known in two ways:
our resolver says why it synthesized, and a name that had AAAA of its own lately has not lost it
without reason.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

import quada.wire.codes as codes
from quada.telemetry.event import Cause, Kind, Provenance
from quada.telemetry.signals.cluster import locate, net_of
from quada.telemetry.signals.minute import KEPT, forget, zone_of
from quada.telemetry.signals.opening import Openings
from quada.telemetry.signals.sample import Sample
from quada.telemetry.signals.signal import Signal, State, closed

if TYPE_CHECKING:
    from quada.telemetry.event import Event

KIND: Final = "dns64-masking"
_WINDOW: Final = 5
_NATIVE_MAX: Final = 50_000
_MASKED_MAX: Final = 5_000  # attempts a minute; of more a sample
_COUNT_MIN: Final = 6
_NETS_MIN: Final = 3
_NAMES_MIN: Final = 3  # one name may have given its AAAA up
_ALL: Final = "*"
_ONE_ZONE: Final = 0.8


class _Minute:
    """Attempts that DNS64 answered, and those of them that hide something: client of each."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()
        self.masked: dict[tuple[str, str], Cause] = {}
        self.sample: Sample[tuple[str, str]] = Sample()

    def add(self, attempt: tuple[str, str], masks: Cause | None) -> None:
        """Count an attempt, and what it masks."""
        if hash(attempt) & self.sample.mask:
            return
        self.made.add(attempt)
        if masks is not None:
            self.masked[attempt] = masks
        if len(self.made) > _MASKED_MAX:
            self.sample.halve()
            self.made = {one for one in self.made if self.sample.still(one)}
            self.masked = {one: c for one, c in self.masked.items() if self.sample.still(one)}


class Masking:
    """Judges one resolver's synthesis."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._minutes: dict[int, _Minute] = {}
        self._native: OrderedDict[str, None] = OrderedDict()
        self._openings = Openings()

    def resume(self, scope: str) -> None:
        """Take on what was open."""
        self._openings.resume(scope)

    def feed(self, event: Event, at: int) -> None:
        """Count an answer to AAAA."""
        name, client = event.qname, event.client
        provenance = int(event.provenance or 0)
        if (
            event.qtype != codes.AAAA or event.kind is not Kind.QUERY or event.rcode
            or not provenance or name is None or client is None
        ):  # fmt: skip
            return
        if not provenance & Provenance.DNS64:
            if event.is_nodata:
                self._native.pop(name, None)  # said, not failed: it has none any more
            else:
                self._native[name] = None
                self._native.move_to_end(name)
                if len(self._native) > _NATIVE_MAX:
                    self._native.popitem(last=False)
            return
        minute = self._minutes.get(at)
        if minute is None:
            minute = self._minutes[at] = _Minute()
            forget(self._minutes, at - KEPT)
        is_masked = event.blamed is not None or name in self._native
        minute.add((client, name), (event.blamed or Cause.UNKNOWN) if is_masked else None)

    def judge(self, at: int) -> list[Signal]:
        """Judge the minute that is over."""
        forget(self._minutes, at - _WINDOW)
        span = [self._minutes[n] for n in range(at - _WINDOW + 1, at + 1) if n in self._minutes]
        made: set[tuple[str, str]] = set().union(*(minute.made for minute in span))
        masked: dict[tuple[str, str], Cause] = {}
        is_lasting = sum(bool(minute.masked) for minute in span) > 1
        for minute in span:
            masked |= minute.masked
        found: dict[str, Signal] = {}
        if (
            len(masked) >= _COUNT_MIN
            and len({name for _, name in masked}) >= _NAMES_MIN
            and len({net_of(client) for client, _ in masked}) >= _NETS_MIN
        ):
            zone, most = Counter(zone_of(name) for _, name in masked).most_common(1)[0]
            scope = zone if most >= _ONE_ZONE * len(masked) else _ALL
            found[scope] = self._signal(scope, made, masked, at)
        is_open, is_over = self._openings.step(found, found if is_lasting else ())
        out = [found[scope] for scope in is_open]
        return out + [closed(KIND, f"{self._role}/{scope}", at) for scope in is_over]

    def _signal(
        self, scope: str, made: set[tuple[str, str]], masked: dict[tuple[str, str], Cause], at: int
    ) -> Signal:
        causes = Counter(cause for cause in masked.values() if cause is not Cause.UNKNOWN)
        cause = causes.most_common(1)[0][0] if causes else Cause.UNKNOWN
        what = "several zones" if scope == _ALL else scope
        names = sorted({name for _, name in masked})
        return Signal(
            KIND, f"{self._role}/{scope}", State.OPEN, at * 60,
            f"DNS64 answers {len(masked)} attempts for names of {what} whose own AAAA fails",
            f"of {len(made)} that it answered", cause.name.lower(),
            locate((c for c, _ in made), (c for c, _ in masked)).text(),
            tuple(names[:5]), f"quada doctor {names[0]}",
        )  # fmt: skip
