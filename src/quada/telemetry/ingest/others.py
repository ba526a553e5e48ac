"""CoreDNS, Unbound, PowerDNS and dnsmasq."""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from typing import ClassVar, Final

import quada.wire.codes as codes
from quada.telemetry.event import FLAG_STREAM, Cause, Event, Kind, Role, Validation
from quada.telemetry.ingest.parser import Parser, name_of, rcode_of, type_of
from quada.wire.ask import Transport

_WAITING_MAX: Final = 4_096
_TRANSPORTS: Final = {"udp": Transport.UDP, "tcp": Transport.TCP, "dot": Transport.DOT,
                      "doh": Transport.DOH, "https": Transport.DOH,
                      "quic": Transport.DOQ}  # fmt: skip
_FLAGS: Final = {"aa": codes.AA, "tc": codes.TC, "rd": codes.RD, "ra": codes.RA, "ad": codes.AD,
                 "cd": codes.CD}  # fmt: skip

_COREDNS: Final = re.compile(
    r"\[INFO\] (?P<address>\[[0-9a-fA-F:.%\w]+\]|[0-9.]+):(?P<port>\d+) - (?P<id>\d+) "
    r'"(?P<type>[A-Z][A-Z0-9-]*) (?P<class>\w+) (?P<name>.+) (?P<proto>udp|tcp|https|quic|grpc) '
    r'(?P<size>\d+) (?P<do>true|false) (?P<buffer>\d+)"(?: "\d+")? (?P<rcode>[A-Z]+|-) '
    r"(?P<flags>[a-z,]*-?) (?P<octets>\d+) (?P<took>[0-9.]+)s$"
)
_HOST: Final = re.compile(r"\[[0-9a-fA-F:.%\w]+\]|[0-9.]+")
_COREDNS_ERROR: Final = re.compile(
    r"\[ERROR\] plugin/errors: (?P<rcode>\d+) (?P<name>\S+) (?P<type>[A-Z][A-Z0-9-]*): (?P<why>.+)"
)


