"""What parsers of text logs share: carriers, times, the account of what was not understood."""

from __future__ import annotations

import calendar
import json
import re
from collections import OrderedDict, deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import dns.rcode
import dns.rdatatype

from quada.telemetry.ingest.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.telemetry.event import Event, Role

_KEPT_MAX: Final = 20
_CACHE_MAX: Final = 10_000
_SYSLOG: Final = re.compile(
    r"(?:<\d{1,3}>)?(?:(?P<old>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)"
    r"|(?P<new>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))) \S+ [\w./-]+(?:\[\d+\])?: "
)
_JOURNAL: Final = re.compile(r"_{0,2}[A-Z][A-Z0-9_]*=")
_CARRIED: Final = ("__REALTIME_", "MESSAGE=", '{"')
_COMPOSE: Final = re.compile(r"[\w.-]+(?:[-_]\d+)? +\| ")
_MONTHS: Final = {name: at for at, name in enumerate(calendar.month_abbr) if name}


class Parser(Kept):
    """One log's parser. Feed it lines; it gives events, and remembers what belongs together.

    Takes the source's name, its role where the format does not tell, and the year and time in
    nanoseconds for lines without them.
    """

    ROLE: ClassVar[Role | None] = None
    KEPT: ClassVar[tuple[str, ...]] = (
        "line_count", "event_count", "unknown_count", "unknown", "_waiting", "_journal_ns",
    )  # fmt: skip

    def __init__(self, source: str, role: Role | None = None) -> None:
        self.source = source
        self.role = role or self.ROLE
        self.line_count = 0
        self.event_count = 0
        self.unknown_count = 0
        self.unknown: deque[str] = deque(maxlen=_KEPT_MAX)
        self._waiting: OrderedDict[Any, Event] = OrderedDict()
        self._journal_ns = 0

    def feed(self, lines: Iterable[str], now_ns: int) -> list[Event]:
        """Parse lines. `now_ns` stands for the time of lines that have none.

        Never raises for what a line holds.
        """
        out: list[Event] = []
        for line in lines:
            self.line_count += 1
            text, at_ns = line, now_ns
            if line.startswith(_CARRIED):  # whose time is better than that of reading
                if self._is_of_journal(line):
                    continue
                text, at_ns = unwrap(line, self._journal_ns or now_ns)
            if not self._has_parsed(text, at_ns, out) and text.strip():
                if self._is_of_journal(text):
                    continue
                inner, at_ns = unwrap(text, at_ns)
                if inner is text or not self._has_parsed(inner, at_ns, out):
                    self.unknown_count += 1
                    self.unknown.append(line[:500])
        self.event_count += len(out)
        return out

    def _has_parsed(self, line: str, now_ns: int, out: list[Event]) -> bool:
        try:
            return self.parse_line(line, now_ns, out)
        except (ValueError, IndexError, KeyError, OverflowError):
            return False

    def _is_of_journal(self, line: str) -> bool:
        """Whether a line is a field of journald's export format that holds no message.

        The time of an entry stands before its message.
        """
        if line.startswith("__REALTIME_TIMESTAMP="):
            stamp = line.partition("=")[2]
            self._journal_ns = int(stamp) * 1000 if stamp.isdigit() and len(stamp) < 18 else 0
            return True
        return (
            bool(self._journal_ns or line.startswith("__"))
            and not line.startswith("MESSAGE=")
            and _JOURNAL.match(line) is not None
        )

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line: add its events, and tell whether the line is one of the format."""
        raise NotImplementedError

    def flush(self) -> list[Event]:
        """Give what still waits for a line that belongs to it."""
        left = list(self._waiting.values())
        self._waiting.clear()
        self.event_count += len(left)
        return left


def unwrap(line: str, now_ns: int) -> tuple[str, int]:
    """Take a carrier off a line (syslog, docker, compose, journald): the rest, and its time."""
    if line.startswith("MESSAGE="):
        return line[8:], now_ns
    if line.startswith("{") and '"MESSAGE"' in line:
        try:
            carried = json.loads(line)
            return str(carried["MESSAGE"]), int(carried["__REALTIME_TIMESTAMP"]) * 1000
        except (ValueError, KeyError, TypeError):
            return line, now_ns
    if line.startswith('{"log":'):
        try:
            carried = json.loads(line)
            return str(carried["log"]).rstrip("\n"), rfc3339_ns(str(carried["time"]))
        except (ValueError, KeyError, TypeError):
            return line, now_ns
    syslog = _SYSLOG.match(line)
    if syslog is not None:
        stamp = syslog["new"]
        return line[syslog.end() :], rfc3339_ns(stamp) if stamp else now_ns
    compose = _COMPOSE.match(line)
    return (line[compose.end() :], now_ns) if compose is not None else (line, now_ns)


def rfc3339_ns(text: str) -> int:
    """Read an RFC 3339 time as nanoseconds of the Unix epoch. Raises: ValueError."""
    whole, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if dot else ""
    made = datetime.fromisoformat(whole + zone)
    return int(made.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9] or 0)


def bind_time_ns(date: str, clock: str) -> int:
    """Read BIND's `20-Nov-2026 21:18:58.277`, taken as UTC. Raises: ValueError, KeyError."""
    seconds = calendar.timegm(
        (int(date[7:11]), _MONTHS[date[3:6]], int(date[:2]), int(clock[:2]), int(clock[3:5]),
         int(clock[6:8]), 0, 0, 0)
    )  # fmt: skip
    return seconds * 1_000_000_000 + int(clock[9:12] or 0) * 1_000_000


_types: dict[str, int] = {}
_names: dict[str, str] = {}
_RCODES: Final = {dns.rcode.to_text(dns.rcode.Rcode.make(code)): code for code in range(24)}


def type_of(text: str) -> int:
    """Read a type's name. Raises: ValueError."""
    found = _types.get(text)
    if found is None:
        try:
            found = int(dns.rdatatype.from_text(text))
        except dns.rdatatype.UnknownRdatatype as error:
            raise ValueError(text) from error
        if len(_types) < _CACHE_MAX:
            _types[text] = found
    return found


def name_of(text: str) -> str:
    """Write a name as events have it: absolute, lower-cased."""
    found = _names.get(text)
    if found is None:
        found = text.lower() if text.endswith(".") else f"{text.lower()}."
        if len(_names) >= _CACHE_MAX:
            _names.clear()
        _names[text] = found
    return found


def rcode_of(text: str) -> int | None:
    """Read an rcode's name; None for one that is none."""
    return _RCODES.get(text)
