"""Observe what a domain offers beside its zone: encrypted name servers, web and mail."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.SRV
import dns.rdtypes.svcbbase as svcb

import quada.wire.codes as codes
from quada.doctor.observation import Designated, Service, Visit
from quada.doctor.probe import Wanted
from quada.wire.ask import Transport
from quada.wire.call import Call, Called, CallKind
from quada.zones.check_address import special_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quada.doctor.observation import Observation
    from quada.doctor.probe import Prober, Steps

_HOSTS_MAX: Final = 4
_ELSEWHERE_MAX: Final = 8
_ADDRESSES_MAX: Final = 8
_OPPORTUNISTIC_MAX: Final = 16
_ALPN: Final = {b"dot": Transport.DOT, b"doq": Transport.DOQ, b"h2": Transport.DOH}
_PORTS: Final = {Transport.DOT: 853, Transport.DOQ: 853, Transport.DOH: 443}
_CALLED: Final = {
    "web": ((443, CallKind.HTTPS), (80, CallKind.HTTP)), "mail": ((25, CallKind.SMTP),),
    "dns": ((53, CallKind.TCP),),
}  # fmt: skip
SRV_LABELS: Final = (
    "_submissions._tcp", "_submission._tcp", "_imaps._tcp", "_imap._tcp", "_pop3s._tcp",
    "_jmap._tcp", "_caldavs._tcp", "_carddavs._tcp", "_sips._tcp", "_sip._tcp", "_sip._udp",
    "_xmpp-client._tcp", "_xmpps-client._tcp", "_xmpp-server._tcp", "_ldap._tcp",
    "_kerberos._udp", "_kerberos._tcp", "_turns._tcp", "_stun._udp", "_matrix-fed._tcp",
)  # fmt: skip
"""Services that are looked for: those of RFC 6186 and other RFCs that programs look up by SRV."""
_ROOTS_PINGED: Final = 3
_PACKETS: Final = (1_280, 1_500)  # what every IPv6 path takes (RFC 8200 5), and Ethernet's
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.")
_PATH: Final = re.compile(r"/(?!/)[!-z|~]{0,200}")
_HARMLESS: Final = frozenset(("documentation",))  # nobody's, but in a lab
_TEXT: Final = 16_384


def observe_encrypted(
    prober: Prober, made: Observation, servers: list[tuple[str, str]]
) -> Steps[None]:
    """Ask endpoints that `_dns` SVCB records name (RFC 9461), then every server unannounced."""
    hosts = list(dict.fromkeys([made.name, *(server for server, _ in servers)]))
    for host in hosts[: _HOSTS_MAX + 1]:
        found = yield from prober.resolve("both", f"_dns.{host}", codes.SVCB)
        for one in read_designated(found.addresses, host):
            one.addresses = yield from resolve_host(prober, one.target)
            made.designated.append(one)
    wanted = [
        (made.zone, one.server, address, ask)
        for one in made.designated
        for address, ask in asks_of(one, made.zone)
        if _may_call(address, _HARMLESS)  # a record may name any port of our own network
    ]
    wanted += [
        (made.zone, server, address, Wanted("opportunistic", made.zone, "SOA", transport, 1232))
        for server, address in servers[:_OPPORTUNISTIC_MAX]
        for transport in (Transport.DOT, Transport.DOQ)
    ]
    made.exchanges += yield from prober.probe(wanted)


def asks_of(one: Designated, qname: str) -> Iterator[tuple[str, Wanted]]:
    """Give the question for each address of an encrypted endpoint, its name to be proved."""
    transport = Transport[one.transport.upper()]
    for address in dict.fromkeys([*one.addresses, *one.hinted]):
        yield address, Wanted(
            "designated", qname, "SOA", transport, 1232, is_rd=True,
            name=one.target.rstrip("."), port=one.port, path=one.path,
        )  # fmt: skip


def read_designated(texts: Iterable[str], server: str) -> list[Designated]:
    """Read SVCB data as the endpoints they name, one a transport; what cannot be read is left."""
    made = []
    for text in texts:
        try:
            data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SVCB, text)
        except (dns.exception.DNSException, ValueError):
            continue
        if not isinstance(data, svcb.SVCBBase):
            continue
        params = data.params
        alpn = params.get(svcb.ParamKey.ALPN)
        port = params.get(svcb.ParamKey.PORT)
        path = params.get(svcb.ParamKey.DOHPATH)
        target = data.target.to_text().lower()
        target = server if target == "." else target
        number = port.port if port is not None else None
        if number == 0 or not _HOST.fullmatch(target):
            continue  # no request can be made of it
        hinted = [
            address
            for key in (svcb.ParamKey.IPV6HINT, svcb.ParamKey.IPV4HINT)
            for address in (params[key].addresses if key in params else ())
        ]
        for one in alpn.ids if alpn is not None else ():
            transport = _ALPN.get(one)
            if transport is None:
                continue
            template = path.value.decode("ascii", "replace") if path is not None else ""
            template = template.partition("{")[0]
            if not _PATH.fullmatch(template):
                template = "/dns-query"
            made.append(
                Designated(
                    server, target, transport.name.lower(), number or _PORTS[transport],
                    template, hinted=hinted,
                )
            )  # fmt: skip
    return made


def resolve_host(prober: Prober, host: str) -> Steps[list[str]]:
    """Resolve a host's addresses, IPv6 first."""
    six = yield from prober.resolve("both", host, codes.AAAA)
    four = yield from prober.resolve("both", host, codes.A)
    return [*six.addresses, *four.addresses]


