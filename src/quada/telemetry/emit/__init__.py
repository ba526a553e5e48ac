"""emit: events in the forms that other people's pipelines read."""

from quada.telemetry.emit.dnstap import compose_dnstap
from quada.telemetry.emit.otlp import compose_export

__all__ = ["compose_dnstap", "compose_export"]
