"""Judge a link: will its clients have an IPv6 address and a resolver that answers?"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from quada.doctor.findings import Finding, Verdict, sort_findings
from quada.doctor.judge_encrypted import judge_designated
from quada.doctor.link.classes import matrix
from quada.doctor.link.endpoints import designated_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.link.facts import Link, Router

_MTU_MIN: Final = 1_280  # RFC 8200 5
_RESOLVERS_MAX: Final = 3  # MAXNS of resolv.conf(5)
_PREF64_LENGTHS: Final = frozenset((96, 64, 56, 48, 40, 32))
_OWN: Final = "::"  # how dnsmasq's configuration writes "this host"


def judge_link(link: Link) -> list[Finding]:
    """Give findings, the worst first."""
    return sort_findings(
        [*_routers(link), *_clients(link), *_lifetimes(link), *_dhcpv6(link), *_resolvers(link),
         *_pref64(link), *_encrypted(link)]
    )  # fmt: skip


def _routers(link: Link) -> Iterator[Finding]:
    if not link.sees_routers:
        yield Finding("link-router", Verdict.UNKNOWN, link.place, "what routers say is not in it")
        return
    if not link.routers:
        yield Finding("link-router", Verdict.FAIL, link.place, "no router advertises itself")
        return
    for router in link.routers:
        flags = f"M={int(router.is_managed)} O={int(router.is_other)}"
        yield Finding(
            "link-router", Verdict.PASS if router.lifetime_s else Verdict.INFO, router.place,
            f"{flags}, default router for {router.lifetime_s} s"
            if router.lifetime_s else f"{flags}, no default router (lifetime 0)",
            tuple(_says(router)),
        )  # fmt: skip
        for fault in router.faults:
            yield Finding("link-ra-invalid", Verdict.FAIL, router.place, fault)
        for prefix in router.prefixes:
            if prefix.is_autonomous and prefix.length != 64:
                yield Finding(
                    "link-prefix", Verdict.FAIL, router.place,
                    f"{prefix.prefix}/{prefix.length} is autonomous, but not 64 bits long",
                )  # fmt: skip
        if router.mtu is not None and router.mtu < _MTU_MIN:
            yield Finding(
                "link-mtu", Verdict.FAIL, router.place, f"it advertises an MTU of {router.mtu}"
            )
    views = {(one.is_managed, one.is_other, tuple(one.addresses)) for one in link.routers}
    if len(views) > 1:
        yield Finding(
            "link-routers-differ", Verdict.WARN, link.place,
            "routers disagree on flags or resolvers",
            tuple(f"{one.place}: {line}" for one in link.routers for line in _says(one)),
        )  # fmt: skip


def _says(router: Router) -> Iterator[str]:
    yield f"M={int(router.is_managed)} O={int(router.is_other)} lifetime {router.lifetime_s} s"
    for prefix in router.prefixes:
        how = "autonomous" if prefix.is_autonomous else "not autonomous"
        yield f"prefix {prefix.prefix}/{prefix.length}, {how}, valid {prefix.valid_s} s"
    kinds = (("RDNSS", router.resolvers), ("DNSSL", router.search), ("PREF64", router.pref64))
    for kind, offers in kinds:
        for offer in offers:
            for_s = "" if offer.lifetime_s is None else f", lifetime {offer.lifetime_s} s"
            yield f"{kind} {' '.join(offer.values)}{for_s}"
    for one in router.encrypted:
        yield f"DNR {one.name} {' '.join(one.addresses)}"
    if router.mtu is not None:
        yield f"MTU {router.mtu}"
    if router.portal:
        yield f"captive portal {router.portal}"


def _clients(link: Link) -> Iterator[Finding]:
    fates = matrix(link)
    stranded = [one.client for one in fates if one.is_stranded]
    evidence = tuple(f"{one.client}: address {one.address}, resolver {one.resolver}"
                     for one in fates)  # fmt: skip
    if not link.routers:
        return
    if link.is_other and not link.rdnss:
        how = "M" if link.is_managed else "O"
        yield Finding(
            "o-bit-trap", Verdict.FAIL, link.place,
            f"{how}=1 and no RDNSS: {', '.join(stranded)} get no resolver over IPv6", evidence,
        )  # fmt: skip
    elif link.is_other:
        yield Finding("o-bit-trap", Verdict.PASS, link.place, "RDNSS beside DHCPv6", evidence)
    elif not link.rdnss and link.has_slaac:
        yield Finding(
            "address-without-resolver", Verdict.FAIL, link.place,
            "clients make an address, and are told of no resolver", evidence,
        )  # fmt: skip
    elif link.rdnss:
        yield Finding(
            "address-without-resolver", Verdict.PASS, link.place, "resolvers by RDNSS", evidence
        )
    if link.is_managed and not link.has_slaac:
        yield Finding(
            "dhcpv6-only-addresses", Verdict.WARN, link.place,
            "addresses by DHCPv6 alone: Android and ChromeOS get none", evidence,
        )  # fmt: skip


def _lifetimes(link: Link) -> Iterator[Finding]:
    for router in link.routers:
        for offer in router.resolvers:
            life, named = offer.lifetime_s, ", ".join(offer.values)
            if life is None:
                continue
            if life == 0:
                message, verdict = f"{named} is withdrawn (lifetime 0)", Verdict.WARN
            elif router.interval_s is None:
                continue
            elif life < router.interval_s:
                message = f"{named} lives {life} s, advertisements come every {router.interval_s} s"
                verdict = Verdict.FAIL
            elif life < 3 * router.interval_s:
                message = (
                    f"{named} lives {life} s, fewer than three intervals of {router.interval_s} s"
                )
                verdict = Verdict.WARN
            else:
                message, verdict = f"{named} lives {life} s", Verdict.PASS
            yield Finding("rdnss-lifetime", verdict, router.place, message)


def _dhcpv6(link: Link) -> Iterator[Finding]:
    for lease in link.leases:
        for fault in lease.faults:
            yield Finding("dhcpv6-invalid", Verdict.FAIL, lease.place, fault)
    refused = [one for one in link.addressed if one.status and not one.addresses]
    if link.is_managed and refused and len(refused) == len(link.addressed):
        yield Finding(
            "dhcpv6-address", Verdict.FAIL, refused[0].place, f"no address: {refused[0].status}"
        )
    kinds = (
        (link.is_other and link.asked_settings, link.settings, "Information-request"),
        (link.is_managed and link.asked_address, link.addressed, "Solicit"),
    )
    for is_due, leases, what in kinds:
        if not is_due:
            continue
        if not leases:
            yield Finding(
                "dhcpv6-dns", Verdict.FAIL, link.place,
                f"routers send clients to DHCPv6, and nobody answers {what}",
            )  # fmt: skip
        elif not any(one.resolvers for one in leases):
            yield Finding(
                "dhcpv6-dns", Verdict.FAIL, leases[0].place,
                f"the answer to {what} names no resolver (option 23)",
            )  # fmt: skip
        else:
            names = ", ".join(dict.fromkeys(a for one in leases for a in one.resolvers))
            yield Finding("dhcpv6-dns", Verdict.PASS, leases[0].place, f"{what}: {names}")
    if link.sees_routers and link.routers and not link.is_other and link.leases:
        yield Finding(
            "dhcpv6-dns", Verdict.INFO, link.leases[0].place,
            "a DHCPv6 server answers, but M=0 and O=0 send nobody there",
        )  # fmt: skip
    told = link.dhcpv6_resolvers()
    if told and link.rdnss and set(told) != set(link.rdnss):
        yield Finding(
            "rdnss-dhcpv6-differ", Verdict.WARN, link.place,
            "RDNSS and DHCPv6 name different resolvers",
            (f"RDNSS: {', '.join(link.rdnss)}", f"DHCPv6: {', '.join(told)}"),
        )  # fmt: skip


def _resolvers(link: Link) -> Iterator[Finding]:
    offered = list(dict.fromkeys([*link.rdnss, *link.dhcpv6_resolvers()]))
    if len(offered) > _RESOLVERS_MAX:
        yield Finding(
            "resolver-count", Verdict.WARN, link.place,
            f"{len(offered)} resolvers are offered: stubs use the first three", tuple(offered),
        )  # fmt: skip
    for address in offered:
        if address == _OWN:
            continue
        if ipaddress.IPv6Address(address.partition("%")[0]).is_link_local:
            yield Finding(
                "resolver-scope", Verdict.WARN, address,
                "a link-local resolver: stubs that keep no zone cannot use it",
            )  # fmt: skip
        said = link.probes.get(address)
        if said is None:
            yield Finding("link-resolver", Verdict.UNKNOWN, address, "it was not asked")
        else:
            is_well = said.startswith(("NOERROR", "NXDOMAIN"))
            yield Finding("link-resolver", Verdict.PASS if is_well else Verdict.FAIL, address, said)


def _pref64(link: Link) -> Iterator[Finding]:
    told = [value for one in link.routers for offer in one.pref64 for value in offer.values]
    for value in told:
        try:
            length = ipaddress.IPv6Network(value, strict=False).prefixlen
        except ValueError:
            length = 0
        if length not in _PREF64_LENGTHS:
            yield Finding("pref64", Verdict.FAIL, link.place, f"{value} is no NAT64 prefix")
    found = link.pref64_found
    if found is None or not (told or found):
        return
    evidence = (f"router: {', '.join(told) or 'none'}", f"DNS64: {', '.join(found) or 'none'}")
    if not told or not found:
        message = "only DNS64 tells the prefix" if found else "only the router tells the prefix"
        yield Finding("pref64", Verdict.WARN, link.place, message, evidence)
    elif set(told) != set(found):
        yield Finding(
            "pref64", Verdict.FAIL, link.place,
            "router and DNS64 tell different prefixes", evidence,
        )  # fmt: skip
    else:
        yield Finding("pref64", Verdict.PASS, link.place, f"both tell {', '.join(told)}")


def _encrypted(link: Link) -> Iterator[Finding]:
    for place, one in [
        *((router.place, one) for router in link.routers for one in router.encrypted),
        *((lease.place, one) for lease in link.leases for one in lease.encrypted),
    ]:
        if "." not in one.name.rstrip("."):
            yield Finding(
                "dnr", Verdict.FAIL, place, f"{one.name or 'nothing'} is no name to authenticate"
            )
        elif one.params and b"\x00\x01" not in one.params[:2] and one.priority:
            yield Finding(
                "dnr", Verdict.WARN, place, f"{one.name}: its parameters begin with no ALPN"
            )
        else:
            yield Finding("dnr", Verdict.PASS, place, f"{one.name} {' '.join(one.addresses)}")
    for endpoint in designated_of(link) if link.exchanges else ():
        # Whoever heard the link has IPv6; what DNR names in IPv4 no router and no DHCPv6 tells.
        yield from judge_designated(endpoint, link.exchanges, {6})