class CorednsParser(Parser):
    """CoreDNS's log and errors plugins. Its lines have no time of their own."""

    KEPT: ClassVar[tuple[str, ...]] = (*Parser.KEPT, "_reasons")

    def __init__(self, source: str, role: Role | None = None) -> None:
        super().__init__(source, role)
        self._reasons: OrderedDict[tuple[str, int], str] = OrderedDict()

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line; an error line goes with the query line that follows it."""
        at = line.find("[")
        words = line[at:].split(" ") if at >= 0 else []
        if len(words) == 15 and words[0] == "[INFO]" and words[2] == "-":
            # As nearly all lines are; the pattern takes twice as long.
            host, _, port = words[1].rpartition(":")
            rdtype, proto, took = words[4], words[7], words[14]
            if (
                rdtype[:1] == '"' and words[10][-1:] == '"' and took[-1:] == "s"
                and proto in _TRANSPORTS and port.isdigit() and _HOST.fullmatch(host)
                and words[13].isdigit()
            ):  # fmt: skip
                self._answered(
                    host, port, rdtype[1:], words[6], proto, words[9], words[11], words[12],
                    words[13], took[:-1], now_ns, out,
                )  # fmt: skip
                return True
        found = _COREDNS.match(line, at) if at >= 0 else None
        if found is None:
            error = _COREDNS_ERROR.match(line, at) if at >= 0 else None
            if error is not None:
                key = name_of(error["name"]), type_of(error["type"])
                self._reasons[key] = error["why"]
                while len(self._reasons) > _WAITING_MAX:
                    self._reasons.popitem(last=False)
                return True
            return line.startswith((".:", "CoreDNS-", "linux/", "[INFO] ", "[WARNING] ")) or (
                ":53" in line[:80] and "plugin" not in line and "client" not in line
            )
        self._answered(
            found["address"], found["port"], found["type"], found["name"], found["proto"],
            found["do"], found["rcode"], found["flags"], found["octets"], found["took"], now_ns,
            out,
        )  # fmt: skip
        return True

    def _answered(
        self, host: str, port: str, rdtype: str, name: str, proto: str, has_do: str,
        rcode_text: str, flags: str, octets: str, took: str, now_ns: int, out: list[Event],
    ) -> None:  # fmt: skip
        """Make the event of a query line."""
        rcode = rcode_of(rcode_text)
        qname, qtype = name_of(name), type_of(rdtype)
        reason = self._reasons.pop((qname, qtype), "") if rcode else ""
        out.append(
            Event(
                at_ns=now_ns, role=self.role, source=self.source,
                client=host.strip("[]").partition("%")[0].lower(), client_port=int(port),
                # tcp is DoT as well.
                transport=_TRANSPORTS.get(proto) if proto != "tcp" else None,
                qname=qname, qtype=qtype, rcode=rcode, is_do=has_do == "true",
                flags=_flags_of(flags) | (FLAG_STREAM if proto == "tcp" else 0),
                duration_us=int(float(took) * 1e6), response_octets=int(octets),
                cause=_cause(reason) if rcode == codes.SERVFAIL else None, detail=reason,
            )
        )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _flags_of(text: str) -> int:
    return sum(_FLAGS.get(word, 0) for word in text.split(","))


_UNBOUND: Final = re.compile(
    r"\[(?P<epoch>\d+)(?:\.\d+)?\] unbound\[\d+:[0-9a-f]+\] "
    r"(?:info|query|reply|error|notice|warning): "
)
_UNBOUND_LINE: Final = re.compile(
    r"(?P<address>[0-9a-fA-F.:]+)(?:@\d+)? (?P<name>\S+) (?P<type>[A-Z][A-Z0-9-]*) "
    r"(?P<class>[A-Z]+)"
    r"(?: (?P<rcode>[A-Z]+) (?P<took>[0-9.]+) (?P<cached>[01]) (?P<octets>\d+))?"
    r"(?: on (?P<proto>\w+) .*)?$"
)
_UNBOUND_FAILED: Final = re.compile(
    r"(?P<what>SERVFAIL|validation failure) <(?P<name>\S+) (?P<type>[A-Z][A-Z0-9-]*) "
    r"(?P<class>[A-Z]+)>: (?P<why>.+)"
)


class UnboundParser(Parser):
    """Unbound's log-queries, log-replies, log-servfail and val-log-level 2."""

    ROLE: ClassVar[Role | None] = Role.RECURSIVE
    KEPT: ClassVar[tuple[str, ...]] = (*Parser.KEPT, "_reasons")

    def __init__(self, source: str, role: Role | None = None) -> None:
        super().__init__(source, role)
        self._reasons: OrderedDict[tuple[str, int], tuple[Cause, str]] = OrderedDict()

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line: a reply is the event, a query line only waits for it."""
        head = _UNBOUND.match(line)
        if head is None:
            return False
        at_ns = int(head["epoch"]) * 1_000_000_000
        rest = line[head.end() :]
        failed = _UNBOUND_FAILED.match(rest)
        if failed is not None:
            is_bogus = failed["what"] == "validation failure"
            cause = Cause.VALIDATION if is_bogus else _cause(failed["why"])
            key = name_of(failed["name"]), type_of(failed["type"])
            known = self._reasons.get(key)
            if known is None or known[0] is not Cause.VALIDATION:
                self._reasons[key] = cause, failed["why"]
            while len(self._reasons) > _WAITING_MAX:
                self._reasons.popitem(last=False)
            return True
        found = _UNBOUND_LINE.match(rest)
        if found is None:
            return True  # a line of Unbound's own about something else
        qname, qtype = name_of(found["name"]), type_of(found["type"])
        key3 = found["address"].lower(), qname, qtype
        if found["rcode"] is None:
            self._waiting[key3] = self._event(found, at_ns, qname, qtype)
            while len(self._waiting) > _WAITING_MAX:
                out.append(self._waiting.popitem(last=False)[1])
            return True
        self._waiting.pop(key3, None)
        event = self._event(found, at_ns, qname, qtype)
        event.rcode = rcode_of(found["rcode"])
        event.duration_us = int(float(found["took"]) * 1e6)
        event.response_octets = int(found["octets"])
        if event.rcode == codes.SERVFAIL:
            event.cause, event.detail = self._reasons.get((qname, qtype), (Cause.UNKNOWN, ""))
            if event.cause is Cause.VALIDATION:
                event.validation = Validation.BOGUS
        out.append(event)
        return True

    def _event(self, found: re.Match[str], at_ns: int, qname: str, qtype: int) -> Event:
        proto = found["proto"]
        return Event(
            at_ns=at_ns, role=self.role, source=self.source, client=found["address"].lower(),
            qname=qname, qtype=qtype, transport=_TRANSPORTS.get(proto) if proto else None,
        )  # fmt: skip


_PAIR: Final = re.compile(r'([A-Za-z-]+)="((?:[^"\\]|\\.)*)"')
_QUOTED: Final = re.compile(r"\\(.)")
_ANSWERS: Final = ('Answer"', 'Question answered from packet cache"')
_PARTS_MAX: Final = 128  # our choice: a line of 4.8 has 49; longer ones are not remembered


class PdnsRecursorParser(Parser):
    """PowerDNS Recursor with quiet=no: structured pairs. It does not log the CD bit."""

    ROLE: ClassVar[Role | None] = Role.RECURSIVE

    def __init__(self, source: str, role: Role | None = None) -> None:
        super().__init__(source, role)
        self._layouts: dict[int, _Layout] = {}

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line."""
        at = line.find('msg="')
        if at < 0:
            return "pdns_recursor" in line or "PowerDNS" in line
        if not line.startswith(_ANSWERS, at + 5):
            return True  # of the server itself, or a question whose answer follows
        # Quotes in a value are escaped: a line without a backslash has none, and its every second
        # part is a value.
        parts = _escaped(line) if "\\" in line else line.split('"')
        keys = parts[2:-2:2]  # a value without an end is none
        layout = self._layouts.get(len(parts))
        if layout is None or layout.keys != keys:
            layout = _Layout(keys)
            if len(parts) < _PARTS_MAX:
                self._layouts[len(parts)] = layout
        if layout.qname < 0 or layout.qtype < 0:
            return True
        parts.append("")  # what a line does not say
        rcode_text, answers = parts[layout.rcode], parts[layout.answers]
        stamp, took, state = parts[layout.ts], parts[layout.totms], parts[layout.state]
        rcode = int(rcode_text) if rcode_text.isdigit() else None
        address, _, port = parts[layout.remote].rpartition(":")
        validation = _STATES.get(state)
        is_bogus = state.startswith("Bogus")
        cause = None
        if validation is None:
            validation = _STATES.get(state.partition(" ")[0])  # Bogus says why
        if is_bogus:
            cause = Cause.VALIDATION
        elif rcode == codes.SERVFAIL:
            is_late = parts[layout.timeouts] not in ("", "0")
            cause = Cause.REACHABILITY if is_late else Cause.UNKNOWN
        out.append(
            Event(
                at_ns=int(float(stamp) * 1e9) if stamp.replace(".", "").isdigit() else now_ns,
                role=self.role, source=self.source,
                client=address.strip("[]").lower() or None,
                client_port=int(port) if port.isdigit() else None,
                transport=_TRANSPORTS.get(parts[layout.proto]),
                qname=name_of(parts[layout.qname]), qtype=type_of(parts[layout.qtype]),
                rcode=codes.SERVFAIL if is_bogus else rcode,
                is_nodata=rcode == 0 and answers == "0" if answers.isdigit() else None,
                validation=validation, cause=cause,
                duration_us=int(float(took) * 1000) if took else None,
                detail=state if is_bogus else "",
            )
        )  # fmt: skip
        return True


