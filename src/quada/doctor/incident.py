"""The incident checklist: six steps in order, then the likely causes.

Each step says what it looked at, what it saw, and a verdict. Causes are ranked by how directly what
was seen points to them; a cause that explains others stands before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from quada.doctor.findings import Verdict
from quada.telemetry.signals.cluster import UNSURE, locate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quada.doctor.findings import Finding
    from quada.doctor.observation import Observation

_BAD: Final = (Verdict.FAIL, Verdict.WARN)
_TRIES_MIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What stored events say of a name: attempts and failures by client, for AAAA and A.

    `upstream` maps a family to how many attempts there were and how many were answered. Empty where
    no events were at hand.
    """

    minutes: int = 0
    six: tuple[str, ...] = ()
    six_failed: tuple[str, ...] = ()
    four: tuple[str, ...] = ()
    four_failed: tuple[str, ...] = ()
    upstream: dict[int, tuple[int, int]] = field(default_factory=dict)


class Step(NamedTuple):
    """One step of the checklist."""

    title: str
    verdict: Verdict
    said: str
    evidence: tuple[str, ...]
    commands: tuple[str, ...]


class Cause(NamedTuple):
    """A likely cause: the higher its weight, the more directly it was seen."""

    code: str
    weight: int
    why: str
    action: str


class Report(NamedTuple):
    """The checklist walked, and the causes, likeliest first."""

    name: str
    steps: tuple[Step, ...]
    causes: tuple[Cause, ...]


def walk(observation: Observation, findings: Iterable[Finding], logged: Logged) -> Report:
    """Walk the checklist over what was observed, judged and logged."""
    found = list(findings)
    name = observation.name
    steps = (
        _authoritative(observation, found),
        _transport(observation, found),
        _validation(name, found),
        _discovery(found, logged),
        _masking(observation, found, logged),
        _radius(logged),
    )
    causes = sorted(_causes(found, logged), key=lambda cause: -cause.weight)
    return Report(name, steps, tuple(causes))


def _of(found: list[Finding], *codes: str) -> list[Finding]:
    return [one for one in found if one.code in codes and one.verdict in _BAD]


def _step(
    title: str, bad: list[Finding], good: str, commands: tuple[str, ...], *, is_known: bool = True
) -> Step:
    """Make a step of findings: what is bad of them, or that all is well."""
    lines = tuple(f"{one.subject}: {one.message}" for one in bad)
    if bad:
        worst = Verdict.FAIL if any(one.verdict is Verdict.FAIL for one in bad) else Verdict.WARN
        return Step(title, worst, bad[0].message, lines, commands)
    verdict = Verdict.PASS if is_known else Verdict.UNKNOWN
    return Step(title, verdict, good if is_known else "this machine cannot tell", (), commands)


def _authoritative(observation: Observation, found: list[Finding]) -> Step:
    bad = _of(
        found,
        "server-dead",
        "aaaa-dropped",
        "data-differs",
        "serial-differs",
        "aaaa-missing",
        "glue-ipv6-missing",
        "glue-differs",
        "glue-only",
        "ns-sets-differ",
        "ns-target",
        "unresolvable",
        "ptr-missing",
        "ptr-unconfirmed",
    )
    cut = observation.cuts.get(observation.zone)
    servers = cut.servers[:3] if cut else []
    commands = tuple(f"quada query {observation.name} AAAA @{server}" for server in servers)
    return _step("authoritative answers", bad, "servers answer AAAA and PTR alike", commands)


def _transport(observation: Observation, found: list[Finding]) -> Step:
    bad = _of(
        found,
        "server-udp-ipv6",
        "server-tcp-ipv6",
        "ns-ipv6-count",
        "resolves-ipv6-only",
        "large-answers",
        "edns",
        "fragments-dropped",
        "service-ipv6",
        "service-address",
        "happy-eyeballs",
        "web-differs",
        "web-certificate",
        "encrypted-ipv6",
        "encrypted-dead",
        "encrypted-certificate",
    )
    is_known = not any(
        one.code == "vantage-ipv6" and one.verdict is Verdict.UNKNOWN for one in found
    )
    command = f"quada doctor {observation.name} --only servers --only graph"
    return _step(
        "IPv6 transport",
        bad,
        "servers and services are reached over IPv6",
        (command,),
        is_known=is_known,
    )