def observe_services(
    prober: Prober, made: Observation, servers: list[tuple[str, str]]
) -> Steps[None]:
    """Learn which hosts the domain names as its services. They are called by who drives this."""
    made.services += [
        Service("dns", server, [address]) for server, address in servers if ":" in address
    ]
    own = [a for one in made.resolved if one.families == "both" for a in one.addresses]
    if own:
        made.services.append(Service("web", made.name, own))
    found = yield from prober.resolve("both", made.name, codes.MX)
    for text in sorted(found.addresses)[:_HOSTS_MAX]:
        host = text.split()[-1].lower()
        if host != ".":  # RFC 7505: takes no mail
            made.services.append(
                (yield from _looked_up(prober, made, Service("mail", host, port=25)))
            )
    # One server of each family answers for all: a subtree that is delegated is left out.
    chosen = [*{6 if ":" in a else 4: (s, a) for s, a in reversed(servers)}.values()]
    made.exchanges += yield from prober.probe(
        [(made.zone, server, address, Wanted("srv", f"{label}.{made.name}", "SRV", payload=1232))
         for server, address in chosen for label in SRV_LABELS]
    )  # fmt: skip
    for one in named_elsewhere(made):
        made.services.append((yield from _looked_up(prober, made, one)))


def named_elsewhere(made: Observation) -> list[Service]:
    """Give the hosts that HTTPS and SRV records name in place of the domain itself."""
    found: dict[tuple[str, str, int], Service] = {}
    for one in made.about("https", "srv"):
        answer = one.answer
        for rrset in answer.answer if answer is not None and one.is_good else ():
            for item in rrset:
                if isinstance(item, svcb.SVCBBase):
                    port = item.params.get(svcb.ParamKey.PORT)
                    number = port.port if port is not None else 443
                    label = "its HTTPS record"
                elif isinstance(item, dns.rdtypes.IN.SRV.SRV):
                    number, label = item.port, one.qname.removesuffix(f".{made.name}")
                else:
                    continue
                host = item.target.to_text().lower()
                if host in (".", made.name) or not _HOST.fullmatch(host):
                    continue
                kind = "srv" if one.about == "srv" else "https"
                found[label, host, number] = Service(kind, host, [], number, label)
    return list(found.values())[:_ELSEWHERE_MAX]


def _looked_up(prober: Prober, made: Observation, service: Service) -> Steps[Service]:
    """Resolve a service's host, over IPv6 alone too where this machine can tell."""
    service.addresses = yield from resolve_host(prober, service.host)
    if any(one.families == "ipv6" for one in made.resolved):
        alone = yield from prober.resolve("ipv6", service.host, codes.AAAA)
        service.ipv6_rcode = alone.rcode
    return service


def calls_of(made: Observation, ignores: frozenset[str]) -> list[tuple[Service, Call]]:
    """Give the calls that services are to be judged by, none to special addresses.

    A name may lead anywhere, into our own network too: only global addresses are called, and in a
    lab the kinds that it says are well.
    """
    calls = []
    for one in made.designated:
        if one.transport != "doq":  # QUIC has no handshake without a question
            kind = Service("encrypted", one.target, one.addresses)
            calls += [(kind, (one.port, CallKind.TLS), address) for address in one.addresses]
    for service in made.services:
        calls += [(service, how, a) for a in service.addresses[:_ADDRESSES_MAX]
                  for how in _doors(service)]  # fmt: skip
    roots = [one for one in made.about("vantage") if one.family == 6 and one.is_good]
    return [
        *(
            (service, Call(address, port, kind, _asked_as(service, made.name)))
            for service, (port, kind), address in calls
            if _HOST.fullmatch(f"{service.host.rstrip('.')}.") and _may_call(address, ignores)
        ),
        *(
            (Service("path", "."), Call(one.address, 0, CallKind.PING, octets=octets))
            for one in roots[:_ROOTS_PINGED]
            for octets in _PACKETS
            if _may_call(one.address, ignores)
        ),
    ]


def _doors(service: Service) -> tuple[tuple[int, CallKind], ...]:
    if service.kind == "https":
        return ((service.port, CallKind.HTTPS),)
    if service.kind == "srv":
        return ((service.port, CallKind.TCP),) if service.label.endswith("._tcp") else ()
    return _CALLED[service.kind]


def _asked_as(service: Service, name: str) -> str:
    """A client asks a target of HTTPS records for the name itself (RFC 9460 9.5)."""
    return (name if service.kind == "https" else service.host).rstrip(".")


def _may_call(address: str, ignores: frozenset[str]) -> bool:
    special = special_range(ipaddress.ip_address(address).packed)
    return not special or any(word in special for word in ignores)


def note_calls(
    made: Observation, calls: list[tuple[Service, Call]], outcomes: list[Called]
) -> None:
    """Note what came of calls."""
    for (service, call), one in zip(calls, outcomes, strict=True):
        made.visits.append(
            Visit(
                service.kind, service.host, call.address, call.port, str(call.kind), one.stage,
                one.why[:200], round(one.dial_s * 1000, 2), round(one.total_s * 1000, 2),
                one.certificate_fault[:200], one.status, one.location[:500],
                one.body[:_TEXT].decode("utf-8", "replace"), one.expires_at,
                one.segment_octets, call.octets,
            )
        )  # fmt: skip
