"""zones: what a zone is and how it changes, as values. No sockets, no files, no clock."""

from quada.wire.records import Record, RRset
from quada.zones.check import check_zone, refusals, refusals_of
from quada.zones.read import Note, Reading, read_text, read_zone
from quada.zones.rules import Finding, Policy, Rule, Severity
from quada.zones.write import write_record, write_zone
from quada.zones.zone import Change, Node, Zone, diff, find

__all__ = [
    "Change",
    "Finding",
    "Node",
    "Note",
    "Policy",
    "RRset",
    "Reading",
    "Record",
    "Rule",
    "Severity",
    "Zone",
    "check_zone",
    "diff",
    "find",
    "read_text",
    "read_zone",
    "refusals",
    "refusals_of",
    "write_record",
    "write_zone",
]
