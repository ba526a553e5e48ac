"""Zone text read into a zone version: RFC 1035 5, RFC 2308 4 ($TTL), RFC 3597, BIND's $GENERATE.

Plain lines (most of a large file) are split on blanks and read at once; a line with quotes,
escapes, parentheses or comments goes through the tokenizer. Files are not opened here: `include` is
given a path and gives its text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.rdata as rdata_text
from quada.wire.faults import DataFault
from quada.zones.gather import Gather
from quada.zones.generate import MAX_GENERATED, generate
from quada.zones.tokens import MAX_ENTRY_CHARACTERS, Entry, Misread, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.zones.zone import Zone

    Include = Callable[[str], "str | Iterable[str]"]
    Progress = Callable[[int], None]

MAX_INCLUDE_DEPTH: Final = 10  # our choice because deeper nesting is a file that includes itself
MAX_INCLUDES: Final = 10_000  # our choice because files that include twice double at each level
MAX_FAULTS: Final = 200  # our choice because nobody reads more, and a hostile file has no bound
_PROGRESS_EVERY: Final = 16384
_TTL_WORDS: Final = 1024

# Whatever is not printable ASCII, or means more than itself: ; ( ) " \\ $. One set, not two, is
# searched for three times as quickly.
_SPECIAL: Final = re.compile(r"[^\t\n\r !#%&'*-:<-\[\]-~]").search
_CLASSES: Final = {"IN": 1, "CS": 2, "CH": 3, "HS": 4, "CLASS1": 1}


class Note(NamedTuple):
    """What the text said that the finished zone no longer shows; `check` makes findings of it."""

    code: str
    owner: bytes
    rdtype: int
    message: str
    place: str = ""


class Reading(NamedTuple):
    """A zone as read: the version, its text's default TTL, and what only the text could tell.

    `faults` is empty unless they were to be collected. `places` maps owner and type to file:line
    where they were asked for.
    """

    zone: Zone
    default_ttl_s: int | None
    record_count: int
    notes: tuple[Note, ...]
    faults: tuple[DataFault, ...]
    places: dict[tuple[bytes, int], str]


def read_zone(
    text: str | Iterable[str],
    origin: bytes,
    *,
    include: Include | None = None,
    place: str = "zone",
    progress: Progress | None = None,
) -> Zone:
    """Read zone text into a version.

    Takes: the whole text or its lines; the zone's apex name; `include`, which gives the text of an
    $INCLUDE path; the name to call the text in faults; `progress`, told the record count now and
    then.
    Raises: DataFault for the first fault, its place file:line:column.
    """
    return read_text(text, origin, include=include, place=place, progress=progress).zone


def read_text(
    text: str | Iterable[str],
    origin: bytes,
    *,
    include: Include | None = None,
    place: str = "zone",
    progress: Progress | None = None,
    keeps_going: bool = False,
    keeps_places: bool = False,
) -> Reading:
    """Read zone text and give all that can be said of it; arguments as for `read_zone`.

    With `keeps_going`, a faulty record is left out and its fault collected (at most 200).
    """
    origin = origin.lower()
    reader = _Reader(origin, include, progress, keeps_going, keeps_places)
    reader.read(text, place, origin)
    return reader.finish()


class _Reader:
    """The state of one reading: what `$` directives and earlier records left behind."""

    def __init__(
        self,
        origin: bytes,
        include: Include | None,
        progress: Progress | None,
        keeps_going: bool,
        keeps_places: bool,
    ) -> None:
        self.gather = Gather(origin)
        self.include = include
        self.progress = progress
        self.keeps_going = keeps_going
        self.default_ttl: int | None = None
        self.last_ttl: int | None = None
        self.generated = 0
        self.depth = 0
        self.includes = 0
        self.notes: list[Note] = []
        self.faults: list[DataFault] = []
        self.places: dict[tuple[bytes, int], str] | None = {} if keeps_places else None
        self.place = ""
        # The owner of the record before, and the $ORIGIN in force.
        self.owner: bytes | None = None
        self.origin = origin

    def read(self, text: str | Iterable[str], place: str, origin: bytes) -> None:
        """Read one text; $INCLUDE comes back here."""
        outer = (self.place, self.origin, self.owner)
        self.place, self.origin = place, origin
        # A closing newline ends the last line; str.splitlines would cut at more than newlines.
        lines = text.split("\n") if isinstance(text, str) else text
        entry: Entry | None = None
        owner_text = ""
        gather, put, places = self.gather, self.gather.put, self.places
        types, readers = rdata_text.TYPES, rdata_text.READERS
        ttls: dict[str, int] = {}
        number = 0
        for number, line in enumerate(lines, start=1):
            if self.progress is not None and not number % _PROGRESS_EVERY:
                self.progress(gather.count)
            if entry is not None or _SPECIAL(line) is not None:
                entry = self._cut(entry, line, number)
                owner_text = ""
                continue
            fields = line.split()
            if not fields:
                continue
            try:
                at = 0
                if line[0] not in " \t":
                    at = 1
                    if fields[0] != owner_text:
                        if fields[0] == "IN":
                            raise Misread("")
                        owner_text = fields[0]
                        self.owner = self._read_owner(owner_text)
                ttl = None
                word = fields[at]
                rdtype = types.get(word)
                if rdtype is None:
                    after = at
                    ttl = ttls.get(word)
                    if ttl is not None:
                        after += 1
                        self.last_ttl = ttl
                    if fields[after] == "IN":
                        after += 1
                    rdtype = types.get(fields[after])
                    if rdtype is not None:
                        at = after
                    else:
                        ttl, rdtype, at = self._read_type(fields, at)
                        if ttl is not None and word[0].isdigit() and len(ttls) < _TTL_WORDS:
                            ttls[word] = ttl
                if ttl is None:
                    ttl = self.default_ttl
                    if ttl is None:
                        ttl = self._missing_ttl(rdtype, fields[at + 1 :])
                owner = self.owner
                if owner is None or len(line) > MAX_ENTRY_CHARACTERS:
                    raise Misread("")
                reader = readers.get(rdtype)
                if reader is not None:
                    put(owner, rdtype, ttl, reader(fields[at + 1 :], self.origin))
                else:
                    put(owner, rdtype, ttl, self._read_rdata(rdtype, fields[at + 1 :]))
                if places is not None:
                    places.setdefault((owner, rdtype), f"{place}:{number}")
            except (Misread, DataFault, IndexError):
                # The long way round finds the same fault, and its column.
                self._cut(None, line, number)
                owner_text = ""
        if entry is not None and entry.depth:
            line_number, column = entry.opened
            self._fault(
                Misread(
                    "parenthesis is never closed",
                    line_number,
                    column,
                    remedy="add the closing parenthesis",
                ),
                "",
                number,
            )
        self.place, self.origin, self.owner = outer

    def finish(self) -> Reading:
        """Close the reading."""
        gather = self.gather
        if self.progress is not None:
            self.progress(gather.count)
        places = self.places or {}
        for owner, rdtype in gather.duplicates[:MAX_FAULTS]:
            what = f"{names.to_text(owner)} {rdata_text.type_name(rdtype)}"
            self.notes.append(Note("duplicate-record", owner, rdtype, f"{what} is written twice"))
        for (owner, rdtype), ttls in list(gather.mixed.items())[:MAX_FAULTS]:
            listed = ", ".join(map(str, sorted(ttls)))
            what = f"{names.to_text(owner)} {rdata_text.type_name(rdtype)}"
            self.notes.append(
                Note("mixed-ttl", owner, rdtype, f"{what} has the TTLs {listed}; the lowest serves")
            )
        notes = tuple(
            note._replace(place=note.place or places.get((note.owner, note.rdtype), ""))
            for note in self.notes
        )
        return Reading(
            gather.zone(), self.default_ttl, gather.count, notes, tuple(self.faults), places
        )

    def _cut(self, entry: Entry | None, line: str, number: int) -> Entry | None:
        """Add a line to the entry being cut; read the entry where it is whole."""
        entry = entry or Entry()
        try:
            entry.add(line, number)
            if entry.depth:
                return entry
            if entry.tokens:
                self._read_entry(entry.tokens, is_indented=entry.is_indented)
        except (Misread, DataFault) as fault:
            self._fault(fault, line, number, entry.tokens)
        return None

    def _read_entry(self, tokens: list[Token], *, is_indented: bool) -> None:
        first = tokens[0].text
        if first[0] == "$" and not is_indented:
            self._directive(first.upper(), tokens)
        else:
            fields = [token.text for token in tokens]
            place = f"{self.place}:{tokens[0].line}"
            self._read_record(fields, place, is_indented=is_indented)

    def _read_record(self, fields: list[str], place: str, *, is_indented: bool) -> None:
        at = 0
        if not is_indented and self._has_lost_indent(fields):
            message = "a line begins with IN and a type: read as a record of the owner before"
            owner = self.owner or self.gather.origin
            self.notes.append(Note("lost-indent", owner, codes.NS, message, place))
        elif not is_indented:
            self.owner = None
            self.owner = self._read_owner(fields[0])
            at = 1
        if self.owner is None:
            raise Misread("record has no owner name", index=0, remedy="write the owner first")
        ttl, rdtype, at = self._read_type(fields, at)
        if ttl is None:
            ttl = self.default_ttl
            if ttl is None:
                ttl = self._missing_ttl(rdtype, fields[at + 1 :])
        try:
            rdata = self._read_rdata(rdtype, fields[at + 1 :])
        except Misread as fault:
            if fault.index >= 0:
                fault.index = fault.index + at + 1
            raise
        except DataFault as misfit:
            raise Misread(misfit.message, index=at + 1, remedy=misfit.remedy) from misfit
        self.gather.put(self.owner, rdtype, ttl, rdata)
        if self.places is not None:
            self.places.setdefault((self.owner, rdtype), place)

    def _has_lost_indent(self, fields: list[str]) -> bool:
        """Tell whether `IN NS ns1` at a line's start is a class whose indent was lost.

        Text copied from a page loses its leading blanks. A host called IN whose records leave out
        their class is the rarer case, and writes `in` or its class to be read as one.
        """
        return (
            self.owner is not None
            and len(fields) > 2
            and fields[0] == "IN"
            and fields[1] in rdata_text.TYPES
            and len(self.notes) < MAX_FAULTS
        )

    def _read_owner(self, text: str) -> bytes:
        """Read an owner name, lower-cased and inside the zone."""
        try:
            owner = rdata_text.read_name(text, self.origin).lower()
            if text[-1] != "." and self.origin is self.gather.origin:
                return owner
        except DataFault as fault:
            raise Misread(fault.message, index=0, remedy=fault.remedy) from fault
        if not names.is_subdomain(owner, self.gather.origin):
            zone = names.to_text(self.gather.origin)
            raise Misread(
                f"{names.to_text(owner)} is outside the zone {zone}",
                index=0,
                remedy="move the record to its own zone, or check $ORIGIN and closing dots",
            )
        return owner

    def _read_type(self, fields: list[str], at: int) -> tuple[int | None, int, int]:
        """Read what stands between owner and data: TTL and class in either order, then the type.

        Gives the TTL or None, the type, and the type's place.
        """
        ttl: int | None = None
        has_class = False
        for index in range(at, min(at + 3, len(fields))):
            word = fields[index]
            upper = word.upper()
            if not has_class and (upper in _CLASSES or upper.startswith("CLASS")):
                if _CLASSES.get(upper) != codes.IN:
                    raise Misread(f"class {word} is not IN", index=index, remedy="zones are IN")
                has_class = True
            elif ttl is None and word[0].isdigit():
                try:
                    ttl = self.last_ttl = rdata_text.read_ttl(word)
                except DataFault as fault:
                    raise Misread(fault.message, index=index, remedy=fault.remedy) from fault
            else:
                return ttl, self._known_type(word, index), index
        raise Misread("record ends before its type", index=len(fields) - 1)

    def _known_type(self, word: str, index: int) -> int:
        rdtype = rdata_text.type_number(word)
        if rdtype is None:
            raise Misread(
                f"{word!r} is not a record type",
                index=index,
                remedy="a record is: owner, TTL, IN, type, data; unknown types are TYPEnnn",
            )
        if rdtype in rdata_text.META_TYPES or rdtype == 0:
            raise Misread(f"{word} is a type for questions, not for zones", index=index)
        return rdtype

    def _read_rdata(self, rdtype: int, fields: list[str]) -> bytes:
        if rdtype in rdata_text.META_TYPES:
            raise Misread("this type is for questions, not for zones", index=-1)
        return rdata_text.read_rdata(rdtype, fields, self.origin)

    def _missing_ttl(self, rdtype: int, fields: list[str]) -> int:
        """Choose the TTL of a record without one where there is no $TTL (RFC 1035 5.1)."""
        if self.last_ttl is not None:
            return self.last_ttl
        if rdtype == codes.SOA and len(fields) == 7:
            # As BIND does: before RFC 2308 the SOA's last field was every record's default.
            ttl = self.last_ttl = rdata_text.read_ttl(fields[6])
            message = "there is no $TTL: the SOA's last field is used for records without a TTL"
            self.notes.append(Note("ttl-missing", self.gather.origin, rdtype, message))
            return ttl
        raise Misread("record has no TTL", index=0, remedy="begin the file with $TTL 300")

    def _directive(self, name: str, tokens: list[Token]) -> None:
        fields = [token.text for token in tokens]
        if name == "$TTL":
            _expect(fields, 2, 2, "$TTL 300")
            self.default_ttl = rdata_text.read_ttl(fields[1])
        elif name == "$ORIGIN":
            _expect(fields, 2, 2, "$ORIGIN example.com.")
            self.origin = rdata_text.read_name(fields[1], self.origin).lower()
            if self.origin == self.gather.origin:
                self.origin = self.gather.origin  # the same object, for the quick test of owners
        elif name == "$INCLUDE":
            _expect(fields, 2, 3, "$INCLUDE file [origin]")
            self._include(fields)
        elif name == "$GENERATE":
            _expect(fields, 5, 1000, "$GENERATE 1-9 owner type data")
            self._generate(fields, f"{self.place}:{tokens[0].line}")
        else:
            raise Misread(
                f"{fields[0]} is not a directive",
                index=0,
                remedy="known are $ORIGIN, $TTL, $INCLUDE and $GENERATE",
            )

    def _include(self, fields: list[str]) -> None:
        if self.include is None:
            raise Misread("$INCLUDE is not allowed here", index=0, remedy="put the records here")
        if self.depth >= MAX_INCLUDE_DEPTH:
            raise Misread(f"$INCLUDE is nested deeper than {MAX_INCLUDE_DEPTH}", index=0)
        self.includes += 1
        if self.includes > MAX_INCLUDES:
            raise Misread(f"$INCLUDE is used more than {MAX_INCLUDES} times", index=0)
        path = fields[1][1:-1] if fields[1][0] == '"' else fields[1]
        origin = self.origin
        if len(fields) == 3:
            origin = rdata_text.read_name(fields[2], origin).lower()
        self.depth += 1
        try:
            text = self.include(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Misread(f"cannot include {path}: {reason}", index=1) from error
        self.read(text, path, origin)
        self.depth -= 1

    def _generate(self, fields: list[str], place: str) -> None:
        for filled in generate(fields[1], fields[2:]):
            self.generated += 1
            if self.generated > MAX_GENERATED:
                raise Misread(f"$GENERATE makes more than {MAX_GENERATED} records", index=0)
            entry = Entry()
            entry.add(" ".join(filled), 0)
            if entry.depth or not entry.tokens:
                raise Misread("$GENERATE makes no whole record", index=2)
            self._read_record([token.text for token in entry.tokens], place, is_indented=False)

    def _fault(
        self,
        fault: Misread | DataFault,
        line: str,
        number: int,
        tokens: list[Token] | None = None,
    ) -> None:
        """Give a fault its place, then raise or collect it."""
        index = 1
        column = 0
        if isinstance(fault, Misread):
            number, column, index = fault.line or number, fault.column, fault.index
        if not column:
            number, column = _locate(index, line, number, tokens)
        made = DataFault(
            fault.message, place=f"{self.place}:{number}:{column}", remedy=fault.remedy
        )
        if not self.keeps_going:
            raise made from None
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(made)


def _expect(fields: list[str], least: int, most: int, shape: str) -> None:
    if not least <= len(fields) <= most:
        raise Misread(f"{fields[0]} has {len(fields) - 1} fields", index=0, remedy=f"write {shape}")


def _locate(index: int, line: str, number: int, tokens: list[Token] | None) -> tuple[int, int]:
    """Give line and column of a field of a record."""
    if tokens is None:
        tokens = [Token(match[0], number, match.start() + 1) for match in re.finditer(r"\S+", line)]
    if not tokens:
        return number, 1
    token = tokens[max(0, min(index, len(tokens) - 1))]
    return token.line, token.column
