"""Judge recursive resolvers by what their client saw."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import dns.edns
import dns.flags
import dns.rcode
import dns.rdatatype

from quada.doctor.findings import Finding, Verdict, sort_findings
from quada.doctor.judge_encrypted import WORDS, judge_designated
from quada.doctor.observe_resolvers import PURPOSES, six_of, told_prefixes

_FILTERED: Final = (
    dns.edns.EDECode.BLOCKED, dns.edns.EDECode.CENSORED, dns.edns.EDECode.FILTERED,
    dns.edns.EDECode.PROHIBITED,
)  # fmt: skip

_STUB_S: Final = 5  # resolv.conf(5): timeout, and MAXNS below
_STUB_MAX: Final = 3
_ANCHORED: Final = 33  # the EDE of answers below a negative trust anchor: IANA, BIND 9.20.27

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Exchange, Observation
    from quada.resolver.dns64 import Prefix


def judge_resolvers(observation: Observation) -> list[Finding]:
    """Give findings, the worst first."""
    if observation.about("stranger"):
        return sort_findings(list(_judge_open(observation)))
    by_address = {
        address: {one.about: one for one in observation.exchanges if one.server == address}
        for address in observation.resolvers
    }
    found = [*_judge_reach(observation, by_address), *_judge_dns64(observation)]
    for address, seen in by_address.items():
        if _is_alive(seen):
            found += [
                *_judge_validation(address, seen), *_judge_outward(address, seen),
                *_judge_ddr(observation, address, seen), *_judge_filter(address, seen),
            ]  # fmt: skip
    return sort_findings(found)


def _is_alive(seen: dict[str, Exchange]) -> bool:
    return any(seen[one].message for one in ("plain-udp", "plain-tcp") if one in seen)


def _judge_reach(
    observation: Observation, by_address: dict[str, dict[str, Exchange]]
) -> Iterator[Finding]:
    alive = [address for address, seen in by_address.items() if _is_alive(seen)]
    for at, (address, seen) in enumerate(by_address.items()):
        place = observation.resolvers[address]
        rows = tuple(f"{seen[one].transport}: {seen[one].outcome}, {seen[one].rtt_ms} ms"
                     for one in ("plain-udp", "plain-tcp"))  # fmt: skip
        udp, tcp = (bool(seen[one].message) for one in ("plain-udp", "plain-tcp"))
        if udp and tcp:
            verdict, word = Verdict.PASS, "it answers over UDP and TCP"
        elif udp or tcp:
            verdict, word = Verdict.WARN, f"it answers over {'UDP' if udp else 'TCP'} alone"
        elif ":" in address and all(one.silence == "unreachable" for one in (
            seen["plain-udp"], seen["plain-tcp"])):  # fmt: skip
            verdict, word = Verdict.UNKNOWN, "no route leads there from here"
        else:
            verdict, word = Verdict.FAIL, "it does not answer"
            if any(list(by_address).index(other) > at for other in alive):
                word += "; stubs wait for it before they ask the next"
        yield Finding("resolver-answers", verdict, f"{address} ({place})", word, rows)
    if alive:
        yield _order(list(by_address), alive[0])
    sixes = [address for address in alive if ":" in address]
    if sixes:
        yield Finding("resolver-ipv6", Verdict.PASS, "resolvers", f"over IPv6: {', '.join(sixes)}")
    elif alive and all(ipaddress.ip_address(one).is_loopback for one in alive):
        yield Finding(
            "resolver-ipv6", Verdict.INFO, "resolvers",
            "only a stub on this machine is asked: look at those behind it with --resolver",
        )  # fmt: skip
    else:
        yield Finding("resolver-ipv6", Verdict.FAIL, "resolvers", "none answers over IPv6")


def _order(listed: list[str], first: str) -> Finding:
    """What a stub with nothing but the list makes of it."""
    at = listed.index(first)
    if at == 0:
        verdict, word = Verdict.PASS, "the first of the list answers"
    elif at < _STUB_MAX:
        verdict, word = Verdict.WARN, f"stubs wait {at * _STUB_S} s before they ask {first}"
    else:
        verdict, word = Verdict.FAIL, f"stubs ask {_STUB_MAX}, and {first} is the first to answer"
    return Finding("resolver-order", verdict, "resolvers", word)


def _judge_validation(address: str, seen: dict[str, Exchange]) -> Iterator[Finding]:
    secure, bogus, unchecked = (seen.get(one) for one in ("secure", "bogus", "bogus-cd"))
    if bogus is None or bogus.answer is None or unchecked is None:
        yield Finding(
            "resolver-validates", Verdict.UNKNOWN, address, "it does not answer for a broken name"
        )
        return
    rows = tuple(f"{one.about}: {one.qname} {one.qtype} {_said(one)}"
                 for one in (secure, bogus, unchecked) if one is not None)  # fmt: skip
    if any(isinstance(one, dns.edns.EDEOption) and one.code == _ANCHORED
           for one in bogus.answer.options):  # fmt: skip
        yield Finding(
            "resolver-nta", Verdict.INFO, address,
            f"a negative trust anchor covers {bogus.qname}: whether it validates is not told by it",
        )  # fmt: skip
        return
    if _said(bogus) != "SERVFAIL":
        is_believed = bogus.answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
        yield Finding(
            "resolver-validates", Verdict.FAIL if is_believed else Verdict.UNKNOWN, address,
            "a broken name is believed" if is_believed else f"a broken name gets {_said(bogus)}",
            rows,
        )  # fmt: skip
        return
    if not _said(unchecked).startswith("NOERROR"):
        yield Finding(
            "resolver-validates", Verdict.UNKNOWN, address,
            "the broken name fails without validation too", rows,
        )  # fmt: skip
        return
    has_ad = secure is not None and "AD" in _said(secure)
    yield Finding(
        "resolver-validates", Verdict.PASS if has_ad else Verdict.WARN, address,
        "it validates" if has_ad else "it refuses what is broken, and sets no AD on what is good",
        rows,
    )  # fmt: skip
    if not any(option.otype == dns.edns.OptionType.EDE for option in bogus.answer.options):
        yield Finding("resolver-ede", Verdict.INFO, address, "it does not say why it fails")


def _judge_outward(address: str, seen: dict[str, Exchange]) -> Iterator[Finding]:
    one = seen.get("six-only")
    if one is None:
        return
    is_good = one.answer is not None and one.answer.rcode() in (
        dns.rcode.NOERROR, dns.rcode.NXDOMAIN)  # fmt: skip
    yield Finding(
        "resolver-six-outward", Verdict.PASS if is_good else Verdict.FAIL, address,
        f"{one.qname}, {PURPOSES['six-only']}: {one.outcome}",
    )  # fmt: skip


def _judge_filter(address: str, seen: dict[str, Exchange]) -> Iterator[Finding]:
    """AAAA of a name that has some, and what the resolver says of itself."""
    one = seen.get("native")
    answer = one.answer if one is not None else None
    if one is not None and answer is not None and answer.rcode() == dns.rcode.NOERROR:
        reasons = [
            dns.edns.EDECode(option.code).name.lower()
            for option in answer.options
            if isinstance(option, dns.edns.EDEOption) and option.code in _FILTERED
        ]
        if not six_of(one):
            said = f", and says why: {reasons[0]}" if reasons else ""
            yield Finding(
                "resolver-no-aaaa", Verdict.INFO if reasons else Verdict.WARN, address,
                f"of {one.qname}, which has AAAA, it gives none{said}",
            )  # fmt: skip
    info = seen.get("info")
    told = [
        text.decode("utf-8", "replace")
        for rrset in (info.answer.answer if info is not None and info.answer else ())
        if rrset.rdtype == dns.rdatatype.RESINFO
        for item in rrset
        for text in item.strings
    ]
    words = f"it says of itself: {', '.join(told)}" if told else "it has no RESINFO"
    yield Finding("resolver-info", Verdict.INFO, address, words[:500])


def _judge_ddr(
    observation: Observation, address: str, seen: dict[str, Exchange]
) -> Iterator[Finding]:
    mine = [one for one in observation.designated if one.server == address]
    if not mine:
        yield Finding("resolver-ddr", Verdict.INFO, address, "it designates no encrypted endpoint")
        return
    asked = [one for one in observation.about("designated") if one.server == address]
    fit = {6, 4}  # what is designated is asked over the family by which the resolver answered
    for one in mine:
        yield from judge_designated(one, asked, fit)
    for told in observation.about("designated-address"):
        if told.server == address and told.silence == "tls":
            yield Finding(
                "ddr-certificate", Verdict.WARN, f"{address} {WORDS[told.transport]}",
                f"its certificate is not good for its address: {told.detail}",
            )  # fmt: skip


def _judge_dns64(observation: Observation) -> Iterator[Finding]:
    told = told_prefixes(observation)
    asked = [one.address for one in observation.about("ipv4only") if one.message]
    for address in asked:
        prefixes = told[address]
        words = ", ".join(map(str, prefixes))
        if prefixes:
            verdict = Verdict.WARN if len(prefixes) > 1 else Verdict.INFO
            yield Finding("dns64-prefix", verdict, address, f"it tells the NAT64 prefix {words}")
        elif any(told[other] for other in asked if (":" in other) == (":" in address)):
            yield Finding("dns64-prefix", Verdict.WARN, address, "it tells none, and others do")
    sets = {tuple(told[address]) for address in asked if told[address]}
    if len(sets) > 1:
        yield Finding("dns64-prefix", Verdict.WARN, "resolvers", "they tell different prefixes")
    yield from _judge_families(asked, told)
    for one in observation.exchanges:
        prefixes = told.get(one.server, [])
        made = [text for text in six_of(one)
                if any(p.extract(ipaddress.IPv6Address(text).packed) is not None
                       for p in prefixes)]  # fmt: skip
        if made and one.about in _SYNTHESIZED:
            code, word = _SYNTHESIZED[one.about]
            yield Finding(code, Verdict.WARN, one.server, f"{one.qname} {word}: {made[0]}")
        if one.about == "synthesized-ptr" and (one.answer is None or not one.answer.answer):
            yield Finding(
                "dns64-reverse", Verdict.WARN, one.server,
                f"a synthesized address has no name: {one.outcome}",
            )  # fmt: skip
    for visit in observation.visits:
        verdict = Verdict.PASS if visit.is_open else Verdict.FAIL
        word = "connects" if visit.is_open else f"does not connect: {visit.why}"
        yield Finding("nat64-path", verdict, visit.address, f"TCP port {visit.port} {word}")


def _judge_families(asked: list[str], told: dict[str, list[Prefix]]) -> Iterator[Finding]:
    """Whether resolvers of one family tell a prefix, and those of the other do not."""
    families = {
        family: {bool(told[address]) for address in asked if (":" in address) == (family == 6)}
        for family in (6, 4)
    }
    if not families[6] or not families[4] or not any(told[address] for address in asked):
        return
    if families == {6: {True}, 4: {False}}:
        verdict, word = Verdict.INFO, "who asks over IPv6 is told a prefix, over IPv4 none"
    elif families == {6: {False}, 4: {True}}:
        verdict, word = (
            Verdict.WARN,
            ("who asks over IPv4 is told a prefix, over IPv6, where it is needed, none"),
        )
    elif families == {6: {True}, 4: {True}}:
        verdict, word = Verdict.PASS, "over either family a prefix is told"
    else:
        return  # they differ within a family: dns64-prefix
    yield Finding("dns64-family", verdict, "resolvers", word)


_SYNTHESIZED = {
    "native": ("dns64-over-native", "has AAAA of its own, and gets a synthesized one"),
    "broken-aaaa": ("dns64-masks", "has an AAAA that fails, which a synthesized one hides"),
    "signed-four-cd": (
        "dns64-signed", "is signed, and a client that validates itself gets a synthesized AAAA"),
}  # fmt: skip


def _judge_open(observation: Observation) -> Iterator[Finding]:
    for one in observation.about("stranger"):
        answer = one.answer
        is_open = answer is not None and bool(answer.flags & dns.flags.RA) and (
            bool(answer.answer) or answer.rcode() == dns.rcode.NXDOMAIN)  # fmt: skip
        if is_open:
            yield Finding("resolver-open", Verdict.FAIL, one.address, "it recurses for strangers")
        elif answer is not None and answer.flags & dns.flags.RA and not answer.rcode():
            yield Finding(
                "resolver-open", Verdict.WARN, one.address,
                f"it tells strangers that it recurses (RA), and gives no {one.qtype}",
            )  # fmt: skip
        elif answer is not None or one.silence in ("timeout", "refused"):
            yield Finding("resolver-open", Verdict.PASS, one.address, f"strangers: {_said(one)}")
        else:
            yield Finding("resolver-open", Verdict.UNKNOWN, one.address, _said(one))


def _said(one: Exchange) -> str:
    """An outcome as a client of a resolver sees it: rcode, and AD."""
    answer = one.answer
    if answer is None:
        return one.detail or one.outcome
    ad = " AD" if answer.flags & dns.flags.AD else ""
    return f"{dns.rcode.to_text(answer.rcode())}{ad}"
