"""BIND's named.conf read and taken over (BIND 9 Administrator Reference Manual, 8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.config.imported import Imported, ImportedZone
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)|(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<mark>[{};])|(?P<word>(?:(?!/[/*])[^\s{};"\#])+)""",
    re.VERBOSE | re.DOTALL,
)
_MAX_DEPTH: Final = 32  # our choice because real configurations nest about five deep
_MAX_INCLUDES: Final = 100  # our choice because a file that includes itself must end

_NO_NEED: Final = {
    "dnssec-validation": "validation is the resolver's and is on; the authority has no need of it",
    "pid-file": "the supervisor keeps no pid file",
    "managed-keys-directory": "the resolver keeps its trust anchors in the store",
    "auth-nxdomain": "answers follow RFC 1035; the setting was for very old clients",
    "session-keyfile": "updates use keys of the configuration",
    "querylog": "the event log is always on",
    "empty-zones-enable": "the resolver answers RFC 6303 zones by itself",
    "minimal-responses": "responses are minimal",
    "max-cache-size": "set the resolver's cache size by hand",
    "version": "CHAOS version is not given away by default",
    "edns-udp-size": "the size is 1232",
    "max-udp-size": "the size is 1232",
    "dump-file": "there is no dump file: `quada zone export`",
    "statistics-file": "metrics are served in Prometheus form",
}


class Word(NamedTuple):
    """A word of a statement and its line."""

    text: str
    line: int


class Statement(NamedTuple):
    """Words and blocks up to a semicolon: `zone "example.com" IN { ... };`"""

    words: list[Word]
    blocks: list[list[Statement]]
    line: int
    file: str

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0].text if self.words else ""

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.file}:{self.line}"

    def values(self) -> list[str]:
        """The words after the first."""
        return [word.text for word in self.words[1:]]

    def entries(self) -> list[str]:
        """The elements of the first block, each as its words joined."""
        block = self.blocks[0] if self.blocks else []
        return [" ".join(word.text for word in inner.words) for inner in block if inner.words]


def parse_named_conf(text: str, file: str = "named.conf") -> list[Statement]:
    """Parse named.conf text into statements. Raises: ConfigFault with file:line."""
    tokens = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConfigFault("a quote or comment is never closed", place=f"{file}:{line}")
        if match.lastgroup != "blank":
            tokens.append((match.lastgroup, match[0], line))
        line += match[0].count("\n")
        at = match.end()
    tokens.reverse()  # a stack: the next token is the last
    return _block(tokens, file, 0)


def _block(tokens: list[tuple[str | None, str, int]], file: str, depth: int) -> list[Statement]:
    if depth > _MAX_DEPTH:
        raise ConfigFault(f"blocks nest deeper than {_MAX_DEPTH}", place=file)
    statements = []
    words: list[Word] = []
    blocks: list[list[Statement]] = []
    start = 0
    line = 1
    while tokens:
        kind, text, line = tokens.pop()
        start = start or line
        if kind != "mark":
            words.append(Word(text[1:-1] if kind == "quoted" else text, line))
        elif text == "{":
            blocks.append(_block(tokens, file, depth + 1))
        elif text == ";":
            if words or blocks:
                statements.append(Statement(words, blocks, start, file))
            words, blocks, start = [], [], 0
        elif depth:
            if words or blocks:
                raise ConfigFault("a statement lacks its semicolon", place=f"{file}:{line}")
            return statements
        else:
            raise ConfigFault("closing brace without an open one", place=f"{file}:{line}")
    if depth or words or blocks:
        what = "a brace is never closed" if depth else "the last statement lacks its semicolon"
        raise ConfigFault(what, place=f"{file}:{start or line}")
    return statements


def import_bind(
    text: str, *, file: str = "named.conf", include: Callable[[str], str] | None = None
) -> Imported:
    """Take over a named.conf.

    Takes: its text, the name to call it, and `include`, which gives the text of an included file.
    Raises: ConfigFault where the text cannot be parsed.
    """
    importer = _Importer(include)
    importer.read(parse_named_conf(text, file))
    importer.finish()
    return importer.out


