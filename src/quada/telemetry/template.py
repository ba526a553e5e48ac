"""A user's own text for an alert: `$summary` and its like are replaced, and nothing else is done.

No expressions, no attributes, no code: Python's string.Template with a fixed list of names, and
every value and the whole bounded. Where the text is JSON, values are escaped for JSON strings.
"""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final = (
    "what", "number", "kind", "scope", "key", "state", "summary", "compared", "cause", "where",
    "evidence", "next_command", "opened_at", "closed_at",
)  # fmt: skip
_TEXT_MAX: Final = 10_000  # characters of a template
_VALUE_MAX: Final = 2_000
_WHOLE_MAX: Final = 60_000


def check_template(text: str, place: str) -> None:
    """Raise ConfigFault for a template that could not be filled."""
    if len(text) > _TEXT_MAX:
        raise ConfigFault(f"{len(text)} characters are too many", place=place)
    template = string.Template(text)
    unknown = sorted(set(template.get_identifiers()) - set(NAMES)) if template.is_valid() else ["$"]
    if unknown:
        raise ConfigFault(
            f"${unknown[0].lstrip('$')} stands for nothing", place=place,
            remedy=f"one of {', '.join(f'${name}' for name in NAMES)}; $$ is a dollar",
        )  # fmt: skip
    if is_json(text):
        try:
            json.loads(fill(text, {}))
        except ValueError as error:
            raise ConfigFault(f"it begins as JSON and is none: {error}", place=place) from error


def is_json(text: str) -> bool:
    """Whether a template is of JSON: then values are escaped."""
    return text.lstrip()[:1] in ("{", "[")


def fill(text: str, body: Mapping[str, Any]) -> str:
    """Fill a template that was checked with what an alert says."""
    values = {name: _shown(name, body.get(name)) for name in NAMES}
    if is_json(text):
        values = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    return string.Template(text).safe_substitute(values)[:_WHOLE_MAX]


def _shown(name: str, value: Any) -> str:
    if name == "number":
        return str(value or 0)  # may stand in JSON without quotes
    if value is None:
        return ""
    if name.endswith("_at"):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, list | tuple):
        value = "; ".join(str(one) for one in value)
    # What strangers chose never reaches a terminal or a header raw.
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))
    return text[:_VALUE_MAX]
