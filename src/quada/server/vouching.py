"""What can be wrong with the settings of a provider of identities, said before anything starts."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from quada.api.access import check_scopes
from quada.wire.faults import ConfigFault, DataFault

if TYPE_CHECKING:
    from quada.config.settings import OidcSection


def check_oidc(section: OidcSection) -> None:
    """Raise ConfigFault for a provider that nobody could safely come in through."""
    if not section.issuer:
        return
    parts = urlsplit(section.issuer)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ConfigFault("the provider must be reached by HTTPS", place="oidc.issuer")
    if not section.client_id:
        raise ConfigFault("the provider knows us by a client id", place="oidc.client_id")
    if not section.grant:
        raise ConfigFault(
            "nobody would be allowed anything", place="oidc.grant",
            remedy='for instance ["dns-admins=admin"]',
        )  # fmt: skip
    for grant in section.grant:
        value, _, scope = grant.rpartition("=")
        try:
            check_scopes((scope,))
        except DataFault as fault:
            raise ConfigFault(fault.message, place="oidc.grant", remedy=fault.remedy) from fault
        if not value:
            raise ConfigFault(f"{grant!r} is not VALUE=SCOPE", place="oidc.grant")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
