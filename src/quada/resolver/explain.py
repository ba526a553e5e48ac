"""How an answer came about, step by step, for `quada explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import quada.telemetry.event as event
import quada.wire.names as names
from quada.telemetry.event import Validation

if TYPE_CHECKING:
    from quada.resolver.composed import Recursed
    from quada.resolver.task import Task


def explain(recursed: Recursed, task: Task) -> dict[str, Any]:
    """Tell every server asked, what came of it, and what the answer is made of."""
    import dns.rcode
    import dns.rdatatype

    resolution = recursed.resolution

    def type_text(rdtype: int) -> str:
        return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))

    return {
        "rcode": dns.rcode.to_text(dns.rcode.Rcode.make(resolution.rcode)),
        "validation": Validation(resolution.validation).name.lower(),
        "provenance": event.provenance_names(recursed.provenance),
        "ede": recursed.ede,
        "reason": recursed.ede_text,
        "answer": [
            f"{names.to_text(r.owner)} {r.ttl} {type_text(r.rdtype)}" for r in resolution.answer
        ],
        "steps": [
            {
                "zone": names.to_text(attempt.zone),
                "asked": f"{names.to_text(attempt.name)} {type_text(attempt.rdtype)}",
                "server": attempt.server,
                "family": 6 if ":" in attempt.server else 4,
                "transport": attempt.transport.name.lower(),
                "outcome": attempt.outcome,
                "took_ms": round(attempt.took_s * 1000, 2),
            }
            for attempt in task.attempts
        ],
    }
