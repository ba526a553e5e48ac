"""Read settings from TOML, or say what is wrong, in which line, and what was probably meant."""

from __future__ import annotations

import difflib
import re
import tomllib
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from quada.config.settings import VERSION, Settings
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import Field

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\"'-]+)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\"'-]+)\s*=")


class Known(NamedTuple):
    """One documented setting, for `config explain` and the reference."""

    path: str
    kind: str
    default: Any
    doc: str
    unit: str
    choices: tuple[str, ...]


def read_settings(text: str, place: str = "quada.toml") -> Settings:
    """Read a configuration. Raises: ConfigFault with file:line and the key path."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at = f"{place}:{line.group(1)}" if line else place
        raise ConfigFault(str(error), place=at, remedy="see toml.io for the syntax") from error
    where = _Lines(text, place)
    if data.get("version", VERSION) != VERSION:
        raise ConfigFault(
            f"version {data['version']!r} is not known", place=where.of("version"),
            remedy=f"this quada reads version {VERSION}",
        )  # fmt: skip
    made = _section(Settings, data, "", where)
    assert isinstance(made, Settings)
    return made


def known_settings() -> list[Known]:
    """Give every setting there is, in the order of their definition."""
    return list(_walk(Settings, ""))


def _walk(kind: type, prefix: str) -> Iterator[Known]:
    hints = typing.get_type_hints(kind)
    for one in fields(kind):
        path = f"{prefix}{one.name}"
        hint = hints[one.name]
        inner = _member_type(hint)
        if is_dataclass(hint):
            yield from _walk(typing.cast("type", hint), f"{path}.")
        elif inner is not None and is_dataclass(inner):
            yield from _walk(inner, f"{path}[].")
        else:
            meta = one.metadata
            yield Known(
                path, _type_name(hint), _default(one), meta["doc"], meta["unit"], meta["choices"]
            )


def _section(kind: type, data: dict[str, Any], prefix: str, where: _Lines) -> Any:
    """Make a dataclass of a table."""
    hints = typing.get_type_hints(kind)
    by_name = {one.name: one for one in fields(kind)}
    values = {}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in by_name:
            near = difflib.get_close_matches(key, by_name, 1, 0.5)
            raise ConfigFault(
                f"there is no setting {path}",
                place=where.of(path),
                remedy=f"did you mean {prefix}{near[0]}?" if near else
                f"known here: {', '.join(by_name)}",
            )  # fmt: skip
        values[key] = _value(hints[key], value, path, where, by_name[key])
    return kind(**values)


def _value(hint: Any, value: Any, path: str, where: _Lines, one: Field[Any]) -> Any:
    inner = _member_type(hint)
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise _wrong(path, where, "a table")
        return _section(typing.cast("type", hint), value, f"{path}.", where)
    if inner is not None:
        if not isinstance(value, list):
            raise _wrong(path, where, "a list")
        if is_dataclass(inner):
            return tuple(
                _section(inner, item, f"{path}[{n}].", where) for n, item in enumerate(value)
            )
        if not all(isinstance(item, inner) for item in value):
            raise _wrong(path, where, f"a list of {_type_name(inner)}s")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(path, where, f"a {_type_name(hint)}")
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        raise _wrong(path, where, "0 or more")
    choices = one.metadata["choices"]
    if choices and value not in choices:
        raise _wrong(path, where, " or ".join(choices))
    return value


def _wrong(path: str, where: _Lines, wanted: str) -> ConfigFault:
    return ConfigFault(
        f"{path} has the wrong value", place=where.of(path), remedy=f"it wants {wanted}"
    )


def _member_type(hint: Any) -> type | None:
    """Give X of tuple[X, ...], else None."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and len(arguments) == 2:
        return typing.cast("type", arguments[0])
    return None


def _type_name(hint: Any) -> str:
    inner = _member_type(hint)
    if inner is not None:
        return f"list of {_type_name(inner)}s"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}.get(hint, "table")


def _default(one: Field[Any]) -> Any:
    return None if one.default is MISSING else one.default


class _Lines:
    """Where keys stand in a TOML text: enough of its syntax to point at a line."""

    def __init__(self, text: str, place: str) -> None:
        self._place = place
        self._lines: dict[str, int] = {}
        counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            header = _HEADER.match(line)
            key = _KEY.match(line)
            if header:
                name = self._full(header.group(2).replace('"', ""), counts)
                if header.group(1) == "[[":
                    counts[name] = counts.get(name, -1) + 1
                    name = f"{name}[{counts[name]}]"
                table = f"{name}."
                self._lines.setdefault(name, number)
            elif key:
                self._lines.setdefault(table + key.group(1).strip("\"'"), number)

    def of(self, path: str) -> str:
        """Give file:line of a key path, or of the nearest table above it."""
        while path and path not in self._lines:
            path = path.rpartition(".")[0]
        line = self._lines.get(path)
        return f"{self._place}:{line}" if line else self._place

    @staticmethod
    def _full(name: str, counts: dict[str, int]) -> str:
        """Put the index of the latest array element into a dotted name."""
        parts = name.split(".")
        for end in range(1, len(parts)):
            prefix = ".".join(parts[:end])
            if prefix in counts:
                parts[end - 1] = f"{parts[end - 1]}[{counts[prefix]}]"
        return ".".join(parts)