def _validation(name: str, found: list[Finding]) -> Step:
    bad = _of(found, "bogus-aaaa", "bogus", "signature-expiry")
    commands = (f"quada query {name} AAAA --dnssec", f"quada query {name} AAAA --cd")
    return _step("validation", bad, "answers validate, or are not signed", commands)


def _discovery(found: list[Finding], logged: Logged) -> Step:
    """What the link tells its clients, where it was looked at; else whether failures fit that."""
    heard = [one for one in found if one.rule.group == "link"]
    if heard:
        bad = [one for one in heard if one.verdict in _BAD]
        good = "routers and DHCPv6 leave no client without a resolver"
        return _step("client discovery", bad, good, ("quada doctor link",))
    place = _place(logged)
    is_local = place.startswith(("in one part", "at few"))
    commands = ("on an affected link: quada doctor link eth0",)
    if is_local and not _of(found, "server-dead", "unresolvable", "bogus-aaaa", "bogus"):
        return Step(
            "client discovery",
            Verdict.WARN,
            "the zone is well and failures are local: look at RA and DHCPv6 there",
            (place,),
            commands,
        )
    return Step(
        "client discovery",
        Verdict.UNKNOWN,
        "what routers and DHCPv6 tell clients is not seen from here",
        (),
        commands,
    )


def _masking(observation: Observation, found: list[Finding], logged: Logged) -> Step:
    """Does IPv4 hide that IPv6 fails?"""
    kinds = {one.families: one for one in observation.resolved if one.qtype == "AAAA"}
    both, six = kinds.get("both"), kinds.get("ipv6")
    evidence = []
    tried, answered = logged.upstream.get(6, (0, 0))
    there, good = logged.upstream.get(4, (0, 0))
    if tried:
        evidence.append(f"upstream over IPv6: {answered} of {tried} answered")
    if there:
        evidence.append(f"upstream over IPv4: {good} of {there} answered")
    hides = (
        both is not None
        and six is not None
        and both.rcode != "SERVFAIL"
        and six.rcode == "SERVFAIL"
    ) or (tried >= _TRIES_MIN and there and answered < tried * 0.8 and good > there * 0.9)
    hides = hides or bool(_of(found, "server-udp-ipv6"))
    command = f"quada tail upstream zone {observation.zone}"
    if hides:
        return Step(
            "fallback masking",
            Verdict.WARN,
            "it works because IPv4 is tried after IPv6",
            tuple(evidence),
            (command,),
        )
    return Step("fallback masking", Verdict.PASS, "IPv4 hides nothing", tuple(evidence), (command,))


def _radius(logged: Logged) -> Step:
    if not logged.minutes:
        return Step(
            "blast radius",
            Verdict.UNKNOWN,
            "no stored events were looked at",
            (),
            ("name the server's state directory with --state-dir",),
        )
    evidence = (
        f"AAAA: {len(logged.six_failed)} of {len(logged.six)} attempts failed",
        f"A: {len(logged.four_failed)} of {len(logged.four)} attempts failed",
    )
    if logged.six_failed:
        verdict, said = Verdict.WARN, _place(logged)
    elif logged.six:
        verdict, said = Verdict.PASS, "nobody fails"
    else:
        verdict, said = Verdict.UNKNOWN, "nobody asked for AAAA of it"
    return Step(
        "blast radius",
        verdict,
        said,
        evidence,
        (
            'quada logs query "SELECT client, count(*) FROM events'
            " WHERE qtype = 'AAAA' AND rcode = 'SERVFAIL' GROUP BY 1\"",
        ),
    )


