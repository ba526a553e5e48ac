"""resolver: a question about the world becomes Asks, then an answer. No sockets and no clock."""

from quada.resolver.evidence import Checked, Found, Signed, Verdict, Want, found_of
from quada.resolver.trust import Anchors, Limits
from quada.resolver.validate import Validator

__all__ = [
    "Anchors",
    "Checked",
    "Found",
    "Limits",
    "Signed",
    "Validator",
    "Verdict",
    "Want",
    "found_of",
]
