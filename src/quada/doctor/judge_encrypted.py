"""Judge encrypted endpoints: those that records name, and those that nobody told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quada.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Designated, Exchange, Observation


def judge_encrypted(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Judge what a domain's servers offer."""
    asked = observation.about("designated")
    for one in observation.designated:
        yield from judge_designated(one, asked, fit)
    told = {(one.target, one.transport) for one in observation.designated}
    found: dict[tuple[str, str], dict[int, list[Exchange]]] = {}
    for seen in observation.about("opportunistic"):
        if (seen.server, seen.transport) not in told:
            families = found.setdefault((seen.server, seen.transport), {})
            families.setdefault(seen.family, []).append(seen)
    for (server, transport), families in found.items():
        answered = {f for f, some in families.items() if any(one.message for one in some)}
        word = WORDS[transport]
        if 6 in answered:
            yield Finding("encrypted-offered", Verdict.INFO, server, f"it speaks {word} over IPv6")
        elif 4 in answered and 6 in families and 6 in fit:
            yield Finding(
                "encrypted-ipv6", Verdict.WARN, server, f"it speaks {word} over IPv4 alone",
                tuple(map(_row, families[6])),
            )  # fmt: skip


def judge_designated(one: Designated, asked: list[Exchange], fit: set[int]) -> Iterator[Finding]:
    """Judge one endpoint that a record names, by the questions that it was asked."""
    subject = f"{one.target} {WORDS[one.transport]}"
    if any(":" not in a for a in one.hinted) and not any(":" in a for a in one.hinted):
        yield Finding(
            "encrypted-hints", Verdict.WARN, subject, "its record has ipv4hint and no ipv6hint"
        )
    mine = [
        seen for seen in asked
        if (seen.name, seen.transport, seen.port) == (
            one.target.rstrip("."), one.transport, one.port)
    ]  # fmt: skip
    if not any(":" in a for a in (*one.addresses, *one.hinted)):
        yield Finding("encrypted-ipv6", Verdict.FAIL, subject, "it has no IPv6 address")
    failed = [seen for seen in mine if seen.silence == "tls"]
    if failed:
        yield Finding(
            "encrypted-certificate", Verdict.FAIL, subject,
            f"it does not prove its name: {failed[0].detail}", tuple(map(_row, failed)),
        )  # fmt: skip
    reached = {
        family: [bool(seen.message) or seen.silence == "tls" for seen in mine
                 if seen.family == family]
        for family in (6, 4)
        if family in fit
    }  # fmt: skip
    rows = tuple(map(_row, mine))
    if 6 not in fit:
        yield Finding("encrypted-ipv6", Verdict.UNKNOWN, subject, "no IPv6 here to ask it over")
    elif mine and not any(any(some) for some in reached.values()):
        yield Finding("encrypted-dead", Verdict.FAIL, subject, "it answers over no family", rows)
    elif reached[6] and not any(reached[6]):
        yield Finding("encrypted-ipv6", Verdict.FAIL, subject, "it does not answer over IPv6", rows)
    elif reached[6] and not all(reached[6]):
        yield Finding(
            "encrypted-ipv6", Verdict.WARN, subject, "some IPv6 addresses do not answer", rows
        )
    elif reached[6] and not failed:
        yield Finding("encrypted-ipv6", Verdict.PASS, subject, "it answers over IPv6", rows)


WORDS = {"dot": "DoT", "doh": "DoH", "doq": "DoQ"}


def _row(seen: Exchange) -> str:
    detail = f" ({seen.detail})" if seen.detail else ""
    return f"{seen.address} port {seen.port}: {seen.outcome}{detail}, {seen.rtt_ms} ms"
