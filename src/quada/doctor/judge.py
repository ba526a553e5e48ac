"""Judge an observation: every finding follows from what was seen, and nothing else.

Rules of judgement: what the vantage point cannot tell is UNKNOWN; what fails over both families is
no IPv6 finding but a fault of its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rdtypes.svcbbase as svcb

from quada.doctor.findings import Finding, Verdict, sort_findings
from quada.doctor.graph import Graph
from quada.doctor.judge_encrypted import judge_encrypted
from quada.doctor.judge_keys import judge_keys
from quada.doctor.judge_reverse import judge_reverse
from quada.doctor.judge_servers import judge_servers
from quada.doctor.judge_services import judge_services
from quada.doctor.judge_sizes import judge_sizes
from quada.zones.check_address import special_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quada.doctor.observation import Exchange, Observation, Visit

_BAD: Final = (Verdict.FAIL, Verdict.WARN)
_SHORT_S: Final = 12 * 3600  # Zonemaster DNSSEC04
_SOON_S: Final = 7 * 86_400
_REFERRAL_OCTETS: Final = 512
_EFFORT: Final = 2  # our choice: a resolver that asks more than twice as often
_EFFORT_MIN: Final = 10  # our choice: a retry or two are chance


def judge(observation: Observation, *, ignores: frozenset[str] = frozenset()) -> list[Finding]:
    """Give findings, the worst first.

    `ignores` are address ranges by name that are well in a lab (`documentation`, `unique local`).
    """
    fit = fit_families(observation)
    found = [
        *_judge_vantage(observation, fit),
        *_judge_own(observation),
        *_judge_path(observation),
        *_judge_delegation(observation, fit, ignores),
        *judge_servers(observation, fit),
        *_judge_data(observation, ignores),
        *judge_reverse(observation, fit),
        *_judge_dnssec(observation),
        *judge_keys(observation),
        *_judge_graph(observation, fit),
        *judge_sizes(observation, fit),
        *judge_encrypted(observation, fit),
        *judge_services(observation, fit),
    ]
    if not fit:
        # Who reaches the root over no family can tell of nothing.
        found = [
            one._replace(verdict=Verdict.UNKNOWN) if one.verdict in _BAD else one for one in found
        ]
    return sort_findings(found)


def fit_families(observation: Observation) -> set[int]:
    """Give the families over which this vantage point reached any root server.

    Who answers without authority is somebody in between, and says nothing of the world.
    """
    return {one.family for one in observation.about("vantage") if one.is_good}


def _judge_vantage(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    for family in (6, 4):
        asked = [one for one in observation.about("vantage") if one.family == family]
        evidence = tuple(f"{one.address}: {one.outcome}, {one.rtt_ms} ms" for one in asked)
        verdict = Verdict.PASS if family in fit else Verdict.UNKNOWN
        word = "reaches" if family in fit else "does not reach"
        if family not in fit and any(one.answer is not None for one in asked):
            word = "is answered by somebody else in place of"
        yield Finding(
            f"vantage-ipv{family}",
            verdict,
            observation.vantage,
            f"this machine {word} the root over IPv{family}",
            evidence,
        )


def _judge_own(observation: Observation) -> Iterator[Finding]:
    """A server that looks at itself sees nothing of what lies between it and others."""
    if observation.own:
        yield Finding(
            "vantage-own", Verdict.INFO, observation.vantage,
            f"this machine is itself {' and '.join(observation.own)}: how others reach it is not"
            " seen from here",
        )  # fmt: skip


def _judge_path(observation: Observation) -> Iterator[Finding]:
    """Tell whether full packets leave this machine; who answers no pings at all tells nothing."""
    sizes: dict[int, list[Visit]] = {}
    for one in observation.visits:
        if one.service == "path" and one.stage != "refused":
            sizes.setdefault(one.packet_octets, []).append(one)
    if len(sizes) != 2:
        return
    small, full = (sizes[octets] for octets in sorted(sizes))
    rows = tuple(
        f"{one.address}: {one.packet_octets} octets {one.why or f'{one.total_ms} ms'}"
        for one in (*small, *full)
    )
    if not any(not one.stage for one in small):
        verdict, word = Verdict.UNKNOWN, "no ping was answered"
    elif any(not one.stage for one in full):
        verdict, word = Verdict.PASS, "packets of 1500 octets arrive"
    elif all("too large" in one.why for one in full):
        verdict, word = Verdict.INFO, "packets of 1500 octets do not fit the path, and it says so"
    else:
        verdict, word = Verdict.WARN, "packets of 1280 octets arrive, and of 1500 are lost"
    yield Finding("vantage-mtu", verdict, observation.vantage, word, rows)


def _judge_delegation(
    observation: Observation, fit: set[int], ignores: frozenset[str]
) -> Iterator[Finding]:
    cut = observation.cuts.get(observation.zone)
    if cut is None or observation.zone == ".":
        return
    zone = observation.zone
    alive: dict[str, set[int]] = {}
    for one in observation.about("soa-udp", "soa-tcp"):
        if one.is_good:
            alive.setdefault(one.server, set()).add(one.family)
    sixes = sorted(server for server, families in alive.items() if 6 in families)
    has_address = [s for s in cut.servers if _of(6, observation.hosts.get(s, ()))]
    if 6 not in fit:
        yield Finding(
            "ns-ipv6-count",
            Verdict.UNKNOWN,
            zone,
            f"{len(has_address)} servers have AAAA; whether they answer is not known",
        )
    elif alive:  # where nobody answers over any family, it is no matter of IPv6
        verdict = Verdict.PASS if len(sixes) > 1 else Verdict.WARN if sixes else Verdict.FAIL
        yield Finding(
            "ns-ipv6-count",
            verdict,
            zone,
            f"{len(sixes)} of {len(cut.servers)} servers answer over IPv6",
            tuple(sixes),
        )
    for server in cut.servers:
        yield from _judge_glue(observation, server)
        yield from _judge_target(observation, server, ignores)
    yield from _judge_ns_sets(observation, cut.servers)
    networks = {
        ipaddress.ip_network((address, 48), strict=False)
        for server in cut.servers
        for address in _of(6, observation.hosts.get(server, ()))
    }
    if len(networks) == 1:
        yield Finding(
            "ns-diversity", Verdict.WARN, zone, f"all IPv6 servers stand in {next(iter(networks))}"
        )
    for one in observation.about("referral-tcp"):
        if one.answer is None:
            yield Finding(
                "referral-truncated", Verdict.FAIL, zone,
                f"{one.server} {one.address} truncates the referral, and over TCP {one.outcome}",
            )  # fmt: skip
    sizes = [
        len(one.message) // 2
        for one in observation.about("referral", "referral-tcp")
        if one.message
    ]
    if sizes and max(sizes) > _REFERRAL_OCTETS:
        yield Finding("referral-size", Verdict.WARN, zone, f"the referral has {max(sizes)} octets")


def _judge_glue(observation: Observation, server: str) -> Iterator[Finding]:
    cut = observation.cuts[observation.zone]
    own = set(_of(6, observation.hosts.get(server, ())))
    glue = set(_of(6, cut.glue.get(server, ())))
    is_inside = server == observation.zone or server.endswith(f".{observation.zone}")
    lacking = []
    for one in observation.about("referral", "referral-tcp"):
        answer = one.answer
        if answer is None or not is_inside or answer.flags & dns.flags.TC:
            continue  # what is truncated is asked for over TCP
        given = {
            item.to_text()
            for rrset in answer.additional
            if rrset.name.to_text().lower() == server and rrset.rdtype == dns.rdatatype.AAAA
            for item in rrset
        }
        if not given:
            lacking.append(one.address)
    if is_inside and own and not glue:
        yield Finding(
            "glue-ipv6-missing",
            Verdict.FAIL,
            server,
            f"the zone has {', '.join(sorted(own))}, {cut.parent} gives no AAAA glue",
            tuple(f"no AAAA from {address}" for address in lacking),
        )
    elif is_inside and own and lacking:
        yield Finding(
            "glue-ipv6-missing",
            Verdict.WARN,
            server,
            "some parent servers give no AAAA glue",
            tuple(f"no AAAA from {address}" for address in lacking),
        )
    if glue and own and glue != own:
        verdict = Verdict.WARN if glue < own else Verdict.FAIL
        yield Finding(
            "glue-differs",
            verdict,
            server,
            f"glue {', '.join(sorted(glue))}; the zone {', '.join(sorted(own))}",
        )
    if glue and not own and server in observation.hosts:
        yield Finding(
            "glue-only",
            Verdict.FAIL,
            server,
            f"glue {', '.join(sorted(glue))}; the zone has no AAAA",
        )


def _judge_target(
    observation: Observation, server: str, ignores: frozenset[str]
) -> Iterator[Finding]:
    if server in observation.aliases:
        yield Finding(
            "ns-target", Verdict.FAIL, server, f"it is an alias of {observation.aliases[server]}"
        )
    elif server in observation.hosts and not observation.hosts[server]:
        yield Finding("ns-target", Verdict.FAIL, server, "it has no address")
    for address in _of(6, observation.hosts.get(server, ())):
        kind = special_range(ipaddress.ip_address(address).packed)
        if kind and not any(word in kind for word in ignores):
            yield Finding("ns-address-class", Verdict.FAIL, server, f"{address} is {kind}")


def _judge_ns_sets(observation: Observation, delegated: list[str]) -> Iterator[Finding]:
    for one in observation.about("ns"):
        answer = one.answer
        if answer is None or not one.is_good:
            continue
        own = {
            item.target.to_text().lower()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.NS
            for item in rrset
        }
        if own and own != set(delegated):
            more, less = sorted(own - set(delegated)), sorted(set(delegated) - own)
            words = [f"only the zone names {', '.join(more)}"] if more else []
            words += [f"only the parent names {', '.join(less)}"] if less else []
            verdict = Verdict.WARN if own & set(delegated) else Verdict.FAIL
            yield Finding("ns-sets-differ", verdict, observation.zone, "; ".join(words))
            return


def _judge_data(observation: Observation, ignores: frozenset[str]) -> Iterator[Finding]:
    found = {(one.qtype, one.families): one for one in observation.resolved}
    six, four = found.get(("AAAA", "both")), found.get(("A", "both"))
    if six is None or four is None:
        return
    if six.addresses:
        yield Finding(
            "aaaa-missing", Verdict.PASS, observation.name, f"AAAA {', '.join(six.addresses)}"
        )
    elif six.rcode == "NOERROR" and four.addresses:
        yield Finding("aaaa-missing", Verdict.FAIL, observation.name, "it has A and no AAAA")
    elif six.rcode in ("NOERROR", "NXDOMAIN"):
        word = "has no address" if six.rcode == "NOERROR" else "does not exist"
        yield Finding("aaaa-missing", Verdict.INFO, observation.name, f"it {word}")
    for address in six.addresses:
        kind = special_range(ipaddress.ip_address(address).packed)
        if kind and not any(word in kind for word in ignores):
            yield Finding(
                "aaaa-address-class", Verdict.FAIL, observation.name, f"{address} is {kind}"
            )
    for one in observation.about("https"):
        answer = one.answer
        lag = _hint_lag(answer, observation.name, set(six.addresses))
        if lag:
            yield Finding("https-hints", Verdict.WARN, observation.name, lag)
            return
        text = " ".join(str(rrset) for rrset in answer.answer) if answer is not None else ""
        if "ipv4hint" in text and "ipv6hint" not in text:
            yield Finding(
                "https-hints",
                Verdict.WARN,
                observation.name,
                "its HTTPS record has ipv4hint and no ipv6hint",
            )
            return


def _hint_lag(answer: dns.message.Message | None, name: str, own: set[str]) -> str:
    """Say which hints of a record about the name itself are none of its AAAA (RFC 9460 7.3)."""
    for rrset in answer.answer if answer is not None else ():
        for item in rrset:
            if not isinstance(item, svcb.SVCBBase) or svcb.ParamKey.IPV6HINT not in item.params:
                continue
            hints = set(item.params[svcb.ParamKey.IPV6HINT].addresses)
            if item.target.to_text().lower() in (".", name) and own and not hints <= own:
                return f"its HTTPS record hints at {', '.join(sorted(hints - own))}, no AAAA of it"
    return ""


def _judge_dnssec(observation: Observation) -> Iterator[Finding]:
    found = {(one.qtype, one.families): one for one in observation.resolved}
    six, four = found.get(("AAAA", "both")), found.get(("A", "both"))
    if six is None or four is None:
        return
    if six.validation == "bogus" and four.validation != "bogus":
        yield Finding(
            "bogus-aaaa",
            Verdict.FAIL,
            observation.name,
            f"AAAA is bogus while A is {four.validation}: {six.reason}",
        )
    elif six.validation == "bogus":
        yield Finding("bogus", Verdict.FAIL, observation.name, six.reason)
    elif six.validation == "secure":
        yield Finding("bogus", Verdict.PASS, observation.name, "it validates")
    else:
        yield Finding("bogus", Verdict.INFO, observation.name, f"it is {six.validation}")
    soonest: tuple[float, str] | None = None
    for one in observation.about("aaaa", "a", "large-tcp", "large-1232"):
        for left, what in _expiries(one, observation.at):
            if soonest is None or left < soonest[0]:
                soonest = left, what
    if soonest is not None and soonest[0] < _SOON_S:
        verdict = Verdict.FAIL if soonest[0] < _SHORT_S else Verdict.WARN
        yield Finding(
            "signature-expiry",
            verdict,
            soonest[1],
            f"its signature ends in {soonest[0] / 3600:.1f} hours",
        )


def _expiries(one: Exchange, now: float) -> Iterator[tuple[float, str]]:
    answer = one.answer
    if answer is None:
        return
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == dns.rdatatype.RRSIG:
            for item in rrset:
                covered = dns.rdatatype.to_text(item.type_covered)
                yield item.expiration - now, f"{rrset.name} {covered}"


def _judge_graph(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    graph = Graph.of(observation)
    name = observation.name
    found = {one.families: one for one in observation.resolved if one.qtype == "AAAA"}
    works = {
        family: found[kind].rcode != "SERVFAIL" or found[kind].validation == "bogus"
        for family, kind in ((6, "ipv6"), (4, "ipv4"))
        if kind in found
    }
    other = [one for one in observation.resolved if one.qtype == "A"]
    is_gone = not other or any(one.rcode == "SERVFAIL" for one in other)
    if works and not any(works.values()) and len(works) == 2 and is_gone:
        yield Finding(
            "unresolvable", Verdict.FAIL, name, found["ipv6"].reason, tuple(_broken(graph, name, 6))
        )
        return
    for family in (6, 4):
        code = f"resolves-ipv{family}-only"
        if family not in fit:
            verdict = Verdict.PASS if graph.is_reachable(name, (family,)) else Verdict.FAIL
            if verdict is Verdict.PASS:
                yield Finding(
                    code,
                    Verdict.UNKNOWN,
                    name,
                    "by the records it should; no server could be asked",
                )
                continue
        elif works.get(family) and graph.is_reachable(name, (family,)):
            yield Finding(code, Verdict.PASS, name, f"it resolves over IPv{family} alone")
            continue
        if works.get(family) and family in fit:
            continue  # the resolver found a way that the graph does not know: no finding
        cuts = [" and ".join(sorted(cut)) for cut in graph.cuts(name, family)]
        remedy = f"; it would with an IPv{family} address of {' or '.join(cuts)}" if cuts else ""
        yield Finding(
            code,
            Verdict.FAIL if family == 6 else Verdict.INFO,
            name,
            f"it does not resolve over IPv{family} alone{remedy}",
            tuple(_broken(graph, name, family)),
        )
    if 6 in fit and works.get(6):
        yield from _judge_effort(observation)
    if 6 in fit:
        # The root's and TLDs' own servers are nobody's here to multiply.
        cut = observation.cuts.get(observation.zone)
        points = [s for s in graph.single_points(name, 6) if cut and s in cut.servers]
        if points and observation.zone != ".":
            yield Finding(
                "single-point",
                Verdict.WARN,
                name,
                f"without {' or '.join(points)} it is gone over IPv6",
            )


def _judge_effort(observation: Observation) -> Iterator[Finding]:
    """Compare what the name costs a resolver that knows nothing yet, over IPv6 and with both."""
    found = {one.families: one for one in observation.resolved if one.qtype == "AAAA"}
    alone, both = (found[kind].ask_count if kind in found else 0 for kind in ("ipv6", "both"))
    if alone and both:
        is_more = alone > _EFFORT * both and alone >= both + _EFFORT_MIN
        yield Finding(
            "resolves-ipv6-effort", Verdict.WARN if is_more else Verdict.PASS, observation.name,
            f"{alone} questions over IPv6 alone, {both} over both families",
        )  # fmt: skip


def _broken(graph: Graph, name: str, family: int) -> Iterable[str]:
    for one in graph.broken(name, family):
        yield f"{one.zone}: {'; '.join(one.reasons)}"


def _of(family: int, addresses: Iterable[str]) -> list[str]:
    return [a for a in addresses if (":" in a) == (family == 6)]