class _Importer:
    def __init__(self, include: Callable[[str], str] | None) -> None:
        self.out = Imported()
        self.include = include
        self.acls: dict[str, list[str]] = {}
        self.directory = ""
        self.includes = 0
        self.defaults: dict[str, list[str]] = {}
        self.zones: list[tuple[Statement, str]] = []

    def read(self, statements: list[Statement], view: str = "") -> None:
        for statement in statements:
            if statement.name == "include":
                self._include(statement, view)
            elif statement.name == "options":
                for inner in statement.blocks[0] if statement.blocks else ():
                    self._option(inner)
            elif statement.name == "acl" and len(statement.words) > 1:
                self.acls[statement.words[1].text] = statement.entries()
                self.out.say("taken", f"acl {statement.words[1].text}", statement.place)
            elif statement.name == "key" and len(statement.words) > 1:
                self._key(statement)
            elif statement.name == "view":
                name = statement.words[1].text if len(statement.words) > 1 else ""
                reason = "quada answers all clients alike; the view's zones are taken, first wins"
                self.out.say("ignored", f"view {name}", statement.place, reason)
                self.read(statement.blocks[0] if statement.blocks else [], name)
            elif statement.name == "zone":
                self.zones.append((statement, view))
            elif view and statement.name.startswith(("match-", "allow-", "recursion")):
                reason = "conditions of views have no counterpart"
                self.out.say("ignored", statement.name, statement.place, reason)
            else:
                reason = {
                    "logging": "the event log has its own settings",
                    "controls": "`quada` talks to the server over a unix socket",
                    "statistics-channels": "metrics are served in Prometheus form",
                    "trust-anchors": "the resolver follows the root's anchors (RFC 5011)",
                }.get(statement.name, "not known to this importer")
                self.out.say("ignored", statement.name, statement.place, reason)

    def _include(self, statement: Statement, view: str) -> None:
        path = " ".join(statement.values())
        self.includes += 1
        if self.include is None or self.includes > _MAX_INCLUDES:
            self.out.say("ignored", f"include {path}", statement.place, "not followed here")
            return
        try:
            text = self.include(path)
        except OSError as error:
            self.out.say("ignored", f"include {path}", statement.place, f"{error.strerror}")
            return
        self.out.say("taken", f"include {path}", statement.place)
        self.read(parse_named_conf(text, path), view)

    def _option(self, option: Statement) -> None:
        name, out = option.name, self.out
        value = " ".join(option.values())
        if name == "directory":
            self.directory = value
            out.say("taken", f"directory {value}", option.place)
        elif name in ("listen-on", "listen-on-v6"):
            self._listen(option)
        elif name in ("allow-transfer", "also-notify"):
            entries = self._addresses(option)
            is_rule = name == "allow-transfer"
            self.defaults[name] = entries if is_rule else [_endpoint(one) for one in entries]
            out.say("taken", name, option.place)
        elif name == "recursion":
            if value in ("yes", "true", "1"):
                out.resolver["listen"] = ["[::1]:5301"]
                reason = "roles are separate: the resolver has its own listener, set its address"
                out.say("translated", "recursion yes", option.place, reason)
            else:
                out.say("taken", "recursion no", option.place, "the authority never recurses")
        elif name == "forwarders":
            forward = out.resolver.setdefault("forward", [])
            forward += [_endpoint(entry) for entry in self._addresses(option)]
            out.say("translated", name, option.place, "resolver.forward")
        elif name in ("allow-recursion", "allow-query-cache"):
            out.resolver["allow"] = _prefixes(self._addresses(option))
            out.say("translated", name, option.place, "resolver.allow")
        elif name == "dns64":
            out.resolver.setdefault("dns64", []).append(value)
            out.say("translated", f"dns64 {value}", option.place, "resolver.dns64")
        elif name == "rate-limit":
            self._rate_limit(option)
        elif name == "allow-query" and option.entries() in (["any"], []):
            out.say("taken", "allow-query any", option.place, "the authority answers everybody")
        else:
            reason = _NO_NEED.get(name, "no counterpart; see docs/migrate-bind.md")
            out.say("ignored", f"{name} {value}".strip(), option.place, reason)

    def _listen(self, option: Statement) -> None:
        words = option.values()
        port = words[words.index("port") + 1] if "port" in words[:-1] else "53"
        is_v6 = option.name == "listen-on-v6"
        for entry in self._addresses(option):
            if entry == "none":
                continue
            address = ("::" if is_v6 else "0.0.0.0") if entry == "any" else entry
            if entry in ("localhost", "localnets") or entry.startswith("!"):
                reason = "write the addresses"
                self.out.say("ignored", f"{option.name} {entry}", option.place, reason)
                continue
            self.out.listen.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        self.out.say("taken", option.name, option.place)

    def _rate_limit(self, option: Statement) -> None:
        for inner in option.blocks[0] if option.blocks else ():
            value = " ".join(inner.values())
            if inner.name == "responses-per-second" and value.isdigit():
                self.out.authority["rrl_per_second"] = int(value)
                self.out.say("translated", "rate-limit", inner.place, "authority.rrl_per_second")
            else:
                reason = "limits count per /56 and /24 with a slip of 2"
                self.out.say("ignored", f"rate-limit {inner.name}", inner.place, reason)

    def _key(self, statement: Statement) -> None:
        key = {"name": statement.words[1].text}
        for inner in statement.blocks[0] if statement.blocks else ():
            if inner.name in ("algorithm", "secret"):
                key[inner.name] = " ".join(inner.values())
        self.out.keys.append(key)
        self.out.say("taken", f"key {key['name']}", statement.place)

    def _addresses(self, statement: Statement, depth: int = 0) -> list[str]:
        """Give a list's entries with ACL names expanded."""
        out = []
        for entry in statement.entries():
            expanded = self.acls.get(entry)
            out.extend(expanded if expanded is not None else [entry])
        return out

    def finish(self) -> None:
        """Make the zones, once all ACLs and options are known, whatever their order."""
        seen: set[str] = set()
        for statement, view in self.zones:
            name = statement.words[1].text if len(statement.words) > 1 else "."
            key = name.lower().rstrip(".")
            if key in seen:
                reason = f"the zone was taken before{f', outside view {view}' if view else ''}"
                self.out.say("ignored", f"zone {name}", statement.place, reason)
                continue
            if self._zone(statement, name):
                seen.add(key)
        if not self.out.listen:
            # BIND listens on all addresses of both families unless told otherwise.
            self.out.listen = ["[::]:53", "0.0.0.0:53"]
        self.out.listen.sort(key=lambda text: not text.startswith("["))

    def _zone(self, statement: Statement, name: str) -> bool:
        zone = ImportedZone(name=name.rstrip(".") or ".")
        inners = statement.blocks[0] if statement.blocks else []
        kind = next((" ".join(i.values()) for i in inners if i.name == "type"), "primary")
        if kind in ("slave", "secondary", "mirror"):
            zone.role = "secondary"
        elif kind == "forward":
            to = [entry for i in inners if i.name == "forwarders" for entry in self._addresses(i)]
            forward = self.out.resolver.setdefault("forward", [])
            forward += [f"{zone.name}={_endpoint(entry)}" for entry in to]
            reason = "resolver.forward"
            self.out.say("translated", f"zone {name}", statement.place, reason)
            return False
        elif kind not in ("master", "primary"):
            reason = "the resolver knows the root" if kind == "hint" else f"type {kind} is not kept"
            self.out.say("ignored", f"zone {name}", statement.place, reason)
            return False
        zone.allow_transfer = self.defaults.get("allow-transfer", [])
        zone.also_notify = self.defaults.get("also-notify", [])
        for inner in inners:
            self._zone_option(zone, inner)
        self.out.zones.append(zone)
        self.out.say("taken", f"zone {name} ({zone.role})", statement.place)
        return True

    def _zone_option(self, zone: ImportedZone, inner: Statement) -> None:
        value = " ".join(inner.values())
        if inner.name == "file":
            zone.file = value if value.startswith("/") else f"{self.directory or '.'}/{value}"
        elif inner.name in ("masters", "primaries"):
            zone.primaries = [_endpoint(entry) for entry in self._addresses(inner)]
        elif inner.name == "also-notify":
            zone.also_notify = [_endpoint(entry) for entry in self._addresses(inner)]
        elif inner.name in ("allow-transfer", "allow-update"):
            setattr(zone, inner.name.replace("-", "_"), self._addresses(inner))
        elif inner.name != "type":
            reason = "see `quada zone` for signing and updates of a zone"
            self.out.say("ignored", f"{zone.name}: {inner.name} {value}", inner.place, reason)


def _endpoint(entry: str) -> str:
    """Write `ADDRESS port N key K` as an address of ours; keys are set apart."""
    words = entry.split()
    if "port" not in words[:-1]:
        return words[0]
    address, port = words[0], words[words.index("port") + 1]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _prefixes(entries: list[str]) -> list[str]:
    """Write an address match list as prefixes; what only the other server knows is left out."""
    words = {
        "any": ["::/0", "0.0.0.0/0"],
        "localhost": ["::1/128", "127.0.0.0/8"],
        "localnets": ["fe80::/10", "169.254.0.0/16"],
        "none": [],
    }
    return [
        prefix
        for entry in entries
        if not entry.startswith(("!", "key"))
        for prefix in words.get(entry, [entry])
    ]
