"""What can be done, whoever asks and by whatever form: the use cases behind HTTP and console.

Every operation takes its caller and refuses those who may not. Changes go to the store as one
transaction each, with their author, and are served when the store has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import quada.wire.names as names
from quada.api.listing import Listing, Listings, Numbered, digest, is_system
from quada.api.records import Draft, read_draft, read_owner, read_type, to_ascii
from quada.store.journal import Author
from quada.store.zones import SerialConflict
from quada.wire.faults import DataFault
from quada.zones import Change, Record, Zone, check_zone, diff, read_zone, write_zone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from quada.api.access import Caller
    from quada.doctor import Observation
    from quada.doctor.incident import Logged
    from quada.store.accounts import Accounts
    from quada.store.alerts import AlertStore
    from quada.store.journal import Entry
    from quada.store.spans import Span
    from quada.store.zones import Summary, ZoneStore
    from quada.telemetry.event import Event
    from quada.zones import Finding

_TRIES: Final = 3
USUAL_TTL_S: Final = 3600


class NotFound(DataFault):
    """There is no such zone, record or change."""

    code = "not-found"


class Server(Protocol):
    """The running server, as far as operations ask it."""

    def command(self, wanted: str, /, **arguments: Any) -> Any:
        """Give it a command. Raises: ReachFault where it does not answer."""

    @property
    def ignores(self) -> frozenset[str]:
        """Give the kinds of addresses that doctor finds nothing wrong with here."""

    def look(self, name: str) -> AsyncIterator[str | Observation]:
        """Look at a domain: gives each stage as it begins, then all that was seen."""

    def logged(self, name: str, minutes: int) -> Logged:
        """Give what stored events say of a name. Raises: ReachFault where there are none."""

    def span(self, start_s: int, slice_s: int, slice_count: int) -> Span:
        """Give the counts of a span of stored events. Raises: ReachFault where none are kept."""

    def recent(self, count: int) -> list[Event]:
        """Give its last events, oldest first."""

    def following(self, since_ns: int | None = None) -> Callable[[], list[Event]]:
        """Give what gives, at every call, the events since the last, or at first since a time."""


class Edit(NamedTuple):
    """What is to happen to a zone at once: deletes, then updates, then creates."""

    creates: tuple[Draft, ...] = ()
    updates: tuple[tuple[int, Draft], ...] = ()
    deletes: tuple[int, ...] = ()


class Edited(NamedTuple):
    """What an edit led to, or would lead to."""

    change: Change
    zone: Zone
    created: list[Numbered]
    updated: list[Numbered]
    findings: list[Finding]


class Operations:
    """The use cases. `now` gives the time in seconds of the Unix epoch."""

    def __init__(
        self,
        store: ZoneStore,
        accounts: Accounts,
        alerts: AlertStore,
        server: Server,
        now: Callable[[], int],
    ) -> None:
        self.accounts = accounts
        self.alerts = alerts
        self.server = server
        self.now = now
        self._store = store
        self._listings = Listings(store, accounts)

    def zones(self, caller: Caller) -> list[Summary]:
        """Give the zones that a caller may see."""
        return [one for one in self._store.summaries() if caller.may_see(one.origin)]

    def zone_view(self, caller: Caller, name: str) -> Summary:
        """Give one zone by its name or number. Raises: NotFound, also for one not to be seen."""
        wanted = to_ascii(name).rstrip(".").lower()
        for view in self.zones(caller):
            if names.to_text(view.origin).rstrip(".") == wanted or str(view.number) == name:
                return view
        raise NotFound(f"Zone `{name}` not found", place="zone")

    def zone(self, caller: Caller, name: str) -> Zone:
        """Give the present version of a zone. Raises: NotFound."""
        view = self.zone_view(caller, name)
        zone = self._store.zone(view.origin)
        if zone is None:
            raise NotFound(f"Zone `{name}` not found", place="zone")
        return zone

    def add_zone(
        self,
        caller: Caller,
        name: str,
        servers: list[str],
        text: str = "",
        *,
        and_then: Callable[[Zone], Change] | None = None,
        is_trial: bool = False,
    ) -> Edited:
        """Add a zone: from zone text, or with SOA and NS alone, and what a change adds to it.

        Raises: DataFault, also in a trial where there is such a zone already.
        """
        caller.need_admin()
        origin = read_owner(name if name.endswith(".") else f"{name}.", names.ROOT)
        zone = read_zone(text or bare_zone_text(servers), origin)
        if and_then is not None:
            zone = zone.changed(and_then(zone))
        if is_trial:
            if origin in self._store.zones():
                raise DataFault("the zone is there already", place=names.to_text(origin))
            return Edited(diff(None, zone), zone, [], [], check_zone(zone, now_s=self.now()))
        applied = self._store.create(zone, self._author(caller, "zone added"), self.now())
        return Edited(applied.change, applied.zone, [], [], [])

    def remove_zone(self, caller: Caller, name: str, *, is_trial: bool = False) -> Edited:
        """Remove a zone; all its records are what goes, and the journal keeps them."""
        caller.need_admin()
        zone = self.zone(caller, name)
        if not is_trial:
            self._store.remove(zone.origin, self._author(caller, "zone removed"), self.now())
            self.audit(caller, "zone removed", names.to_text(zone.origin))
        return Edited(Change(tuple(zone.records()), ()), zone, [], [], [])

    def activate(
        self, caller: Caller, name: str, *, is_active: bool, is_trial: bool = False
    ) -> Edited:
        """Serve a zone, or stop serving it and keep its data: no record changes."""
        caller.need_admin()
        zone = self.zone(caller, name)
        if not is_trial:
            self._store.set(zone.origin, inactive=None if is_active else True)
            what = "activated" if is_active else "deactivated"
            self.audit(caller, what, names.to_text(zone.origin))
        return Edited(Change((), ()), zone, [], [], [])

    def records(self, caller: Caller, name: str) -> Listing:
        """Give a zone's version and its records with their numbers."""
        return self._listings.of(self.zone(caller, name))

    def warm(self) -> None:
        """Work out what searching large zones needs, where they changed: before somebody asks."""
        self._listings.warm()

    def record(self, caller: Caller, name: str, wanted: int) -> Numbered:
        """Give one record. Raises: NotFound."""
        found = self.records(caller, name).find(wanted)
        if found is None:
            raise NotFound(f"Record `{wanted}` not found", place="record")
        return found

    def edit(
        self,
        caller: Caller,
        name: str,
        edit: Edit,
        *,
        why: str = "",
        expect_serial: int | None = None,
        is_trial: bool = False,
    ) -> Edited:
        """Change records by number, all or none; a trial only tells what would come.

        Raises: DataFault for the field, NotFound for a number, SerialConflict, Denied.
        """
        for _ in range(_TRIES if expect_serial is None else 1):
            try:
                return self._edit(caller, name, edit, why, expect_serial, is_trial=is_trial)
            except SerialConflict as conflict:  # somebody was quicker: look again
                lost = conflict
        raise lost

    def _edit(
        self,
        caller: Caller,
        name: str,
        edit: Edit,
        why: str,
        expect_serial: int | None,
        *,
        is_trial: bool,
    ) -> Edited:
        listing = self.records(caller, name)
        zone = listing.zone
        caller.need_change(zone.origin)
        removed: list[Record] = []
        added: list[Record] = []
        moved: dict[int, int] = {}
        for at, wanted in enumerate(edit.deletes):
            removed.append(_known(listing, wanted, f"deletes[{at}]"))
        for at, (wanted, draft) in enumerate(edit.updates):
            before = _known(listing, wanted, f"updates[{at}]")
            after = _draft(draft, zone, f"updates[{at}]", len(edit.updates), before)
            removed.append(before)
            added.append(after)
            moved[digest(after)] = wanted
        created = [
            _draft(draft, zone, f"creates[{at}]", len(edit.creates))
            for at, draft in enumerate(edit.creates)
        ]
        for record in created:
            there = listing.find(digest(record))
            if there is not None and there.record not in removed:
                raise DataFault("the record is there already", place="base")
        added += created
        edited = self.commit(
            caller, zone, Change(tuple(removed), tuple(added)), why=why,
            expect_serial=zone.serial if expect_serial is None else expect_serial,
            is_trial=is_trial,
        )  # fmt: skip
        if moved and not is_trial:
            self.accounts.keep_ids(zone.origin, moved)
            self._listings.of(edited.zone, is_renumbered=True)
        ttls = {(r.owner, r.rdtype): r.ttl for r in edited.zone.records()} if added else {}
        settled = [one._replace(ttl=ttls.get((one.owner, one.rdtype), one.ttl)) for one in added]
        split = len(edit.updates)
        return edited._replace(
            updated=[Numbered(moved[digest(one)], one) for one in settled[:split]],
            created=[Numbered(digest(one), one) for one in settled[split:]],
        )

    def replace_rrset(
        self, zone: Zone, name: str, rdtype: str, ttl: int | None, values: Iterable[str]
    ) -> Change:
        """Give the change that makes an RRset exactly these values; none takes it away."""
        owner, kind = read_owner(name, zone.origin), read_type(rdtype)
        rrset = zone.rrset(owner, kind)
        before = [Record(owner, kind, rrset.ttl, r) for r in rrset.rdatas] if rrset else []
        usual = ttl if ttl is not None else rrset.ttl if rrset else USUAL_TTL_S
        drafts = [Draft(name, rdtype, value, usual) for value in values]
        after = dict.fromkeys(read_draft(draft, zone.origin) for draft in drafts)
        return Change(tuple(before), tuple(after))

    def commit(
        self,
        caller: Caller,
        zone: Zone,
        change: Change,
        *,
        why: str = "",
        expect_serial: int | None = None,
        is_trial: bool = False,
    ) -> Edited:
        """Make a change, or in a trial tell what it would be and what the checks say of it."""
        caller.need_change(zone.origin)
        if is_trial:
            after = zone.changed(change)
            return Edited(diff(zone, after), after, [], [], check_zone(after, now_s=self.now()))
        applied = self._store.apply(
            zone.origin, change, self._author(caller, why), self.now(), expect_serial=expect_serial
        )
        findings = check_zone(applied.zone, now_s=self.now()) if _is_small(applied.zone) else []
        return Edited(applied.change, applied.zone, [], [], findings)

    def replace_text(
        self,
        caller: Caller,
        name: str,
        text: str,
        *,
        why: str = "",
        expect_serial: int | None = None,
        is_trial: bool = False,
    ) -> Edited:
        """Make a zone's content that of zone text, as one change; not over one made meanwhile."""
        zone = self.zone(caller, name)
        return self.commit(
            caller, zone, diff(zone, read_zone(text, zone.origin)), why=why,
            expect_serial=zone.serial if expect_serial is None else expect_serial,
            is_trial=is_trial,
        )  # fmt: skip

    def text(self, caller: Caller, name: str) -> str:
        """Give a zone as zone text."""
        return "".join(write_zone(self.zone(caller, name)))

    def findings(self, caller: Caller, name: str) -> list[Finding]:
        """Check a zone beside the others of the house."""
        zone = self.zone(caller, name)
        others = [self._store.zone(origin) for origin in self._store.zones()]
        return check_zone(
            zone, [other for other in others if other is not None and other is not zone],
            now_s=self.now(),
        )  # fmt: skip

    def history(self, caller: Caller, name: str, *, limit: int = 50) -> list[Entry]:
        """Give a zone's journal, newest first."""
        return self._store.history(self.zone(caller, name).origin, limit=min(limit, 1000))

    def undo(self, caller: Caller, name: str, entry: int, *, is_trial: bool = False) -> Edited:
        """Take one change back."""
        zone = self.zone(caller, name)
        caller.need_change(zone.origin)
        if is_trial:
            return self.commit(caller, zone, self._store.back(zone.origin, entry), is_trial=True)
        applied = self._store.undo(
            zone.origin, entry, self._author(caller, f"undo {entry}"), self.now()
        )
        return Edited(applied.change, applied.zone, [], [], [])

    def is_served(self, caller: Caller, name: str) -> bool:
        """Tell whether the running server serves the present version of a zone."""
        zone = self.zone(caller, name)
        text = names.to_text(zone.origin)
        serving = self.server.command("status")["zones"]
        return any(one["zone"] == text and one["serial"] >= zone.serial for one in serving)

    def audit(self, caller: Caller, what: str, about: str = "") -> None:
        """Write a line of the audit log."""
        self.accounts.audit(self.now(), caller.who, caller.place, what, about)

    def _author(self, caller: Caller, why: str) -> Author:
        return Author(caller.who, caller.place, why)


