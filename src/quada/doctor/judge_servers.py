"""What the servers of a zone did when asked over each family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.flags
import dns.rcode
import dns.rdatatype

from quada.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Exchange, Observation


_PACED: Final = ("soa-udp", "edns", "ns", "aaaa", "a")
_SLOW_MS: Final = 100.0
"""Our choice: RFC 8305 5 has clients wait 50 ms, and a busy machine adds some of its own."""
_UNMANNERLY: Final = ("case-altered", "upward-referral")


def judge_servers(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Judge each server by name, comparing its families."""
    by_server: dict[str, list[Exchange]] = {}
    for one in observation.exchanges:
        if one.zone == observation.zone and one.about not in ("vantage", "referral"):
            by_server.setdefault(one.server, []).append(one)
    for server, exchanges in by_server.items():
        yield from _judge_reach(server, exchanges, fit)
        if 6 in fit:
            yield from _judge_six(server, [one for one in exchanges if one.family == 6])
            yield from _judge_pace(server, exchanges)
        yield from _judge_manners(server, exchanges)
    yield from _judge_agreement(observation)


def _judge_reach(server: str, exchanges: list[Exchange], fit: set[int]) -> Iterator[Finding]:
    """Tell which family and transport fails; both together are one fault of another kind."""
    failed = {
        (family, about): _failures(exchanges, family, about)
        for family in (6, 4)
        for about in ("soa-udp", "soa-tcp")
    }
    asked = {one.family for one in exchanges}
    dead = {family for family in asked if failed[family, "soa-udp"] and failed[family, "soa-tcp"]}
    if asked and dead == asked and (len(asked) == 2 or fit != asked):
        outcomes = [*failed[6, "soa-udp"], *failed[4, "soa-udp"]]
        yield Finding(
            "server-dead",
            Verdict.FAIL,
            server,
            "it does not answer over any family it was asked over",
            tuple(outcomes),
        )
        return
    for about, word in (("soa-udp", "udp"), ("soa-tcp", "tcp")):
        six, four = failed[6, about], failed[4, about]
        if six and four and len(asked) == 2:
            yield Finding(
                "server-dead",
                Verdict.FAIL,
                server,
                f"it does not answer over {word.upper()}",
                (*six, *four),
            )
        elif six:
            yield Finding(
                f"server-{word}-ipv6",
                Verdict.FAIL,
                server,
                f"it does not answer over IPv6 and {word.upper()}",
                tuple(six),
            )
        elif four:
            yield Finding(
                "server-udp-ipv4",
                Verdict.WARN,
                server,
                f"it does not answer over IPv4 and {word.upper()}",
                tuple(four),
            )
        elif 6 in asked and not six:
            yield Finding(
                f"server-{word}-ipv6",
                Verdict.PASS,
                server,
                f"it answers over IPv6 and {word.upper()}",
            )


def _failures(exchanges: list[Exchange], family: int, about: str) -> list[str]:
    return [
        f"{one.address} {one.transport.upper()}: {one.outcome}"
        for one in exchanges
        if one.family == family and one.about == about and not one.is_good
    ]


def _judge_six(server: str, exchanges: list[Exchange]) -> Iterator[Finding]:
    """What only an address that answers at all can get wrong."""
    by_address: dict[str, dict[str, Exchange]] = {}
    for one in exchanges:
        by_address.setdefault(one.address, {})[one.about] = one
    for address, seen in by_address.items():
        plain = seen.get("soa-udp")
        if plain is None or not plain.is_good:
            continue
        subject = f"{server} {address}"
        edns = seen.get("edns")
        if edns is not None and not edns.is_good:
            yield Finding("edns", Verdict.FAIL, subject, f"with EDNS it says {edns.outcome}")
        elif edns is not None and edns.answer is not None and edns.answer.edns < 0:
            yield Finding("edns", Verdict.WARN, subject, "it answers EDNS without EDNS")
        large, stream = seen.get("large-1232"), seen.get("large-tcp")
        if large is not None and edns is not None and edns.is_good and large.answer is None:
            over = f"; over TCP {stream.outcome}" if stream is not None else ""
            yield Finding(
                "large-answers",
                Verdict.FAIL,
                subject,
                f"DNSKEY with 1232 octets: {large.outcome}{over}",
            )
        elif (
            large is not None
            and large.answer is not None
            and large.answer.flags & dns.flags.TC
            and stream is not None
            and not stream.is_good
            and stream.silence != "timeout"  # `tcp-stalls`, or no TCP at all
        ):
            yield Finding(
                "large-answers",
                Verdict.FAIL,
                subject,
                f"truncated over UDP, and over TCP {stream.outcome}",
            )
        unknown, version = seen.get("edns-unknown"), seen.get("edns-version")
        if edns is not None and edns.is_good and unknown is not None and version is not None:
            yield from _judge_unknown(subject, unknown, version)
        six, four = seen.get("aaaa"), seen.get("a")
        if six is not None and four is not None and four.is_good and not six.is_good:
            yield Finding(
                "aaaa-dropped", Verdict.FAIL, subject, f"A is answered, AAAA is {six.outcome}"
            )