def _place(logged: Logged) -> str:
    return locate(logged.six, logged.six_failed).text() if logged.six else UNSURE


_CAUSES: Final[tuple[tuple[str, int, tuple[str, ...], str], ...]] = (
    # Cause, weight, findings that show it, and what to do. What explains others weighs more.
    ("zone-unresolvable", 95, ("unresolvable",), "follow the delegation; mend the circle or cut"),
    ("aaaa-bogus", 90, ("bogus-aaaa",), "sign the AAAA RRset again; look at the signer"),
    (
        "client-discovery",
        89,
        (
            "o-bit-trap",
            "address-without-resolver",
            "link-resolver",
            "dhcpv6-dns",
            "rdnss-lifetime",
            "link-router",
            "pref64",
        ),
        "mend the router's or DHCPv6 server's configuration",
    ),
    ("zone-bogus", 90, ("bogus",), "mend DS, keys or signatures"),
    ("glue-missing", 85, ("glue-ipv6-missing",), "have the registrar add the AAAA glue"),
    ("glue-stale", 85, ("glue-differs", "glue-only"), "align glue and zone"),
    ("answers-differ", 80, ("serial-differs", "data-differs"), "let transfers through over IPv6"),
    ("aaaa-dropped", 80, ("aaaa-dropped",), "mend the server that does not answer AAAA"),
    ("servers-without-ipv6", 70, ("resolves-ipv6-only",), "give what the cut names IPv6"),
    ("ipv6-unreachable", 75, ("server-udp-ipv6",), "mend listener, firewall or route over IPv6"),
    ("tcp-blocked", 60, ("server-tcp-ipv6",), "open TCP 53 over IPv6"),
    ("server-dead", 55, ("server-dead",), "mend the server or take it out of the NS set"),
    ("aaaa-missing", 50, ("aaaa-missing",), "publish the AAAA record"),
    ("edns-broken", 65, ("edns",), "upgrade the server, or the middlebox before it"),
    ("large-answers-lost", 64, ("large-answers",), "cap UDP at 1232 octets; open TCP"),
    ("service-closed", 58, ("service-ipv6",), "have the service listen on [::]; open its port"),
    (
        "certificate",
        57,
        ("web-certificate", "encrypted-certificate"),
        "serve the right certificate",
    ),
    (
        "encrypted-dead",
        48,
        ("encrypted-dead", "encrypted-ipv6"),
        "start it, or take its record back",
    ),
)
_HINTS: Final[tuple[tuple[str, int, tuple[str, ...], str], ...]] = (
    # What only warns explains an incident where nothing worse was seen.
    ("fragments-lost", 30, ("fragments-dropped",), "cap UDP at 1232 octets on the server"),
    ("address-dead", 28, ("service-address",), "mend that address or remove its record"),
    ("web-differs", 26, ("web-differs",), "look for the default virtual host on IPv6"),
    ("slow-ipv6", 24, ("happy-eyeballs",), "look at the IPv6 route"),
)


def _causes(found: list[Finding], logged: Logged) -> list[Cause]:
    causes = []
    for code, weight, shown_by, action in (*_CAUSES, *_HINTS):
        is_hint = weight <= _HINTS[0][1]
        bad = [one for one in _of(found, *shown_by) if is_hint or one.verdict is Verdict.FAIL]
        if bad:
            causes.append(Cause(code, weight, f"{bad[0].subject}: {bad[0].message}", action))
    place = _place(logged)
    if place.startswith(("in one part", "at few")):
        # Where the zone itself is ill, that it fails at one place more says little.
        weight = 40 if causes else 88
        causes.append(
            Cause(
                "local-path",
                weight,
                f"failures are {place}",
                "look at RA, DHCPv6, resolver and route of that place",
            )
        )
    if not causes:
        causes.append(Cause("none-found", 0, "nothing that was looked at is wrong", "look again"))
    return causes
