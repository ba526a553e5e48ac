"""telemetry: events and what is thought about them. No sockets, no files, no clock."""

from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation

__all__ = ["Cause", "Event", "Kind", "Provenance", "Role", "Validation"]
