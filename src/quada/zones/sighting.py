"""What the parent was seen with: every server, over each family, and whether they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Sighting(NamedTuple):
    """What one server of the parent said about our DS, over one family; None for no answer."""

    server: str
    family: int
    ds: frozenset[bytes] | None


def agree(
    sightings: Iterable[Sighting], *, families: frozenset[int]
) -> tuple[frozenset[bytes] | None, str]:
    """Give the DS set all parent servers agree on, or None and why there is none.

    Takes the families that must have been heard: normally both, so that a parent whose IPv6 servers
    lag does not count as done.
    """
    heard: dict[int, set[frozenset[bytes]]] = {}
    silent = []
    for server, family, ds in sightings:
        if ds is None:
            silent.append(f"{server} over IPv{family}")
        else:
            heard.setdefault(family, set()).add(ds)
    unheard = sorted(families - heard.keys(), reverse=True)
    if unheard:
        return None, f"no server of the parent answered over IPv{unheard[0]}"
    said = set().union(*heard.values()) if heard else set()
    if len(said) != 1:
        return None, "the parent's servers disagree about DS" if said else "nobody was asked"
    if silent:
        return None, f"{silent[0]} did not answer"
    return said.pop(), ""
