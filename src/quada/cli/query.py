"""quada query: ask a name server, over either family or both, and say what the answer means."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any, Final

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
import typer

from quada.cli.output import FAILED, FOUND, faults_exit, print_json
from quada.resolver.dns64 import told_prefix
from quada.transport.single import perform
from quada.wire.ask import Ask, Endpoint, NoReply, Reply, Transport
from quada.wire.edns import UDP_PAYLOAD_OCTETS
from quada.wire.faults import ConfigFault, DataFault, ReachFault
from quada.zones.rdata import type_number

_WELL_KNOWN: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
_MAX_STEPS: Final = 24  # our choice because a delegation chain of the real DNS is under ten long
_ROOTS: Final = (
    # IANA root hints, one letter each: IPv6, then IPv4.
    ("k.root-servers.net.", "2001:7fd::1", "193.0.14.129"),
    ("f.root-servers.net.", "2001:500:2f::f", "192.5.5.241"),
    ("l.root-servers.net.", "2001:500:9f::42", "199.7.83.42"),
    ("m.root-servers.net.", "2001:dc3::35", "202.12.27.33"),
)


@dataclass
class Wish:
    """What the command line asked for."""

    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    server: str = ""
    port: int = 53
    is_tcp: bool = False
    is_dnssec: bool = False
    is_cd: bool = False
    wants_nsid: bool = False
    family: int = 0
    timeout_s: float = 5.0


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.command("query")(query)


def query(
    words: Annotated[list[str], typer.Argument(help="NAME, TYPE and @SERVER in any order.")] = [],  # noqa: B006
    address: Annotated[str, typer.Option("-x", help="Ask for the name of an address.")] = "",
    port: Annotated[int, typer.Option("--port", "-p", help="The server's port.")] = 53,
    is_tcp: Annotated[bool, typer.Option("--tcp", help="Ask over TCP.")] = False,
    is_dnssec: Annotated[bool, typer.Option("--dnssec", help="Ask for signatures (DO).")] = False,
    is_cd: Annotated[
        bool, typer.Option("--cd", help="Ask for data without validation (CD).")
    ] = False,
    only_6: Annotated[bool, typer.Option("-6", help="Use IPv6 only.")] = False,
    only_4: Annotated[bool, typer.Option("-4", help="Use IPv4 only.")] = False,
    is_both: Annotated[
        bool, typer.Option("--both", help="Ask over both families; compare.")
    ] = False,
    is_trace: Annotated[
        bool, typer.Option("--trace", help="Follow delegations from the root.")
    ] = False,
    wants_nsid: Annotated[bool, typer.Option("--nsid", help="Ask which instance answers.")] = False,
    is_short: Annotated[bool, typer.Option("--short", help="Print the data alone.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a name server: `quada query app.example.com AAAA @::1`."""
    with faults_exit(as_json=as_json):
        if only_4 and only_6:
            raise ConfigFault("-4 and -6 exclude each other")
        wish = _read(words, address)
        wish.port, wish.is_tcp, wish.is_dnssec, wish.is_cd = port, is_tcp, is_dnssec, is_cd
        wish.wants_nsid, wish.timeout_s = wants_nsid, timeout_s
        wish.family = 6 if only_6 else 4 if only_4 else 0
        if is_trace:
            results = _trace(wish)
        elif is_both:
            results = [_ask_family(wish, family) for family in (6, 4)]
        else:
            results = [_ask_first(wish, _servers(wish, wish.family))]
    differences = _compare(results) if is_both else []
    if as_json:
        print_json({"results": results, "differences": differences} if is_both else results)
    elif is_short:
        for result in results[-1:] if is_trace else results:
            for record in result.get("answer", ()):
                typer.echo(record["data"])
    else:
        for result in results:
            _print(result)
        if is_both:
            for line in differences or ["both families give the same answer"]:
                typer.echo(line)
    if differences:
        raise typer.Exit(FOUND)
    if "fault" in results[-1]:
        raise typer.Exit(FAILED)


def _read(words: list[str], address: str) -> Wish:
    name, rdtype, server = "", 0, ""
    for word in words:
        number = type_number(word)
        if word.startswith("@"):
            server = word[1:].strip("[]")
        elif number is not None and not rdtype and (name or address or len(words) > 1):
            rdtype = number
        elif not name:
            name = word
        else:
            raise ConfigFault(f"{word!r} is neither a type nor @server", remedy="see --help")
    try:
        if address:
            owner = dns.reversename.from_address(address)
            return Wish(owner, dns.rdatatype.RdataType.make(rdtype or dns.rdatatype.PTR), server)
        owner = dns.name.from_text(name or ".")
        default = dns.rdatatype.AAAA if name else dns.rdatatype.NS
        return Wish(owner, dns.rdatatype.RdataType.make(rdtype or default), server)
    except Exception as error:
        raise DataFault(f"cannot be asked: {error}", place=address or name) from error


