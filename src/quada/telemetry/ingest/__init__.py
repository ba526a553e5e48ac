"""ingest: other servers' logs become the same events as our own, one parser a format.

A format gives what it gives: what a line does not say stays None. Lines that are not understood are
counted and the last of them kept; nothing a line holds can stop a parser or make it grow.
"""

from quada.telemetry.ingest.formats import FORMATS, detect, make_parser
from quada.telemetry.ingest.parser import Parser

__all__ = ["FORMATS", "Parser", "detect", "make_parser"]
