"""BIND: query log, query-errors, responses (9.20.3 and later), and what resolvers complain of.

The query log says neither rcode nor transport (T is any stream). A query line waits for the line
that tells how it ended; one that nothing follows is given with its rcode unknown.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import ClassVar, Final

import quada.wire.codes as codes
from quada.telemetry.event import FLAG_STREAM, Cause, Event, Kind, Role, Validation
from quada.telemetry.ingest.parser import (
    Parser,
    bind_time_ns,
    name_of,
    rcode_of,
    rfc3339_ns,
    type_of,
)
from quada.wire.ask import Transport

_WAITING_MAX: Final = 4_096
_WAIT_NS: Final = 5_000_000_000
_LOOK_NS: Final = 250_000_000  # of the log's time, between looks at who has waited long enough
_HEAD: Final = (
    r"(?:(?P<date>\d\d-[A-Z][a-z]{2}-\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{3}) "
    r"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z?) )?(?:[\w-]+: )?(?:\w+: )?"
)
_CLIENT: Final = (
    r"client (?P<id>@0x[0-9a-f]+ )?(?P<address>[0-9a-fA-F.:]+)(?:%\w+)?#(?P<port>\d+)"
    r"(?:/key \S+)? \((?P<asked>.*?)\): (?:view [^:]+: )?"
)
_QUERY: Final = re.compile(
    _HEAD + _CLIENT + r"query: (?P<name>.+) (?P<class>IN|CH|HS|CLASS\d+|ANY|NONE) "
    r"(?P<type>[A-Z][A-Z0-9-]*) (?P<rd>[+-])(?P<flags>\S*) "
    r"\((?P<to>[0-9a-fA-F.:]+)(?:%\w+)?(?:#\d+)?\)(?: \[ECS [^\]]*\])?$"
)
_FAILED: Final = re.compile(
    _HEAD + _CLIENT + r"query failed \((?P<why>[^)]*)\) for (?P<name>.+)/(?P<class>\w+)/"
    r"(?P<type>[A-Z][A-Z0-9-]*) at "
)
_RESPONSE: Final = re.compile(
    _HEAD + _CLIENT + r"response: (?P<name>.+) (?P<class>\w+) (?P<type>[A-Z][A-Z0-9-]*) "
    r"(?P<rcode>[A-Z]+) (?P<answer>\d+) (?P<authority>\d+) (?P<additional>\d+) "
)
_DENIED: Final = re.compile(
    _HEAD
    + _CLIENT
    + r"query (?:\(cache\) )?'(?P<name>.+)/(?P<type>[A-Z][A-Z0-9-]*)/(?P<class>\w+)' denied"
)
_UPSTREAM: Final = re.compile(
    _HEAD + r"(?P<why>.+?) resolving '(?P<name>.+?)/(?P<type>[A-Z][A-Z0-9-]*)(?:/(?P<class>\w+))?'"
    r"(?: \(in '[^']*'\?\))?: (?P<address>[0-9a-fA-F.:]+)(?:%\w+)?#(?P<port>\d+)"
)
_VALIDATING: Final = re.compile(
    _HEAD + r"validating (?P<name>.+)/(?P<type>[A-Z][A-Z0-9-]*): (?P<why>.+)"
)
_ADDRESS: Final = re.compile(r"[0-9a-f.:]+")
_STAMP: Final = re.compile(r"(\d\d-[A-Z][a-z]{2}-\d{4}) (\d\d:\d\d:\d\d)\.\d{3}")
_OTHER: Final = re.compile(
    r"\d\d-[A-Z][a-z]{2}-\d{4} |\d{4}-\d\d-\d\dT\d\d:\d\d:"
    r"|[a-z-]+: (?:info|notice|warning|error|debug)"
    r"|(?:info|notice|warning|error|critical|debug \d+): "
)
_ABOUT_QUERIES: Final = (" query: ", "query failed", " response: ", " resolving '")
_FAILURES: Final = {
    "SERVFAIL": codes.SERVFAIL, "failure": codes.SERVFAIL, "timed out": codes.SERVFAIL,
    "REFUSED": codes.REFUSED, "FORMERR": codes.FORMERR, "NXDOMAIN": codes.NXDOMAIN,
    "NOTAUTH": codes.NOTAUTH, "zone not loaded": codes.SERVFAIL, "shut down": codes.SERVFAIL,
}  # fmt: skip


class BindParser(Parser):
    """See the module."""

    ROLE: ClassVar[Role | None] = None
    KEPT: ClassVar[tuple[str, ...]] = (*Parser.KEPT, "_bogus")

    def __init__(self, source: str, role: Role | None = None) -> None:
        super().__init__(source, role)
        self._bogus: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._clock: tuple[str, int] = ("", 0)
        self._second: tuple[str, int] = ("", 0)
        self._looked_ns = 0

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line; queries are held until it is known how they ended."""
        if self._has_split(line, out):
            return True
        found = _QUERY.match(line)
        if found is not None:
            self._query(found, now_ns, out)
            return True
        if "query failed" in line and (found := _FAILED.match(line)):
            return self._ended(found, now_ns, out, _FAILURES.get(found["why"], codes.SERVFAIL))
        if " response: " in line and (found := _RESPONSE.match(line)):
            return self._responded(found, now_ns, out)
        if "denied" in line and (found := _DENIED.match(line)):
            return self._ended(found, now_ns, out, codes.REFUSED)
        if " resolving '" in line and (found := _UPSTREAM.match(line)):
            self._complaint(found, now_ns, out)
            return True
        if "validating " in line and (found := _VALIDATING.match(line)):
            key = name_of(found["name"]), type_of(found["type"])
            self._bogus[key] = found["why"]
            while len(self._bogus) > _WAITING_MAX:
                self._bogus.popitem(last=False)
            return True
        # A line about a query that does not parse is a loss; one about something else is none.
        return _OTHER.match(line) is not None and not any(w in line for w in _ABOUT_QUERIES)

    def _has_split(self, line: str, out: list[Event]) -> bool:
        """Parse a query line as nearly all are, by its blanks: a third of what the pattern takes.

        Whatever differs, views and client subnets among it, is left to the pattern.
        """
        at = line.find("client @0x", 0, 80)
        words = line[at:].split(" ")
        if at < 24 or len(words) != 10 or words[4] != "query:" or words[6] != "IN":
            return False
        address, mark, port = words[2].partition("#")
        rd, flags, to = words[8][:1], words[8][1:], words[9]
        if (
            not (mark and port.isascii() and port.isdigit() and len(port) < 6)
            or not _ADDRESS.fullmatch(address)
            or words[3][:1] != "("
            or words[3][-2:] != "):"
            or rd not in ("+", "-")
            or to[:1] != "("
            or to[-1:] != ")"
        ):
            return False
        clock = line[:24]
        if clock[:20] != self._second[0]:
            date = _STAMP.fullmatch(clock)
            if date is None:
                return False
            self._second = clock[:20], bind_time_ns(date[1], f"{date[2]}.000")
        if clock[20] != "." or not (clock[21:].isascii() and clock[21:].isdigit()):
            return False
        at_ns = self._second[1] + int(clock[21:]) * 1_000_000
        self._hold(words[5], words[7], "IN", address, port, rd, flags, at_ns, out)
        return True

    def _query(self, found: re.Match[str], now_ns: int, out: list[Event]) -> None:
        self._hold(
            found["name"], found["type"], found["class"], found["address"].lower(), found["port"],
            found["rd"], found["flags"], self._time(found, now_ns), out,
        )  # fmt: skip

    def _hold(
        self, name: str, rdtype: str, rdclass: str, address: str, port: str, rd: str, flags: str,
        at_ns: int, out: list[Event],
    ) -> None:  # fmt: skip
        """Make a query's event, which waits for the line that tells how it ended."""
        event = Event(
            at_ns=at_ns,
            role=self.role,
            source=self.source,
            client=address,
            client_port=int(port),
            # T is TCP, DoT or DoH: only its absence says something.
            transport=None if "T" in flags else Transport.UDP,
            qname=name_of(name),
            qtype=type_of(rdtype),
            qclass=1 if rdclass == "IN" else None,
            flags=(codes.RD if rd == "+" else 0) | (FLAG_STREAM if "T" in flags else 0),
            is_do="D" in flags,
        )
        key = (address, port, event.qname or "", event.qtype or 0)
        before = self._waiting.pop(key, None)
        if before is not None:
            out.append(before)
        self._waiting[key] = event
        if len(self._waiting) > _WAITING_MAX:
            out.append(self._waiting.popitem(last=False)[1])
        # Times may go back with the clock that wrote them.
        if not 0 <= at_ns - self._looked_ns < _LOOK_NS:
            self._looked_ns = at_ns
            while self._waiting:
                if at_ns - next(iter(self._waiting.values())).at_ns < _WAIT_NS:
                    break
                out.append(self._waiting.popitem(last=False)[1])

    def _ended(self, found: re.Match[str], now_ns: int, out: list[Event], rcode: int) -> bool:
        """Join a failure to the query it ended, or give it alone."""
        event = self._claim(found, now_ns)
        event.rcode = rcode
        reason = self._bogus.pop((event.qname or "", event.qtype or 0), "")
        if rcode == codes.REFUSED:
            event.cause = Cause.ACCESS
        elif reason:
            event.cause, event.validation = Cause.VALIDATION, Validation.BOGUS
            event.detail = reason
        elif found.groupdict().get("why") == "timed out":
            event.cause = Cause.REACHABILITY
        out.append(event)
        return True

    def _responded(self, found: re.Match[str], now_ns: int, out: list[Event]) -> bool:
        event = self._claim(found, now_ns)
        event.rcode = rcode_of(found["rcode"])
        event.answer_count = int(found["answer"])
        event.is_nodata = event.rcode == 0 and event.answer_count == 0
        out.append(event)
        return True

    def _claim(self, found: re.Match[str], now_ns: int) -> Event:
        """Take the query that a line is about, or make an event of the line itself."""
        address = found["address"].lower()
        qname, qtype = name_of(found["name"]), type_of(found["type"])
        event = self._waiting.pop((address, found["port"], qname, qtype), None)
        if event is not None:
            return event
        return Event(
            at_ns=self._time(found, now_ns), role=self.role, source=self.source, client=address,
            client_port=int(found["port"]), qname=qname, qtype=qtype,
        )  # fmt: skip

    def _complaint(self, found: re.Match[str], now_ns: int, out: list[Event]) -> None:
        """What a resolver says of another server: an upstream attempt that failed."""
        why, address = found["why"], found["address"].lower()
        key = name_of(found["name"]), type_of(found["type"])
        is_bogus = "verify" in why or "signature" in why or "broken trust" in why
        if is_bogus:
            self._bogus[key] = why
        out.append(
            Event(
                at_ns=self._time(found, now_ns), kind=Kind.UPSTREAM, role=Role.RECURSIVE,
                source=self.source, client=address, client_port=int(found["port"]),
                qname=key[0], qtype=key[1], upstream_family=6 if ":" in address else 4,
                cause=Cause.VALIDATION if is_bogus
                else Cause.DELEGATION if "lame" in why or "REFUSED" in why
                else Cause.REACHABILITY,
                detail=why,
            )
        )  # fmt: skip

    def _time(self, found: re.Match[str], now_ns: int) -> int:
        clock = found["clock"]
        if clock:
            stamp = found["date"] + clock[:8]
            if stamp != self._clock[0]:
                self._clock = stamp, bind_time_ns(found["date"], clock[:8] + ".000")
            return self._clock[1] + int(clock[9:]) * 1_000_000
        iso = found["iso"]
        return rfc3339_ns(iso if iso.endswith("Z") else f"{iso}Z") if iso else now_ns
