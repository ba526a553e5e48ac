"""`quada doctor link`: what a link tells its clients, and which of them are left without DNS."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import typer

import quada.doctor.link.messages as messages
from quada.api.data import judged_data
from quada.cli.judged import Every, JunitFile, Profile, junit, print_judged, read_profile
from quada.cli.output import FOUND, faults_exit, print_json
from quada.doctor.findings import Finding, Verdict, profiled
from quada.doctor.link import (
    Heard,
    Link,
    judge_link,
    make_link,
    matrix,
    merge,
    read_capture,
    read_config,
)
from quada.doctor.link.endpoints import ask_endpoints, designated_of
from quada.doctor.observation import Exchange
from quada.transport.link import ask_dhcpv6, solicit_routers
from quada.transport.single import perform
from quada.wire.ask import Ask, Endpoint, Reply
from quada.wire.faults import ConfigFault, DataFault

_PROBES_MAX: Final = 16
_PROBE_S: Final = 2.0
_WAIT_S: Final = 4.0  # radvd sends two advertisements at least 3 s apart (RFC 4861 10)
_ASKED: Final = "ipv4only.arpa"
_FILE_OCTETS_MAX: Final = 256 << 20


def link(
    interface: Annotated[str, typer.Argument(help="The interface, such as eth0.")] = "",
    pcap: Annotated[
        Path | None, typer.Option(help="Judge a capture (pcap or pcapng) instead.")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="Judge radvd.conf, dnsmasq.conf or Kea's JSON before it goes live. Repeatable:"
            " routers of one, DHCPv6 of the other."
        ),
    ] = None,
    wait: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds to listen.")] = _WAIT_S,
    probe: Annotated[bool, typer.Option(help="Ask each advertised resolver.")] = True,
    ask: Annotated[
        str, typer.Option(metavar="NAME", help="What advertised resolvers are asked for.")
    ] = _ASKED,
    trust: Annotated[
        str, typer.Option(help="PEM of the CAs that encrypted resolvers are believed by.")
    ] = "",
    profile: Profile = None,
    junit_file: JunitFile = None,
    save: Annotated[Path | None, typer.Option(help="Keep what was heard in a file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Judge what was kept.")] = None,
    every: Every = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a link what its clients are told (RA, DHCPv6), and judge it for each class of clients.

    Solicits routers and DHCPv6 servers, takes no address and sets nothing. Exit code 0 where
    nothing fails, 1 where something does.
    """
    with faults_exit(as_json=as_json):
        given = [bool(interface), pcap is not None, bool(config), replay is not None]
        if sum(given) != 1:
            raise ConfigFault(
                "name an interface, or one of --pcap, --config, --replay",
                place="INTERFACE",
                remedy="quada doctor link eth0",
            )
        if config:
            seen = merge([read_config(_octets(one).decode(errors="replace"), str(one))
                          for one in config])  # fmt: skip
        elif pcap is not None:
            seen = make_link(str(pcap), read_capture(_octets(pcap), str(pcap)))
            seen.sees_routers = bool(seen.routers)
        elif replay is not None:
            seen = _replayed(replay)
        else:
            heard = listen(interface, wait)
            seen = make_link(interface, heard, asked_settings=True, asked_address=True)
            if probe:
                probe_resolvers(seen, interface, ask)
                probe_encrypted(seen, trust)
            if save is not None:
                kept = {"place": interface, "heard": [asdict(one) for one in heard],
                        "probes": seen.probes, "pref64_found": seen.pref64_found,
                        "exchanges": [asdict(one) for one in seen.exchanges]}  # fmt: skip
                save.write_text(json.dumps(kept, indent=1))
        severities = read_profile(_octets(profile).decode(), str(profile)) if profile else {}
        found = profiled(judge_link(seen), severities)
        if junit_file is not None:
            junit_file.write_text(junit(found, f"quada doctor link {seen.place}"))
        _show(seen, found, every=every, as_json=as_json)


def look(interface: str) -> Link:
    """Ask a link and the resolvers that it offers. Raises: ReachFault."""
    heard = listen(interface, _WAIT_S)
    seen = make_link(interface, heard, asked_settings=True, asked_address=True)
    probe_resolvers(seen, interface, _ASKED)
    probe_encrypted(seen, "")
    return seen


