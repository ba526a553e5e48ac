"""Access rules: who may transfer and update a zone."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterable


class Access:
    """A list of prefixes (`2001:db8::/32`), keys (`key:NAME`), or `any`; empty is nobody.

    Raises: ConfigFault from the constructor for what is neither.
    """

    def __init__(self, rules: Iterable[str], place: str = "") -> None:
        self._keys: set[str] = set()
        self._networks: list[ipaddress.IPv6Network | ipaddress.IPv4Network] = []
        for rule in rules:
            if rule.startswith(("key:", "key ")):
                self._keys.add(rule[4:].strip().rstrip(".").lower())
                continue
            if rule in ("any", "none"):
                everybody = ("::/0", "0.0.0.0/0") if rule == "any" else ()
                self._networks += [ipaddress.ip_network(network) for network in everybody]
                continue
            try:
                self._networks.append(ipaddress.ip_network(rule, strict=False))
            except ValueError:
                raise ConfigFault(
                    f"{rule!r} is neither a prefix nor a key",
                    place=place,
                    remedy="write 2001:db8::/32, ::1 or key:NAME",
                ) from None

    def permits(self, address: str, key: str = "") -> bool:
        """Tell whether a client may, given its address and the key it has proven."""
        if key and key in self._keys:
            return True
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(client.version == n.version and client in n for n in self._networks)
