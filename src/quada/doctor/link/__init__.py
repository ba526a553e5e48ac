"""link: what routers and DHCPv6 servers tell the clients of a link, and what becomes of them.

`messages` reads what was heard on the wire, `capture` what a capture holds, `configs` what
radvd, dnsmasq and Kea are about to say; `classes` knows what each class of clients makes of it, and
`judge` makes findings.
"""

from quada.doctor.link.capture import read_capture
from quada.doctor.link.classes import CLASSES, Fate, matrix
from quada.doctor.link.configs import merge, read_config
from quada.doctor.link.facts import Link
from quada.doctor.link.judge import judge_link
from quada.doctor.link.messages import Heard, make_link

__all__ = [
    "CLASSES",
    "Fate",
    "Heard",
    "Link",
    "judge_link",
    "make_link",
    "matrix",
    "merge",
    "read_capture",
    "read_config",
]
