"""The recursive role, made of its settings: hints, anchors, DNS64, policy, forwarding."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import quada.wire.names as names
from quada.resolver import Anchors, Validator
from quada.resolver.anchors import read_anchors, root_anchors
from quada.resolver.answer import LOCAL_NETWORKS, Recursor, ResolverSettings
from quada.resolver.cache import Cache, Delegation
from quada.resolver.dns64 import OnFailure, Rule, read_prefix
from quada.resolver.iterate import Iterator
from quada.resolver.policy import Policy
from quada.resolver.roots import built_in_roots, roots_of
from quada.resolver.servers import Servers
from quada.server.plan import read_server
from quada.store.files import load_zone_file
from quada.transport.chance import random_bits
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from quada.config.settings import ResolverSection
    from quada.zones import Zone

_ANSWERS_A_MIB = 700  # measured: an answer with its records takes about 1.4 KiB


def make_recursor(section: ResolverSection, worker: int, *own: Zone) -> Recursor:
    """Make a worker's resolver, with local zones of our own making.

    Raises: ConfigFault, DataFault for settings and files.
    """
    families = {"both": (6, 4), "ipv6": (6,), "ipv4": (4,)}[section.families]
    answers = Cache(max(1000, section.cache_mib * _ANSWERS_A_MIB))
    for fixed in (
        *_fixed(section.forward, is_forward=True),
        *_fixed(section.stub, is_forward=False),
    ):
        answers.delegate(fixed)
    validator = None
    if section.dnssec:
        file = section.trust_anchor
        anchors = read_anchors(_text(file), file) if file else root_anchors()
        validator = Validator(Anchors(anchors))
    iterator = Iterator(
        read_roots(section.root_hints),
        answers=answers,
        servers=Servers(families),
        validator=validator,
        bits=random_bits,
        stale_s=section.serve_stale_s,
    )
    if section.nat64 not in ("auto", "off"):
        iterator.nat64 = read_prefix(section.nat64, "resolver.nat64")
    for network in section.allow:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigFault(f"{network!r} is not a prefix", place="resolver.allow") from None
    rules: tuple[Rule, ...] = ()
    if section.dns64:
        prefixes = tuple(read_prefix(text) for text in section.dns64)
        rules = (Rule(prefixes, on_failure=OnFailure(section.dns64_on_failure)),)
    policy = None
    if section.policy_zone:
        policy = Policy(load_zone_file(section.policy_zone, names.from_text("rpz.")))
    local = {zone.origin: zone for zone in (*own, *map(_local_zone, section.local_zone))}
    settings = ResolverSettings(
        allow=section.allow or LOCAL_NETWORKS,
        dns64=rules,
        local=tuple(local.values()),
        worker=worker,
    )
    return Recursor(settings, iterator, policy)


def _local_zone(text: str) -> Zone:
    """Read `ZONE=FILE`. Raises: ConfigFault, DataFault."""
    zone, is_named, file = text.partition("=")
    if not is_named:
        raise ConfigFault(f"{text!r} is not ZONE=FILE", place="resolver.local_zone")
    return load_zone_file(file, names.from_text(zone).lower())


def read_roots(file: str) -> Delegation:
    """Read root hints, or give those built in. Raises: ConfigFault."""
    if not file:
        return built_in_roots()
    hints = roots_of(load_zone_file(file, names.ROOT).records())
    if not hints.glue:
        raise ConfigFault(
            "the root hints hold no addresses", place=file, remedy="give NS, AAAA and A records"
        )
    return hints


def _fixed(texts: tuple[str, ...], *, is_forward: bool) -> list[Delegation]:
    """Read `ADDRESS` (for the root) or `ZONE=ADDRESS`; several for one zone go together.

    An address is what `read_server` reads.
    """
    by_zone: dict[bytes, list[str]] = {}
    for text in texts:
        zone, is_named, address = text.rpartition("=")
        origin = names.from_text(zone).lower() if is_named else names.ROOT
        found = read_server(address, "resolver.forward")
        by_zone.setdefault(origin, []).append(str(found))
    server = names.from_text("configured.invalid.")
    return [
        Delegation(
            zone, (server,), {server: tuple(addresses)}, float("inf"), is_forward, is_fixed=True
        )
        for zone, addresses in by_zone.items()
    ]


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError as error:
        raise ConfigFault(f"cannot read it: {error.strerror}", place=file) from error
