"""Settings as they are shown to people: each with its value and source, secrets left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quada.config.load import known_settings, read_settings

if TYPE_CHECKING:
    from quada.config.settings import Settings

_HIDDEN: Final = "(not shown)"


class Shown(NamedTuple):
    """One setting in effect: its path, its value as text, whether somebody set it, what it does."""

    path: str
    value: str
    is_set: bool
    doc: str


def without_secrets(settings: Settings) -> dict[str, Any]:
    """Give settings as tables; whatever is called a secret and is set is hidden."""
    tables: dict[str, Any] = _hide(asdict(settings))
    return tables


def shown_settings(settings: Settings) -> list[Shown]:
    """Give every setting in effect, in the order of the reference; lists of tables come last."""
    docs = {one.path: one.doc for one in known_settings()}
    defaults, whole = asdict(read_settings("")), asdict(settings)
    out, lists = [], []
    for table, values in without_secrets(settings).items():
        if isinstance(values, dict):
            for name, value in values.items():
                path, is_set = f"{table}.{name}", whole[table][name] != defaults[table][name]
                out.append(Shown(path, repr(value), is_set, docs.get(path, "")))
        elif isinstance(values, list | tuple):
            lists += [Shown(f"[[{table}]]", _row(one), True, "") for one in values]
    return out + lists


def _row(table: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} = {value!r}" for name, value in table.items() if value not in ("", ())
    )


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _HIDDEN if one and name.endswith("secret") else _hide(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_hide(one) for one in value)
    return value
