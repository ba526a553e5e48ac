"""signals: what in a stream of events says that IPv6 fails, minute by minute.

`Watch` takes events and, once a minute, tells which signals opened, changed and closed. No clock:
time is that of the events, and of whoever calls `judge`.
"""

from quada.telemetry.signals.signal import Signal, State
from quada.telemetry.signals.watch import Watch

__all__ = ["Signal", "State", "Watch"]