class _Layout:
    """Where in a line the values stand that an event is made of; -1 for those it does not have.

    A server writes the same keys in the same order again and again: they are compared, not read.
    """

    def __init__(self, keys: list[str]) -> None:
        """Take what stands before each value but the first: a blank, the key, an equals sign."""
        places = {key.rpartition(" ")[2][:-1]: 3 + 2 * at for at, key in enumerate(keys)}
        self.keys = keys
        self.qname = places.get("qname", -1)
        self.qtype = places.get("qtype", -1)
        self.rcode = places.get("rcode", -1)
        self.answers = places.get("answers", -1)
        self.ts = places.get("ts", -1)
        self.totms = places.get("totms", -1)
        self.state = places.get("validationState", -1)
        self.remote = places.get("remote", -1)
        self.proto = places.get("proto", -1)
        self.timeouts = places.get("timeouts", -1)


def _escaped(line: str) -> list[str]:
    """Cut a line that escapes something as `split` cuts others: before each value its key."""
    parts = []
    for key, value in _PAIR.findall(line):
        parts += [f" {key}=", _QUOTED.sub(r"\1", value)]
    return [*parts, ""]


_STATES: Final = {"Secure": Validation.SECURE, "Insecure": Validation.INSECURE,
                  "Bogus": Validation.BOGUS, "Indeterminate": Validation.INDETERMINATE}  # fmt: skip
_PDNS_AUTH: Final = re.compile(
    r"(?P<tcp>TCP )?Remote (?P<address>[0-9a-fA-F.:]+)(?:<-\S+)? wants '(?P<name>.*)\|"
    r"(?P<type>[A-Z][A-Z0-9-]*)', do = (?P<do>[01]), bufsize = (?P<buffer>\d+)"
)


