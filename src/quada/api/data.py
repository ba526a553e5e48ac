"""Records, changes, journal entries and findings as JSON data: one form for HTTP and `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import quada.wire.names as names
from quada.zones.rdata import type_name, write_rdata

if TYPE_CHECKING:
    from quada.api.listing import Numbered
    from quada.api.operations import Edited
    from quada.doctor import Finding as Judged
    from quada.doctor.incident import Report
    from quada.store.journal import Entry
    from quada.zones import Change, Finding, Record


def record_data(record: Record) -> dict[str, Any]:
    """Give a record as JSON data."""
    return {
        "name": names.to_text(record.owner),
        "ttl": record.ttl,
        "type": type_name(record.rdtype),
        "value": write_rdata(record.rdtype, record.rdata),
    }


def numbered_data(one: Numbered) -> dict[str, Any]:
    """Give a numbered record as JSON data."""
    return {"id": one.number, **record_data(one.record)}


def change_data(change: Change) -> dict[str, Any]:
    """Give a change as JSON data."""
    return {
        "removed": [record_data(record) for record in change.removed],
        "added": [record_data(record) for record in change.added],
    }


def entry_data(entry: Entry) -> dict[str, Any]:
    """Give a journal entry as JSON data."""
    return {
        "number": entry.number,
        "at": entry.at,
        "serial_from": entry.serial_from,
        "serial_to": entry.serial_to,
        "who": entry.author.who,
        "from": entry.author.place,
        "why": entry.author.why,
        **change_data(entry.change),
    }


def edited_data(edited: Edited) -> dict[str, Any]:
    """Give what an edit led to as JSON data."""
    return {
        "serial": edited.zone.serial,
        **change_data(edited.change),
        "created": [numbered_data(one) for one in edited.created],
        "updated": [numbered_data(one) for one in edited.updated],
        "findings": [finding_data(one) for one in edited.findings],
    }


def finding_data(finding: Finding) -> dict[str, Any]:
    """Give a finding as JSON data."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "refuses": finding.rule.refuses,
        "owner": names.to_text(finding.owner),
        "message": finding.message,
        "why": finding.rule.why,
        "fix": finding.fix,
        "rfc": finding.rule.rfc,
        "place": finding.place,
    }


def judged_data(finding: Judged) -> dict[str, Any]:
    """Give a finding of doctor's as JSON data."""
    rule = finding.rule
    return {
        "code": finding.code, "group": rule.group, "verdict": str(finding.verdict),
        "subject": finding.subject, "message": finding.message,
        "evidence": list(finding.evidence), "why": rule.why, "fix": rule.fix,
        "source": rule.source,
    }  # fmt: skip


def report_data(report: Report) -> dict[str, Any]:
    """Give a walked incident checklist as JSON data."""
    return {
        "name": report.name,
        "steps": [{**step._asdict(), "verdict": str(step.verdict)} for step in report.steps],
        "causes": [cause._asdict() for cause in report.causes],
    }
