"""acme: what a CA's validation would see, decided as Boulder decides it.

The validator gives asks (look a name up, fetch from an address) and takes what came of them, so
that every row of its rules is tested without a network.
"""

from quada.acme.validate import (
    Ask,
    Failed,
    Fetch,
    Fetched,
    Hop,
    Looked,
    Lookup,
    Mode,
    Problem,
    Verdict,
    http_01,
)

__all__ = [
    "Ask",
    "Failed",
    "Fetch",
    "Fetched",
    "Hop",
    "Looked",
    "Lookup",
    "Mode",
    "Problem",
    "Verdict",
    "http_01",
]
