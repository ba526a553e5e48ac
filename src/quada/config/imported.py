"""What an importer makes of another server's configuration: settings, zones, and an account.

Nothing is dropped in silence: every statement ends up in the account as taken, translated or
ignored, with its line and a reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One statement's fate: `taken`, `translated` or `ignored`; where it stands; why."""

    fate: str
    what: str
    place: str
    reason: str = ""


@dataclass
class ImportedZone:
    """A zone of the old configuration, in quada's words."""

    name: str
    role: str = "primary"
    file: str = ""
    primaries: list[str] = field(default_factory=list)
    allow_transfer: list[str] = field(default_factory=list)
    allow_update: list[str] = field(default_factory=list)
    also_notify: list[str] = field(default_factory=list)


@dataclass
class Imported:
    """A whole configuration taken over."""

    listen: list[str] = field(default_factory=list)
    zones: list[ImportedZone] = field(default_factory=list)
    resolver: dict[str, Any] = field(default_factory=dict)
    authority: dict[str, Any] = field(default_factory=dict)
    keys: list[dict[str, str]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def say(self, fate: str, what: str, place: str, reason: str = "") -> None:
        """Enter a statement into the account."""
        self.lines.append(Line(fate, what, place, reason))


def write_toml(imported: Imported, source: str) -> str:
    """Write the configuration as quada's TOML."""
    out = [f"# Taken over from {source} by `quada import`.", "version = 1", ""]
    authority = {"listen": imported.listen or ["[::]:53", "0.0.0.0:53"], **imported.authority}
    out += ["[authority]", *_pairs(authority), ""]
    if imported.resolver:
        out += ["[resolver]", *_pairs(imported.resolver), ""]
    for key in imported.keys:
        out += ["[[key]]", *_pairs(key), ""]
    for zone in imported.zones:
        out += ["[[zone]]", *_pairs({k: v for k, v in vars(zone).items() if v}), ""]
    return "\n".join(out)


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # A JSON string, number or boolean is also a TOML one, but for DEL, which TOML wants escaped.
    return json.dumps(value).replace("\x7f", "\\u007f")