def bare_zone_text(servers: list[str]) -> str:
    """Write the text of a zone with SOA and NS alone. Raises: DataFault without servers."""
    if not servers:
        raise DataFault(
            "a new zone needs its name servers", place="servers", remedy="name two of them"
        )
    absolute = [server if server.endswith(".") else f"{server}." for server in servers]
    text = f"$TTL 300\n@ SOA {absolute[0]} hostmaster 1 3600 600 1209600 300\n"
    return text + "".join(f"@ NS {server}\n" for server in absolute)


def _known(listing: Listing, wanted: int, place: str) -> Record:
    found = listing.find(wanted)
    if found is None:
        raise NotFound(f"Record `{wanted}` not found", place=place)
    if is_system(found.record, listing.zone.origin):
        raise DataFault("the SOA of a zone is a system record", place=place)
    return found.record


def _draft(
    draft: Draft, zone: Zone, place: str, count: int, before: Record | None = None
) -> Record:
    """Read a draft; of several, say which one is at fault."""
    try:
        record = read_draft(draft, zone.origin, before)
    except DataFault as fault:
        where = f"{place}.{fault.place}" if count > 1 else fault.place
        raise DataFault(fault.message, place=where, remedy=fault.remedy) from fault
    if is_system(record, zone.origin):
        raise DataFault("the SOA of a zone is a system record", place="type")
    if record.ttl < 0:
        rrset = zone.rrset(record.owner, record.rdtype)
        record = record._replace(ttl=rrset.ttl if rrset else USUAL_TTL_S)
    return record


def _is_small(zone: Zone) -> bool:
    """Whether checking a version again costs nothing that a caller would feel."""
    return len(zone.nodes) <= 2_000
