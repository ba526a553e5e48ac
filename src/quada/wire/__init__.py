"""wire: octets in, octets out. Names, header numbers, EDNS, faults, and the Ask vocabulary.

Imports the standard library only; every other room stands on this one.
"""

from quada.wire.ask import Ask, Endpoint, NoReply, Outcome, Reply, Silence, Transport
from quada.wire.faults import (
    ConfigFault,
    DataFault,
    Fault,
    HouseFault,
    MalformedMessage,
    PeerFault,
    ReachFault,
)
from quada.wire.records import Record, RRset
from quada.wire.respond import Answered, Deferred, Responder
from quada.wire.skim import Skimmed, follow, skim

__all__ = [
    "Answered",
    "Ask",
    "ConfigFault",
    "DataFault",
    "Deferred",
    "Endpoint",
    "Fault",
    "HouseFault",
    "MalformedMessage",
    "NoReply",
    "Outcome",
    "PeerFault",
    "RRset",
    "ReachFault",
    "Record",
    "Reply",
    "Responder",
    "Silence",
    "Skimmed",
    "Transport",
    "follow",
    "skim",
]