def _judge_unknown(subject: str, unknown: Exchange, version: Exchange) -> Iterator[Finding]:
    """Options and flags to come are ignored, versions to come refused (RFC 6891 6.1.2, 6.1.3)."""
    words = []
    if not unknown.is_good:
        words.append(f"with an option and a flag that nobody knows it says {unknown.outcome}")
    if version.outcome != "BADVERS":
        words.append(f"with EDNS version 1 it says {version.outcome}, not BADVERS")
    if words:
        yield Finding("edns-unknown", Verdict.WARN, subject, "; ".join(words))


def _judge_pace(server: str, exchanges: list[Exchange]) -> Iterator[Finding]:
    """Compare how long families and types take; the least of several, for single ones vary."""
    best = {
        family: min((one.rtt_ms for one in exchanges if one.family == family and one.message
                     and one.about in _PACED), default=0.0)
        for family in (6, 4)
    }  # fmt: skip
    if best[4] and best[6] > max(3 * best[4], best[4] + _SLOW_MS):
        yield Finding(
            "server-slow-ipv6", Verdict.WARN, server,
            f"it answers in {best[6]:.0f} ms over IPv6, in {best[4]:.0f} ms over IPv4",
        )  # fmt: skip
    took: dict[str, dict[str, float]] = {}
    for one in exchanges:
        if one.about in ("aaaa", "a") and one.is_good:
            took.setdefault(one.address, {})[one.about] = one.rtt_ms
    later = [seen["aaaa"] - seen["a"] for seen in took.values() if len(seen) == 2]
    if later and min(later) > _SLOW_MS:
        yield Finding(
            "aaaa-slow", Verdict.WARN, server,
            f"AAAA comes {min(later):.0f} ms after A at each of its addresses",
        )  # fmt: skip


def _judge_manners(server: str, exchanges: list[Exchange]) -> Iterator[Finding]:
    open_over: dict[str, set[int]] = {}
    for one in exchanges:
        answer = one.answer
        if answer is None:
            continue
        if one.about == "recursion":
            is_open = bool(answer.flags & dns.flags.RA) and (
                answer.rcode() == dns.rcode.NXDOMAIN or bool(answer.answer)
            )
            if is_open:
                open_over.setdefault("open-recursion", set()).add(one.family)
            elif any(
                rrset.rdtype == dns.rdatatype.NS and len(rrset.name.labels) == 1
                for rrset in answer.authority
            ):
                open_over.setdefault("upward-referral", set()).add(one.family)
        elif one.about == "transfer" and answer.rcode() == dns.rcode.NOERROR and answer.answer:
            open_over.setdefault("transfer-open", set()).add(one.family)
        elif (
            one.about == "case" and one.is_good and answer.question
            and answer.question[0].name.to_text() != one.qname
        ):  # fmt: skip
            open_over.setdefault("case-altered", set()).add(one.family)
    for code, families in open_over.items():
        over = " and ".join(f"IPv{family}" for family in sorted(families, reverse=True))
        verdict = Verdict.WARN if code in _UNMANNERLY else Verdict.FAIL
        word = {
            "open-recursion": "it recurses for strangers",
            "transfer-open": "anybody may transfer the zone",
            "case-altered": "it changes the case of the question",
            "upward-referral": "it refers to the root for what is not its own",
        }[code]
        yield Finding(code, verdict, server, f"{word} over {over}")


def _judge_agreement(observation: Observation) -> Iterator[Finding]:
    """Compare serials and data of each server's families, then of all servers."""
    serials: dict[tuple[str, int], set[int]] = {}
    data: dict[tuple[str, int], set[frozenset[str]]] = {}
    for one in observation.about("soa-udp", "aaaa"):
        answer = one.answer
        if answer is None or not one.is_good:
            continue
        key = (one.server, one.family)
        for rrset in answer.answer:
            if one.about == "soa-udp" and rrset.rdtype == dns.rdatatype.SOA:
                serials.setdefault(key, set()).add(rrset[0].serial)
        if one.about == "aaaa":
            items = frozenset(
                item.to_text()
                for rrset in answer.answer
                if rrset.rdtype == dns.rdatatype.AAAA
                for item in rrset
            )
            data.setdefault(key, set()).add(items)
    for server in {server for server, _ in serials}:
        six, four = serials.get((server, 6)), serials.get((server, 4))
        if six and four and six != four:
            yield Finding(
                "serial-differs",
                Verdict.FAIL,
                server,
                f"over IPv6 {_list(six)}, over IPv4 {_list(four)}",
            )
        here, there = data.get((server, 6)), data.get((server, 4))
        if here and there and here != there and six == four:
            yield Finding(
                "data-differs",
                Verdict.FAIL,
                server,
                "AAAA answers over IPv6 and IPv4 are not the same",
            )
    everywhere = set().union(*serials.values()) if serials else set()
    split = {
        server for server, _ in serials if serials.get((server, 6)) != serials.get((server, 4))
    }
    if len(everywhere) > 1 and not split:
        yield Finding(
            "serial-differs",
            Verdict.WARN,
            observation.zone,
            f"servers have serials {_list(everywhere)}",
        )


def _list(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