class PdnsAuthParser(Parser):
    """PowerDNS Authoritative Server with log-dns-queries: it does not log answers."""

    ROLE: ClassVar[Role | None] = Role.AUTHORITATIVE

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line."""
        at = line.find("Remote ")
        found = _PDNS_AUTH.search(line, max(0, at - 4)) if at >= 0 else None
        if found is None:
            return "wants '" not in line
        out.append(
            Event(
                at_ns=now_ns, role=self.role, source=self.source,
                client=found["address"].lower(),
                transport=Transport.TCP if found["tcp"] else Transport.UDP,
                qname=name_of(found["name"]), qtype=type_of(found["type"]),
                is_do=found["do"] == "1",
            )
        )  # fmt: skip
        return True


_DNSMASQ: Final = re.compile(
    r"(?:dnsmasq\[\d+\]: )?(?P<serial>\d+) (?P<address>[0-9a-fA-F.:]+)/(?P<port>\d+) "
    r"(?P<what>query\[(?:type=)?(?P<type>[A-Z0-9-]+)\]|[a-z-]+(?:\[\S+\])?|/\S+) "
    r"(?P<name>.+) (?P<rest>(?:from|to|is) .+)$"
)


class DnsmasqParser(Parser):
    """dnsmasq with log-queries=extra: a number joins the lines of one query."""

    ROLE: ClassVar[Role | None] = Role.RECURSIVE

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line; a query is given when the next begins or its end is told."""
        at = line.find("dnsmasq[")
        found = _DNSMASQ.match(line, max(at, 0))
        if found is None:
            return "dnsmasq" in line and "query[" not in line
        serial = found["serial"]
        if found["type"] is not None:
            self._waiting[serial] = Event(
                at_ns=now_ns, role=self.role, source=self.source,
                client=found["address"].lower(), client_port=int(found["port"]),
                # Its names are not escaped: a blank is one of the name.
                qname=name_of(found["name"].replace(" ", "\\032")),
                qtype=int(found["type"]) if found["type"].isdigit() else type_of(found["type"]),
            )  # fmt: skip
            while len(self._waiting) > _WAITING_MAX:
                out.append(self._waiting.popitem(last=False)[1])
            return True
        event = self._waiting.get(serial)
        if event is None:
            return True
        what, rest = found["what"], found["rest"]
        if what == "forwarded":
            event.upstream_family = 6 if ":" in rest else 4
        elif what == "validation":
            event.validation = {
                "SECURE": Validation.SECURE, "INSECURE": Validation.INSECURE,
                "BOGUS": Validation.BOGUS,
            }.get(rest.removeprefix("is ").partition(" ")[0])  # fmt: skip
        elif rest.startswith("is "):
            self._ended(event, rest[3:])
            out.append(self._waiting.pop(serial))
        return True

    @staticmethod
    def _ended(event: Event, what: str) -> None:
        word = what.partition(" ")[0]
        rcode = rcode_of(word)
        if word.startswith("NODATA"):
            event.rcode, event.is_nodata = 0, True
        elif rcode is not None:
            event.rcode, event.is_nodata = rcode, False
            if rcode == codes.SERVFAIL:
                is_bogus = event.validation is Validation.BOGUS
                event.cause = Cause.VALIDATION if is_bogus else Cause.UNKNOWN
        elif word != "<CNAME>":
            event.rcode, event.is_nodata = 0, False


_DEGRADED: Final = re.compile(
    r"Using degraded feature set (?P<set>\S+) instead of (?P<full>\S+) for DNS server "
    r"(?P<address>[0-9a-fA-F.:]+)"
)


class ResolvedParser(Parser):
    """systemd-resolved's complaints of its servers: trouble seen from the client's side."""

    ROLE: ClassVar[Role | None] = Role.RECURSIVE

    def parse_line(self, line: str, now_ns: int, out: list[Event]) -> bool:
        """Parse one line."""
        found = _DEGRADED.search(line)
        if found is None:
            return "DNS server" in line or "systemd-resolved" in line
        address = found["address"].rstrip(".").lower()
        out.append(
            Event(
                at_ns=now_ns, kind=Kind.UPSTREAM,
                role=self.role, source=self.source, client=address,
                upstream_family=6 if ":" in address else 4, cause=Cause.REACHABILITY,
                detail=f"degraded to {found['set']}",
            )
        )  # fmt: skip
        return True


def _cause(reason: str) -> Cause:
    """Split causes by what servers write."""
    if not reason:
        return Cause.UNKNOWN
    low = reason.lower()
    if any(word in low for word in ("signature", "validation", "bogus", "dnssec", "trust")):
        return Cause.VALIDATION
    if any(
        word in low
        for word in ("timeout", "timed out", "unreachable", "refused the", "connection refused",
                     "no route", "servers failed", "upstream server")
    ):  # fmt: skip
        return Cause.REACHABILITY
    if "lame" in low or "refused" in low or "delegation" in low:
        return Cause.DELEGATION
    return Cause.UNKNOWN
