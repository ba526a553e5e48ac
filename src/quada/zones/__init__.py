"""zones: what a zone is and how it changes, as values. No sockets, no files, no clock."""

from quada.wire.records import Record, RRset
from quada.zones.zone import Change, Node, Zone, diff, find

__all__ = ["Change", "Node", "RRset", "Record", "Zone", "diff", "find"]
