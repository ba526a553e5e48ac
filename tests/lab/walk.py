"""Walk the incident checklist for many names in one process: `walk.py HINTS ANCHOR TRUST NAME...`."""

import asyncio
import json
import sys

from quada.doctor import Observation, judge
from quada.doctor.incident import Logged, walk
from quada.server.looking import LAB_RANGES, look, make_observer


async def cause_of(hints: str, anchor: str, trust: str, name: str) -> str:
    observer = make_observer(hints, anchor)
    seen: Observation | str = ""
    async for told in look(
        observer, observer.observe(f"{name}."), ignores=LAB_RANGES, ca_file=trust
    ):
        seen = told
    assert isinstance(seen, Observation)
    return walk(seen, judge(seen, ignores=LAB_RANGES), Logged()).causes[0].code


async def main() -> None:
    hints, anchor, trust, *names = sys.argv[1:]
    print(json.dumps({name: await cause_of(hints, anchor, trust, name) for name in names}))


asyncio.run(main())
