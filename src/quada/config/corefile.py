"""CoreDNS's Corefile read and taken over (coredns.io/manual)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from quada.config.imported import Imported, ImportedZone
from quada.wire.faults import ConfigFault

_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|#.*|\S+')
_MAX_DEPTH: Final = 16  # our choice because plugins nest two deep

_BUILT_IN: Final = {
    "log": "every query is in the event log",
    "errors": "faults are in the event log",
    "reload": "changed zone files are noticed",
    "cache": "the authority needs none; the resolver has its own",
    "health": "health is part of the API",
    "ready": "readiness is part of the API",
    "prometheus": "metrics are served in Prometheus form",
    "minimal": "responses are minimal",
    "loadbalance": "addresses are rotated",
    "nsid": "set the server's identity by hand",
    "bufsize": "the size is 1232",
    "any": "ANY is answered as RFC 8482 asks",
    "whoami": "no counterpart",
    "debug": "no counterpart",
    "loop": "the authority forwards nothing",
}


class Directive(NamedTuple):
    """A line of the Corefile and the block it opens."""

    words: list[str]
    block: list[Directive]
    line: int


def parse_corefile(text: str, file: str = "Corefile") -> list[Directive]:
    """Parse Corefile text: lines of words, a trailing `{` opens a block. Raises: ConfigFault."""
    top: list[Directive] = []
    stack = [top]
    for number, line in enumerate(text.split("\n"), start=1):
        words = [word for word in _WORD.findall(line) if not word.startswith("#")]
        while words and words[0] == "}":
            words.pop(0)
            if len(stack) == 1:
                raise ConfigFault("closing brace without an open one", place=f"{file}:{number}")
            stack.pop()
        is_closed = len(words) > 1 and words[-1] == "}"
        opens = bool(words) and words[-1] == "{"
        if is_closed and "{" in words:
            # `plugin { a b }` on one line.
            at = words.index("{")
            inner = [Directive(words[at + 1 : -1], [], number)] if words[at + 1 : -1] else []
            stack[-1].append(Directive(_plain(words[:at]), inner, number))
            continue
        if not words:
            continue
        directive = Directive(_plain(words[:-1] if opens else words), [], number)
        stack[-1].append(directive)
        if opens:
            if len(stack) > _MAX_DEPTH:
                raise ConfigFault(f"blocks nest deeper than {_MAX_DEPTH}", place=f"{file}:{number}")
            stack.append(directive.block)
    if len(stack) > 1:
        raise ConfigFault(
            "a brace is never closed", place=f"{file}:{stack[-2][-1].line}", remedy="add }"
        )
    return top


def _plain(words: list[str]) -> list[str]:
    return [word[1:-1] if len(word) > 1 and word[0] == '"' else word for word in words]


def import_corefile(text: str, *, file: str = "Corefile") -> Imported:
    """Take over a Corefile. Raises: ConfigFault where the text cannot be parsed."""
    out = Imported()
    snippets: dict[str, list[Directive]] = {}
    listen: dict[str, None] = {}
    for block in parse_corefile(text, file):
        place = f"{file}:{block.line}"
        if len(block.words) == 1 and block.words[0].startswith("("):
            snippets[block.words[0].strip("()")] = block.block
            out.say("taken", f"snippet {block.words[0]}", place)
            continue
        keys = [key for word in block.words for key in word.split(",") if key]
        zones, port = _server_keys(out, keys, place)
        plugins = []
        for plugin in block.block:
            name = plugin.words[1] if plugin.words[:1] == ["import"] and plugin.words[1:] else ""
            plugins += snippets.get(name, [plugin])
        addresses = [a for p in plugins if p.words[:1] == ["bind"] for a in p.words[1:]]
        for address in addresses or ["::", "0.0.0.0"]:
            listen[f"[{address}]:{port}" if ":" in address else f"{address}:{port}"] = None
        out.say("taken", f"server block {' '.join(block.words)}", place)
        for plugin in plugins:
            _plugin(out, plugin, zones, f"{file}:{plugin.line}")
    out.listen = sorted(listen, key=lambda text: not text.startswith("["))
    return out


def _server_keys(out: Imported, keys: list[str], place: str) -> tuple[list[str], str]:
    """Give zone names and the port of a server block's keys: `dns://example.com:53`."""
    zones = []
    port = "53"
    for key in keys:
        scheme, mark, rest = key.partition("://")
        if mark and scheme != "dns":
            reason = f"{scheme} listeners need a certificate: set them by hand"
            out.say("ignored", key, place, reason)
        name = rest if mark else key
        if re.fullmatch(r".*:\d+", name):
            name, _, port = name.rpartition(":")
        zones.append(name.rstrip(".") or ".")
    return zones, port


def _plugin(out: Imported, plugin: Directive, zones: list[str], place: str) -> None:
    name, values = plugin.words[0] if plugin.words else "", plugin.words[1:]
    text = " ".join(plugin.words)
    if name == "bind":
        out.say("taken", text, place)
    elif name == "file" and values:
        for zone in values[1:] or zones:
            out.zones.append(ImportedZone(name=zone.rstrip(".") or ".", file=values[0]))
        out.say("taken", text, place)
    elif name == "secondary":
        primaries = [
            w for d in plugin.block if d.words[:2] == ["transfer", "from"] for w in d.words[2:]
        ]
        for zone in values or zones:
            out.zones.append(ImportedZone(name=zone, role="secondary", primaries=primaries))
        out.say("taken", text, place)
    elif name == "transfer":
        to = [word for d in plugin.block if d.words[:1] == ["to"] for word in d.words[1:]]
        for imported in out.zones:
            if imported.name in (values or zones):
                imported.allow_transfer = ["any" if word == "*" else word for word in to]
                imported.also_notify = [word for word in to if word != "*"]
        out.say("translated", text, place, "allow_transfer and also_notify of the zones above")
    elif name == "auto":
        directory = next(
            (" ".join(d.words[1:2]) for d in plugin.block if d.words[:1] == ["directory"]), ""
        )
        out.authority["zone_directories"] = [directory]
        out.say("translated", text, place, "authority.zone_directories: files named db.ZONE")
    elif name == "forward" and len(values) > 1:
        to = [word for word in values[1:] if not word.startswith("/")]
        if values[0] == ".":
            out.resolver["forward"] = to
        else:
            forward = out.resolver.setdefault("forward", [])
            forward += [f"{values[0]}={address}" for address in to]
        reason = "the resolver forwards, on its own listener"
        out.say("translated", text, place, reason)
    elif name == "dns64":
        prefix = next(
            (d.words[1] for d in plugin.block if d.words[:1] == ["prefix"] and d.words[1:]), ""
        )
        out.resolver.setdefault("dns64", []).append(prefix or (values or ["64:ff9b::/96"])[0])
        out.say("translated", text, place, "resolver.dns64")
    else:
        fate = (
            "translated"
            if name in ("log", "errors", "reload", "cache", "prometheus")
            else "ignored"
        )
        out.say(
            fate, text, place, _BUILT_IN.get(name, "no counterpart; see docs/migrate-coredns.md")
        )
