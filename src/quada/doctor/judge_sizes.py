"""Judge which sizes of messages arrive over IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.flags

from quada.doctor.findings import Finding, Verdict
from quada.doctor.observation import offered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Exchange, Observation

SEGMENT_OCTETS: Final = 1_388  # draft-ietf-dnsop-3901bis
_LARGE_OCTETS: Final = 1_400  # RFC 9715 3.1
_LONG_OCTETS: Final = 5_000  # our choice: four segments of any size that paths have
_STREAMS: Final = ("large-tcp", "text-tcp", "any-tcp")


def judge_sizes(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Judge each server address that answered a small offer over IPv6."""
    if 6 not in fit:
        return
    sized = [one for one in observation.exchanges if one.about.startswith("size-")]
    answers = {one.address for one in observation.about("large-1232") if one.answer is not None}
    lost_four = {(one.server, one.qtype) for one in sized if one.family == 4 and not one.message}
    whole = {one.address: len(one.message) // 2 for one in observation.about("large-tcp")}
    yield from _judge_streams(observation)
    yield from _judge_longest(observation)
    yield from _judge_segments(observation)
    for address in dict.fromkeys(one.address for one in sized if one.family == 6):
        mine = [one for one in sized if one.address == address]
        subject = f"{mine[0].server} {address}"
        large = max((len(one.message) // 2 for one in mine), default=0)
        if large > _LARGE_OCTETS:
            yield Finding(
                "udp-too-large", Verdict.WARN, subject, f"it sends {large} octets over UDP"
            )
        for qtype in dict.fromkeys(one.qtype for one in mine):
            rows = sorted((one for one in mine if one.qtype == qtype), key=offered)
            lost = [one for one in rows if not one.message and one.silence == "timeout"]
            if not lost or address not in answers:
                continue
            first = offered(lost[0])
            good = max((offered(one) for one in rows if one.message and offered(one) < first),
                       default=1232)  # fmt: skip
            both = ", over IPv4 too" if (rows[0].server, qtype) in lost_four else ""
            full = f" ({whole[address]} octets over TCP)" if qtype == "DNSKEY" and (
                whole.get(address)) else ""  # fmt: skip
            yield Finding(
                "fragments-dropped", Verdict.WARN, subject,
                f"{qtype}{full} arrives where {good} octets are offered, and is lost from"
                f" {first} on{both}",
                tuple(_row(one) for one in rows),
            )  # fmt: skip


def _judge_streams(observation: Observation) -> Iterator[Finding]:
    """A connection that takes a short answer and stands still at a long one (RFC 8201 4)."""
    good = {one.address for one in observation.about("soa-tcp") if one.is_good}
    stalled: dict[tuple[str, int], list[Exchange]] = {}
    # Some servers drop ANY (RFC 8482): lost over one family alone, it is lost on the way.
    told = {one.server for one in observation.about("any-tcp") if one.family == 4 and one.message}
    for one in observation.about(*_STREAMS):
        is_told = one.about != "any-tcp" or one.server in told
        if is_told and one.address in good and not one.message and one.silence == "timeout":
            stalled.setdefault((one.server, one.family), []).append(one)
    for (server, family), rows in stalled.items():
        if family == 6:
            both = ", over IPv4 too" if (server, 4) in stalled else ""
            yield Finding(
                "tcp-stalls", Verdict.FAIL, server,
                f"over TCP a short answer comes, and {' and '.join(one.qtype for one in rows)}"
                f" does not{both}",
                tuple(f"{one.address}: {one.qtype} {one.outcome}" for one in rows),
            )  # fmt: skip


def _judge_longest(observation: Observation) -> Iterator[Finding]:
    """How long a message came whole over IPv6: a zone with little to say tells little."""
    longest: dict[str, int] = {}
    for one in observation.about(*_STREAMS):
        if one.family == 6 and one.message:
            longest[one.address] = max(longest.get(one.address, 0), len(one.message) // 2)
    if longest:
        address, octets = min(longest.items(), key=lambda item: item[1])
        is_long = octets >= _LONG_OCTETS
        word = "" if is_long else "; the zone asks no more of the path, and nothing more is known"
        yield Finding(
            "tcp-large", Verdict.PASS if is_long else Verdict.INFO, observation.zone,
            f"{octets} octets came whole from {address}{word}",
            tuple(f"{one}: {size} octets" for one, size in longest.items()),
        )  # fmt: skip


def _judge_segments(observation: Observation) -> Iterator[Finding]:
    """Beyond 1388 octets is the rule on the Internet, and no fault by itself: INFO."""
    for one in observation.visits:
        if one.service == "dns" and one.segment_octets:
            is_large = one.segment_octets > SEGMENT_OCTETS
            yield Finding(
                "segment-size", Verdict.INFO if is_large else Verdict.PASS,
                f"{one.host} {one.address}", f"segments of up to {one.segment_octets} octets",
            )  # fmt: skip


def _row(one: Exchange) -> str:
    answer = one.answer
    if answer is None:
        return f"{offered(one)} offered: {one.outcome}"
    cut = ", truncated" if answer.flags & dns.flags.TC else ""
    return f"{offered(one)} offered: {len(one.message) // 2} octets{cut}"
