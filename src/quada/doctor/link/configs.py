"""Configurations of radvd, dnsmasq and Kea, read as the link that they would make."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, Final

from quada.doctor.link.facts import Encrypted, Lease, Link, Offered, Prefix, Router
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FILE_OCTETS_MAX: Final = 4 << 20
_DEPTH_MAX: Final = 8
_INTERVAL_S: Final = 600  # radvd.conf(5), dnsmasq(8)
_INFINITE: Final = 0xFFFF_FFFF


def read_config(text: str, place: str) -> Link:
    """Read a configuration; which daemon's it is shows in the text. Raises: DataFault."""
    if len(text) > _FILE_OCTETS_MAX:
        raise DataFault("the file is too large for a configuration", place=place)
    bare = re.sub(r"^\s*(#|//).*$", "", text, flags=re.MULTILINE).strip()
    if bare.startswith("{") or bare.startswith("/*"):
        return _kea(text, place)
    if re.search(r"^\s*interface\s+\S+\s*\{", bare, re.MULTILINE):
        return _radvd(text, place)
    if re.search(r"^(dhcp-range|enable-ra|dhcp-option|ra-param|interface|port)\b", bare, re.M):
        return _dnsmasq(text, place)
    raise DataFault(
        "this is no configuration of radvd, dnsmasq or Kea that advertises anything", place=place
    )


def merge(links: list[Link]) -> Link:
    """Lay several files together as one link: routers of one, DHCPv6 of the other."""
    whole = Link(", ".join(link.place for link in links))
    whole.sees_routers = any(link.sees_routers for link in links)
    for link in links:
        whole.routers += link.routers
        whole.leases += link.leases
        whole.asked_settings |= link.asked_settings
        whole.asked_address |= link.asked_address
    return whole


# radvd

_Block = list[tuple[list[str], "_Block | None", int]]


def _radvd(text: str, place: str) -> Link:
    link = Link(place)
    for words, block, line in _blocks(text, place):
        if words[0] != "interface" or len(words) < 2 or block is None:
            continue
        settings = {w[0]: w[1] for w, inner, _ in block if inner is None and len(w) > 1}
        if settings.get("AdvSendAdvert") != "on":
            continue
        link.routers.append(_radvd_router(block, settings, f"{place}:{line}"))
    return link


def _radvd_router(block: _Block, settings: dict[str, str], place: str) -> Router:
    longest = _number(settings.get("MaxRtrAdvInterval"), _INTERVAL_S)
    router = Router(
        place,
        is_managed=settings.get("AdvManagedFlag") == "on",
        is_other=settings.get("AdvOtherConfigFlag") == "on",
        lifetime_s=_number(settings.get("AdvDefaultLifetime"), 3 * longest),
        mtu=_number(settings.get("AdvLinkMTU"), 0) or None,
        interval_s=longest,
        portal=settings.get("AdvCaptivePortalAPI", "").strip('"'),
    )
    for words, inner, line in block:
        if inner is None or len(words) < 2:
            continue
        own = {w[0]: w[1] for w, _, _ in inner if len(w) > 1}
        if words[0] == "prefix":
            try:
                net = ipaddress.IPv6Network(words[1], strict=False)
            except ValueError:
                router.faults.append(f"line {line}: {words[1]} is no prefix")
                continue
            router.prefixes.append(
                Prefix(
                    str(net.network_address), net.prefixlen,
                    own.get("AdvAutonomous", "on") == "on", own.get("AdvOnLink", "on") == "on",
                    _number(own.get("AdvValidLifetime"), 86_400),
                    _number(own.get("AdvPreferredLifetime"), 14_400),
                )
            )  # fmt: skip
        elif words[0] == "RDNSS":
            lifetime = _number(own.get("AdvRDNSSLifetime"), 2 * longest)
            router.resolvers.append(Offered(tuple(_addresses(words[1:])), lifetime))
        elif words[0] == "DNSSL":
            lifetime = _number(own.get("AdvDNSSLLifetime"), 2 * longest)
            router.search.append(Offered(tuple(words[1:]), lifetime))
        elif words[0] == "nat64prefix":
            lifetime = _number(own.get("AdvValidLifetime"), 3 * longest)
            router.pref64.append(Offered((words[1],), lifetime))
    return router


def _blocks(text: str, place: str) -> _Block:
    """Parse `word word { ... };` and `word word;`, comments from # to the end of the line."""
    tokens = [
        (found.group(), number)
        for number, line in enumerate(text.splitlines(), 1)
        for found in re.finditer(r'"[^"]*"|[{};]|[^\s{};]+', line.partition("#")[0])
    ]
    at = 0

    def block(depth: int) -> _Block:
        nonlocal at
        made: _Block = []
        words: list[str] = []
        while at < len(tokens):
            token, line = tokens[at]
            at += 1
            if token == "{":
                if depth >= _DEPTH_MAX:
                    raise DataFault("blocks are nested too deep", place=f"{place}:{line}")
                inner = block(depth + 1)
                if words:
                    made.append((words, inner, line))
                words = []
            elif token == "}":
                if not depth:
                    raise DataFault("a } closes nothing", place=f"{place}:{line}")
                return made
            elif token == ";":
                if words:
                    made.append((words, None, line))
                words = []
            else:
                words.append(token)
        if depth:
            raise DataFault("a { is never closed", place=place)
        return made

    return block(0)


# dnsmasq


