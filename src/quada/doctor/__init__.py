"""doctor: observe a domain from outside over both families, then judge what was seen.

`observe` gives Asks and takes what came of them; an observation is plain data, can be kept in a
file and judged again. `judge` makes findings of it. `graph` solves what a name depends on.
"""

from quada.doctor.findings import RULES, Finding, Verdict
from quada.doctor.graph import Graph
from quada.doctor.judge import judge
from quada.doctor.observation import Observation, read_observation, write_observation
from quada.doctor.observe import Observer, Start

__all__ = [
    "RULES",
    "Finding",
    "Graph",
    "Observation",
    "Observer",
    "Start",
    "Verdict",
    "judge",
    "read_observation",
    "write_observation",
]