def listen(interface: str, wait_s: float) -> list[Heard]:
    """Solicit routers and DHCPv6 servers on an interface. Raises: ReachFault."""
    routers = solicit_routers(
        interface, messages.SOLICITATION, messages.ALL_ROUTERS, messages.ROUTER_ADVERT, wait_s
    )
    duid = b"\x00\x04" + secrets.token_bytes(16)  # a DUID-UUID of the moment (RFC 6355, 7844)
    asks = [
        messages.compose_request(kind, secrets.token_bytes(3), duid)
        for kind in (messages.INFORMATION_REQUEST, messages.SOLICIT)
    ]
    ours = {one[1:4] for one in asks}
    servers = ask_dhcpv6(
        interface, asks, messages.ALL_DHCP, (messages.CLIENT_PORT, messages.SERVER_PORT), wait_s / 2
    )
    return [
        Heard("ra", one.source, one.octets.hex(), one.at, one.hop_limit, one.is_multicast)
        for one in routers
    ] + [
        Heard("dhcpv6", one.source, one.octets.hex(), one.at, one.hop_limit)
        for one in servers
        if one.octets[1:4] in ours
    ]


def probe_resolvers(seen: Link, interface: str, name: str) -> None:
    """Ask each offered resolver, and find the NAT64 prefix that DNS64 tells (RFC 7050)."""
    from quada.resolver.dns64 import told_prefix

    offered = list(dict.fromkeys([*seen.rdnss, *seen.dhcpv6_resolvers()]))
    found: list[str] = []
    for address in offered[:_PROBES_MAX]:
        zoned = ipaddress.IPv6Address(address).is_link_local
        to = Endpoint(f"{address}%{interface}" if zoned else address)
        query = dns.message.make_query(name, dns.rdatatype.AAAA)
        outcome = perform(Ask(to, query.to_wire(), _PROBE_S))
        if not isinstance(outcome, Reply):
            seen.probes[address] = f"{outcome.why.name.lower()} {outcome.detail}".strip()
            continue
        try:
            answer = dns.message.from_wire(outcome.message, ignore_trailing=True)
        except dns.exception.DNSException:
            seen.probes[address] = "garbage"
            continue
        word = dns.rcode.to_text(answer.rcode())
        seen.probes[address] = f"{word} in {outcome.rtt_s * 1000:.1f} ms"
        for rrset in answer.answer:
            for item in rrset if rrset.rdtype == dns.rdatatype.AAAA else ():
                prefix = told_prefix(ipaddress.IPv6Address(item.to_text()).packed)
                found += [] if prefix is None else [str(prefix)]
    if offered and name == _ASKED:
        seen.pref64_found = list(dict.fromkeys(found))


def probe_encrypted(seen: Link, ca_file: str) -> None:
    """Ask each encrypted resolver that the link tells of, over its transport and by its name."""
    from quada.server.looking import drive_all

    if designated_of(seen):
        told = asyncio.run(drive_all(ask_endpoints(seen, time.time), None, ca_file))
        seen.exchanges = told.exchanges


def _replayed(path: Path) -> Link:
    from pydantic import TypeAdapter, ValidationError

    try:
        kept = json.loads(_octets(path))
        heard = TypeAdapter(list[Heard]).validate_python(kept["heard"])
        return make_link(
            str(kept["place"]), heard, asked_settings=True, asked_address=True,
            probes=TypeAdapter(dict[str, str]).validate_python(kept["probes"]),
            pref64_found=TypeAdapter(list[str] | None).validate_python(kept["pref64_found"]),
            exchanges=TypeAdapter(list[Exchange]).validate_python(kept.get("exchanges", [])),
        )  # fmt: skip
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataFault(f"this was not kept by doctor link: {error}", place=str(path)) from error


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_OCTETS_MAX)
    except OSError as error:
        raise ConfigFault(f"cannot read it: {error.strerror}", place=str(path)) from error


def _show(seen: Link, found: list[Finding], *, every: bool, as_json: bool) -> None:
    fates = matrix(seen)
    if as_json:
        data: dict[str, Any] = asdict(seen)
        for place in (*data["routers"], *data["leases"]):
            place["encrypted"] = [
                {**one._asdict(), "params": one.params.hex()} for one in place["encrypted"]
            ]
        print_json({
            "link": data, "clients": [one._asdict() for one in fates],
            "findings": list(map(judged_data, found)),
        })  # fmt: skip
    else:
        for fate in fates:
            color = typer.colors.RED if fate.is_stranded else None
            row = f"{fate.client:42} address {fate.address:8} resolver {fate.resolver}"
            typer.echo(typer.style(row, fg=color))
        typer.echo()
        print_judged(found, every=every)
    if any(one.verdict is Verdict.FAIL for one in found):
        raise typer.Exit(FOUND)
