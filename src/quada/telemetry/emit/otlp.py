"""Events as OpenTelemetry log records: OTLP's ExportLogsServiceRequest in its JSON form.

Attribute names are those of OpenTelemetry's semantic conventions where they have one (`client.*`,
`server.*`, `network.*`, `dns.question.name`), else `quada.*`. Specification: OTLP 1.x, "JSON
Protobuf Encoding": 64-bit numbers are strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import quada.wire.codes as codes
from quada.telemetry.event import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.telemetry.event import Event

_INFO, _WARN = (9, "INFO"), (13, "WARN")  # SeverityNumber of the log data model
_NETWORK: Final = {"udp": "udp", "tcp": "tcp", "dot": "tcp", "doh": "tcp", "doq": "quic"}
_NAMED: Final = {"client": "client.address", "client_port": "client.port",
                 "qname": "dns.question.name"}  # fmt: skip
_OF_SERVER: Final = {"client": "server.address", "client_port": "server.port"}
_LEFT_OUT: Final = ("time", "detail")


def compose_export(events: Iterable[Event], host: str) -> dict[str, Any]:
    """Compose a request of events. Takes the name of the host they are from."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_source.setdefault(event.source, []).append(_record(event))
    return {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [_pair("service.name", source), _pair("host.name", host)]
                },
                "scopeLogs": [{"scope": {"name": "quada"}, "logRecords": records}],
            }
            for source, records in by_source.items()
        ]
    }


def _record(event: Event) -> dict[str, Any]:
    data = event.to_json()
    names = _NAMED | _OF_SERVER if event.kind is Kind.UPSTREAM else _NAMED
    attributes = []
    for key, value in data.items():
        if key == "family":
            attributes.append(_pair("network.type", f"ipv{value}"))
        elif key == "transport":
            attributes += [
                _pair("network.transport", _NETWORK[value]),
                _pair("quada.transport", value),
            ]
        elif key not in _LEFT_OUT:
            attributes.append(_pair(names.get(key, f"quada.{key}"), value))
    severity = _WARN if event.rcode in (None, codes.SERVFAIL) or event.cause else _INFO
    outcome = "NODATA" if event.is_nodata else data.get("rcode", "no answer")
    return {
        "timeUnixNano": str(event.at_ns),
        "severityNumber": severity[0],
        "severityText": severity[1],
        "body": {"stringValue": f"{event.qname or '-'} {data.get('qtype', '-')} {outcome}"},
        "attributes": attributes,
    }


def _pair(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": _value(value)}


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}
