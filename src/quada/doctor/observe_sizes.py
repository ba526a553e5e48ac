"""Find from which size on answers are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quada.doctor.observation import offered
from quada.doctor.probe import Wanted

if TYPE_CHECKING:
    from quada.doctor.observation import Observation
    from quada.doctor.probe import Prober, Steps

_SIZED_MAX: Final = 8


def observe_sizes(prober: Prober, made: Observation) -> Steps[None]:
    """Where an answer is lost that a larger offer allows, find from which offer on.

    Two rounds, each of several sizes at once: the bound is known to 64 octets after two waits.
    """
    lost = [one for one in made.about("size-4096") if not one.message and one.silence == "timeout"][
        :_SIZED_MAX
    ]
    bounds = [(1232, 4096)] * len(lost)
    for count in (6, 6):
        wanted = []
        for one, (low, high) in zip(lost, bounds, strict=True):
            step = max(1, (high - low) // (count + 1))
            wanted += [
                (one.zone, one.server, one.address,
                 Wanted(f"size-{low + step * at}", one.qname, one.qtype,
                        payload=low + step * at, is_do=True))
                for at in range(1, count + 1)
            ]  # fmt: skip
        asked = yield from prober.probe(wanted)
        made.exchanges += asked
        for at in range(len(lost)):
            mine = asked[at * count : (at + 1) * count]
            arrived = [offered(seen) for seen in mine if seen.message]
            dropped = [offered(seen) for seen in mine if not seen.message]
            low, high = bounds[at]
            low = max([low, *(size for size in arrived if size < min(dropped, default=high))])
            bounds[at] = low, min([high, *(size for size in dropped if size > low)])
