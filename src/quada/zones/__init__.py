"""zones: what a zone is and how it changes, as values. No sockets, no files, no clock."""

from quada.wire.records import Record, RRset
from quada.zones.read import Note, Reading, read_text, read_zone
from quada.zones.write import write_record, write_zone
from quada.zones.zone import Change, Node, Zone, diff, find

__all__ = [
    "Change",
    "Node",
    "Note",
    "RRset",
    "Reading",
    "Record",
    "Zone",
    "diff",
    "find",
    "read_text",
    "read_zone",
    "write_record",
    "write_zone",
]
