"""Events read back from the store, and those that come into it while somebody looks on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quada.store.events import Segment
from quada.store.rows import TABLES, event_of
from quada.wire.faults import ReachFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from quada.telemetry.event import Event
    from quada.telemetry.filter import Term

_CHUNK: Final = 2_000
_TRIES: Final = 5
_SLACK_S: Final = 3600  # a clock that was set back must hide nothing
_COLUMNS: Final = ", ".join(TABLES["events"])
_OF_TERM: Final = {"ipv6": 6, "ipv4": 4}


class History:
    """The stored events of one directory, as of the last call. Raises: ReachFault without a store.

    `positions` says how far the store has read each source, with exactly the events that it gave.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[str] = set()
        self.positions: dict[str, Any] = {}

    def since(self, since_ns: int, terms: Sequence[Term] = ()) -> Iterator[Event]:
        """Give the events from a time on, in the order of time, that may fit terms.

        What terms need no reading of is left out early; the others are the caller's to leave out.
        """
        for left in range(_TRIES, 0, -1):
            segments = self._look()
            young = [s for s in segments if s.stored_at_s >= since_ns // 10**9 - _SLACK_S]
            try:
                yield from self._read(young, since_ns, terms)
                return
            except _Gone as gone:
                if left == 1:
                    raise ReachFault(str(gone), place=str(self._directory)) from gone

    def fresh(self, terms: Sequence[Term] = ()) -> list[Event]:
        """Give the events that were stored since the last call, or since `since` was asked."""
        before = self._seen
        for _ in range(_TRIES):
            segments = self._look()
            # What takes the place of others brings nothing new: their directory has lost some.
            shrunk = {str(Path(path).parent) for path in before - self._seen}
            new = [
                one
                for one in segments
                if one.path not in before and str(Path(one.path).parent) not in shrunk
            ]
            with contextlib.suppress(_Gone):
                return list(self._read(new, 0, terms))
        return []

    def _look(self) -> list[Segment]:
        try:
            text = (self._directory / "manifest.json").read_text(encoding="utf-8")
            manifest = json.loads(text)
        except (OSError, ValueError) as error:
            raise ReachFault("no events are kept here", place=str(self._directory)) from error
        self.positions = manifest["positions"]
        segments = [Segment(*one) for one in manifest["segments"]]
        found = [one for one in segments if one.table == "events"]
        self._seen = {one.path for one in found}
        return found

    def _read(
        self, segments: Iterable[Segment], since_ns: int, terms: Sequence[Term]
    ) -> Iterator[Event]:
        import duckdb

        paths = [str(self._directory / one.path) for one in segments]
        if not paths:
            return
        where, values = condition(terms)
        with contextlib.closing(duckdb.connect(config={"threads": 1})) as connection:
            try:
                found = connection.execute(
                    f"SELECT {_COLUMNS} FROM read_parquet(?, hive_partitioning=false)"
                    f" WHERE at_ns >= ?{where} ORDER BY at_ns",
                    [paths, since_ns, *values],
                )
                rows = found.fetchmany(_CHUNK)
            except duckdb.IOException as error:
                raise _Gone(str(error).splitlines()[0]) from error
            while rows:
                for row in rows:
                    yield event_of(row)
                rows = found.fetchmany(_CHUNK)


class _Gone(Exception):
    """A segment went out of the store after we read of it."""


def condition(terms: Iterable[Term]) -> tuple[str, list[Any]]:
    """Write what of terms SQL can say: text that follows `WHERE x`, and its values.

    It lets through more than the filter does, never less.
    """
    groups: dict[str, list[tuple[str, Any]]] = {}
    unsaid = set()
    for term in terms:
        if term.is_not:
            continue
        said = _said(term)
        if said is None:
            unsaid.add(term.kind)
        else:
            groups.setdefault(term.kind, []).append(said)
    parts, values = [], []
    for kind, alternatives in groups.items():
        if kind not in unsaid:
            parts.append(" AND (" + " OR ".join(text for text, _ in alternatives) + ")")
            values += [value for _, value in alternatives]
    return "".join(parts), values


def _said(term: Term) -> tuple[str, Any] | None:
    if term.kind == "type":
        return "qtype = ?", term.word.upper()
    if term.kind == "role":
        return "role = ?", (term.value or term.word).lower()
    if term.kind == "family":
        return "family = ?", _OF_TERM[term.word]
    if term.kind == "kind":
        return "kind = ?", term.word
    if term.kind == "source":
        return "source = ?", term.value
    if term.kind == "outcome" and term.word not in ("nodata", "silent"):
        return "rcode = ?", term.word.upper()
    if term.kind == "zone":
        return "ends_with(qname, ?)", f"{term.value.lower().rstrip('.')}."
    return None