def _servers(wish: Wish, family: int) -> list[str]:
    """Give the addresses to ask, IPv6 first; a server's name is looked up by the system."""
    if wish.server:
        with contextlib.suppress(ValueError):
            found = [str(ip_address(wish.server))]
            return [a for a in found if not family or (":" in a) == (family == 6)]
        try:
            infos = socket.getaddrinfo(wish.server, wish.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise ReachFault(f"server {wish.server} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
    else:
        try:
            addresses = [str(server) for server in dns.resolver.Resolver().nameservers]
        except dns.resolver.NoResolverConfiguration as error:
            raise ConfigFault(f"no server: {error}", remedy="name one with @SERVER") from error
    addresses.sort(key=lambda text: ":" not in text)
    return [a for a in addresses if not family or (":" in a) == (family == 6)]


def _ask_first(wish: Wish, servers: list[str]) -> dict[str, Any]:
    """Ask the servers in order until one answers."""
    result: dict[str, Any] = {}
    for server in servers:
        result = _ask(wish, server)
        if "fault" not in result:
            return result
    if not result:
        which = {6: "IPv6 ", 4: "IPv4 "}.get(wish.family, "")
        raise ReachFault(f"the server has no {which}address", remedy="name one with @SERVER")
    return result


def _ask_family(wish: Wish, family: int) -> dict[str, Any]:
    servers = _servers(wish, family)
    if not servers:
        return {"family": family, "server": "", "fault": f"the server has no IPv{family} address"}
    return _ask(wish, servers[0])


def _ask(wish: Wish, server: str, *, is_recursive: bool = True) -> dict[str, Any]:
    """Ask one server, over TCP again where the answer was cut (RFC 7766 5)."""
    message = _compose(wish, wish.name, wish.rdtype, is_recursive=is_recursive)
    transport = Transport.TCP if wish.is_tcp else Transport.UDP
    outcome = perform(Ask(Endpoint(server, wish.port, transport), message, wish.timeout_s))
    is_cut = isinstance(outcome, Reply) and bool(outcome.message[2] & 0x02)
    if is_cut and not wish.is_tcp:
        again = Endpoint(server, wish.port, Transport.TCP)
        outcome = perform(Ask(again, message, wish.timeout_s))
    result: dict[str, Any] = {
        "family": 6 if ":" in server else 4,
        "server": server,
        "transport": outcome.ask.to.transport.name,
        "question": f"{wish.name} {dns.rdatatype.to_text(wish.rdtype)}",
    }
    if is_cut:
        result["note"] = "the answer over UDP was cut; asked again over TCP"
    if isinstance(outcome, NoReply):
        why = outcome.why.name.lower()
        result["fault"] = f"no answer: {why} after {outcome.elapsed_s * 1000:.0f} ms"
        result["detail"] = outcome.detail
        return result
    _describe(result, outcome)
    if wish.rdtype == dns.rdatatype.AAAA:
        _mark_synthesized(wish, server, result)
    return result


def _compose(
    wish: Wish, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, *, is_recursive: bool
) -> bytes:
    options: list[dns.edns.Option] = []
    if wish.wants_nsid:
        options.append(dns.edns.GenericOption(dns.edns.OptionType.NSID, b""))
    message = dns.message.make_query(
        name, rdtype, use_edns=0, want_dnssec=wish.is_dnssec, payload=UDP_PAYLOAD_OCTETS,
        options=options,
    )  # fmt: skip
    if wish.is_cd:
        message.flags |= dns.flags.CD
    if not is_recursive:
        message.flags &= ~dns.flags.RD
    return message.to_wire()


def _describe(result: dict[str, Any], reply: Reply) -> None:
    result["rtt_ms"] = round(reply.rtt_s * 1000, 2)
    result["size_octets"] = len(reply.message)
    try:
        message = dns.message.from_wire(reply.message, ignore_trailing=True)
    except Exception as error:  # a server may send anything; dnspython raises many kinds for it
        result["fault"] = f"the answer is not a DNS message: {error}"
        return
    result["rcode"] = dns.rcode.to_text(message.rcode())
    result["flags"] = dns.flags.to_text(message.flags).split()
    for section, records in (
        ("answer", message.answer),
        ("authority", message.authority),
        ("additional", message.additional),
    ):
        result[section] = [
            {
                "owner": str(rrset.name),
                "ttl": rrset.ttl,
                "type": dns.rdatatype.to_text(rrset.rdtype),
                "data": rdata.to_text(),
            }
            for rrset in records
            for rdata in rrset
        ]
    for option in message.options:
        if isinstance(option, dns.edns.EDEOption):
            words = option.code.name.replace("_", " ").lower()
            text = f"EDE {int(option.code)}: {words}"
            more = f" ({option.text})" if option.text else ""
            result.setdefault("ede", []).append(text + more)
        elif isinstance(option, dns.edns.NSIDOption):
            result["nsid"] = option.nsid.decode("utf-8", "backslashreplace")


def _mark_synthesized(wish: Wish, server: str, result: dict[str, Any]) -> None:
    """Mark AAAA records that DNS64 made: by the well-known prefix, or one found (RFC 7050 3)."""
    found = [record for record in result.get("answer", ()) if record["type"] == "AAAA"]
    prefixes = [_WELL_KNOWN]
    is_known = any(IPv6Address(record["data"]) in _WELL_KNOWN for record in found)
    if found and not is_known and "RA" in result.get("flags", ()):
        prefixes += _discover(wish, server)
    for record in found:
        for prefix in prefixes:
            if IPv6Address(record["data"]) in prefix:
                record["synthesized"] = str(prefix)


def _discover(wish: Wish, server: str) -> list[IPv6Network]:
    """Find a resolver's NAT64 prefixes by what it makes of ipv4only.arpa (RFC 7050 3, 8880)."""
    name = dns.name.from_text("ipv4only.arpa.")
    query_octets = _compose(wish, name, dns.rdatatype.AAAA, is_recursive=True)
    transport = Transport.TCP if wish.is_tcp else Transport.UDP
    outcome = perform(Ask(Endpoint(server, wish.port, transport), query_octets, wish.timeout_s))
    prefixes: list[IPv6Network] = []
    if not isinstance(outcome, Reply):
        return prefixes
    with contextlib.suppress(Exception):
        message = dns.message.from_wire(outcome.message)
        for rrset in message.answer:
            for rdata in rrset if rrset.rdtype == dns.rdatatype.AAAA else ():
                prefix = told_prefix(IPv6Address(rdata.address).packed)
                prefixes += [] if prefix is None else [IPv6Network(str(prefix))]
    return prefixes


def _trace(wish: Wish) -> list[dict[str, Any]]:
    """Follow referrals from the root (or the given server) to an answer."""
    family = wish.family
    servers = _servers(wish, family) if wish.server else []
    servers = servers or [a[1] for a in _ROOTS if family != 4] + [
        a[2] for a in _ROOTS if family != 6
    ]
    results: list[dict[str, Any]] = []
    for _ in range(_MAX_STEPS):
        result: dict[str, Any] = {}
        for server in servers[:4]:
            result = _ask(wish, server, is_recursive=False)
            results.append(result)
            if "fault" not in result:
                break
        if "fault" in result or result["answer"] or result["rcode"] != "NOERROR":
            break
        referral = [r for r in result["authority"] if r["type"] == "NS"]
        if not referral:
            break
        targets = {record["data"].lower() for record in referral}
        result["referral"] = referral[0]["owner"]
        glue = [
            r for r in result["additional"]
            if r["type"] in ("AAAA", "A") and r["owner"].lower() in targets
        ]  # fmt: skip
        glue.sort(key=lambda record: str(record["type"]) != "AAAA")
        servers = [r["data"] for r in glue if not family or (r["type"] == "AAAA") == (family == 6)]
        for target in sorted(targets) if not servers else ():
            with contextlib.suppress(ReachFault):
                servers += _servers(Wish(wish.name, wish.rdtype, target, wish.port), family)
            if servers:
                break
        if not servers:
            which = f"IPv{family} " if family else ""
            result["fault"] = f"no {which}address of {', '.join(sorted(targets))} is known"
            break
    return results


def _compare(results: list[dict[str, Any]]) -> list[str]:
    """Say where the families' answers differ."""
    six, four = results
    if "fault" in six or "fault" in four:
        return [f"IPv{r['family']}: {r['fault']}" for r in results if "fault" in r]
    out = [
        f"{key} differs: IPv6 {six[key]}, IPv4 {four[key]}"
        for key in ("rcode", "flags")
        if six[key] != four[key]
    ]
    data = [
        {(r["owner"].lower(), r["type"], r["data"]) for r in result["answer"]} for result in results
    ]
    out += [f"only over IPv6: {' '.join(record)}" for record in sorted(data[0] - data[1])]
    out += [f"only over IPv4: {' '.join(record)}" for record in sorted(data[1] - data[0])]
    return out


def _print(result: dict[str, Any]) -> None:
    where = f"IPv{result['family']} {result['server']} {result.get('transport', '')}".strip()
    if "rcode" not in result:
        typer.echo(f"; {where}: {result.get('fault', '')} {result.get('detail', '')}".rstrip())
        return
    flags = " ".join(result["flags"]).lower()
    typer.echo(
        f"; {where}: {result['rcode']} ({flags}) "
        f"{result['rtt_ms']} ms, {result['size_octets']} octets"
    )
    typer.echo(f"; {result['question']}")
    for line in (result.get("note"), *result.get("ede", ())):
        if line:
            typer.echo(f"; {line}")
    if "nsid" in result:
        typer.echo(f"; NSID {result['nsid']}")
    for record in result["answer"]:
        mark = record.get("synthesized")
        note = f"  ; made by DNS64 from {mark}, not native" if mark else ""
        typer.echo(f"{record['owner']} {record['ttl']} {record['type']} {record['data']}{note}")
    if not result["answer"]:
        if "referral" in result:
            typer.echo(f"; referral to {result['referral']}")
        elif result["rcode"] == "NOERROR":
            typer.echo("; no data: the name has no record of this type")
        for record in result["authority"]:
            typer.echo(f"; {record['owner']} {record['ttl']} {record['type']} {record['data']}")
    if "fault" in result:
        typer.echo(f"; {result['fault']}")