def _dnsmasq(text: str, place: str) -> Link:
    """See dnsmasq(8). Without option6:dns-server dnsmasq names itself, where it serves DNS."""
    link = Link(place, asked_settings=True, asked_address=True)
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].strip().removeprefix("--").partition("=")
        settings.setdefault(key.strip(), []).append(value.strip())
    interval, lifetime = _INTERVAL_S, 3 * _INTERVAL_S
    for value in settings.get("ra-param", []):
        numbers = [int(word) for word in value.split(",")[1:] if word.isdigit()]
        interval = (numbers[0] if numbers else 0) or _INTERVAL_S
        lifetime = numbers[1] if len(numbers) > 1 else 3 * interval
    resolvers, search = _dnsmasq_options(settings)
    if resolvers is None:
        resolvers = [] if settings.get("port", [""])[-1] == "0" else ["::"]
    for value in settings.get("dhcp-range", []):
        words = [word for word in value.split(",") if not word.startswith(("tag:", "set:"))]
        if not words or ":" not in words[0]:
            continue
        modes = {word for word in words if word.startswith("ra-") or word in ("slaac", "off-link")}
        sizes = [int(word) for word in words[1:] if word.isdigit() and 8 <= int(word) <= 128]
        stateless, only = "ra-stateless" in modes, "ra-only" in modes
        gives = not only and not stateless and "static" not in words
        for is_stateful in (False, True)[: 0 if only else 1 + gives]:
            lease = Lease(place, is_stateful, [], list(resolvers), list(search))
            lease.addresses = [words[0]] if is_stateful else []
            link.leases.append(lease)
        if not (modes - {"off-link"} or "enable-ra" in settings):
            continue
        is_autonomous = bool(modes & {"slaac", "ra-stateless", "ra-only", "ra-names"})
        link.routers.append(
            Router(
                place,
                is_managed=gives,
                is_other=gives or stateless,
                lifetime_s=lifetime,
                interval_s=interval,
                prefixes=[
                    Prefix(words[0], sizes[0] if sizes else 64, is_autonomous,
                           "off-link" not in modes)
                ],
                resolvers=[Offered(tuple(resolvers))] if resolvers else [],
                search=[Offered(tuple(search))] if search else [],
            )
        )  # fmt: skip
    link.sees_routers = bool(link.routers)
    return link


def _dnsmasq_options(settings: dict[str, list[str]]) -> tuple[list[str] | None, list[str]]:
    resolvers: list[str] | None = None
    search: list[str] = []
    for value in settings.get("dhcp-option", []):
        words = [word for word in value.split(",") if not word.startswith("tag:")]
        code = words[0].removeprefix("option6:") if words[0].startswith("option6:") else ""
        if code in ("dns-server", "23"):
            resolvers = _addresses(words[1:])
        elif code in ("domain-search", "24"):
            search = words[1:]
    return resolvers, search


# Kea


def _kea(text: str, place: str) -> Link:
    """See the Kea ARM, DHCPv6. Kea sends no advertisements: what routers say stays unknown."""
    try:
        data = json.loads(_plain_json(text))
        server = data["Dhcp6"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataFault(
            f"this is no configuration of kea-dhcp6: {error}",
            place=place,
            remedy="kea-dhcp6 -t FILE shows where",
        ) from error
    link = Link(place, sees_routers=False, asked_settings=True, asked_address=True)
    whole = _kea_options(server)
    subnets = [(one, whole) for one in _list(server, "subnet6")]
    for network in _list(server, "shared-networks"):
        shared = {**whole, **_kea_options(network)}
        subnets += [(one, shared) for one in _list(network, "subnet6")]
    for subnet, outer in subnets:
        options = {**outer, **_kea_options(subnet)}
        pools = [str(one.get("pool", "")) for one in _list(subnet, "pools")]
        where = f"{place}: subnet {subnet.get('subnet', '?')}"
        for is_stateful in (False, True) if pools else (False,):
            lease = Lease(where, is_stateful=is_stateful)
            lease.addresses = pools if is_stateful else []
            lease.resolvers = _addresses(options.get(23, "").split(","))
            lease.search = [one.strip() for one in options.get(24, "").split(",") if one.strip()]
            if 144 in options:
                lease.encrypted = [Encrypted(_kea_name(options[144]), ())]
            link.leases.append(lease)
    return link


def _kea_name(text: str) -> str:
    """The name in `100, dot1.example.org., 2001:db8::1, alpn=dot`."""
    words = [word.strip() for word in text.split(",")]
    return words[1] if len(words) > 1 else ""


def _kea_options(scope: dict[str, Any]) -> dict[int, str]:
    known = {"dns-servers": 23, "domain-search": 24, "v6-dnr": 144}
    found = {}
    for option in _list(scope, "option-data"):
        code = option.get("code") or known.get(str(option.get("name")), 0)
        if isinstance(code, int) and code in known.values():
            found[code] = str(option.get("data", ""))
    return found


def _list(scope: Any, key: str) -> list[dict[str, Any]]:
    found = scope.get(key, []) if isinstance(scope, dict) else []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _plain_json(text: str) -> str:
    """Take off the comments that Kea allows: #, // and /* */, outside strings."""
    pattern = re.compile(r'"(?:[^"\\]|\\.)*"|#[^\n]*|//[^\n]*|/\*.*?\*/', re.DOTALL)
    keep: Callable[[re.Match[str]], str] = lambda m: m.group() if m.group()[0] == '"' else ""  # noqa: E731
    return pattern.sub(keep, text)


def _addresses(words: list[str]) -> list[str]:
    return list(_read_addresses(words))


def _read_addresses(words: list[str]) -> Iterator[str]:
    for word in words:
        try:
            yield str(ipaddress.IPv6Address(word.strip().strip("[]")))
        except ValueError:
            continue


def _number(text: str | None, default: int) -> int:
    if text == "infinity":
        return _INFINITE
    return int(text) if text is not None and text.isdigit() else default
