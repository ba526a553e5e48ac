"""authority: a question about our zones, and its answer. No sockets, no files, no clock."""

from quada.authority.alias import AliasSettings, Keeper, View
from quada.authority.answer import (
    Authority,
    AuthoritySettings,
    Lookup,
    Notified,
    Signed,
    Transfer,
    Update,
    Work,
)
from quada.authority.pool import POOL, Pool, PoolState

__all__ = [
    "POOL",
    "AliasSettings",
    "Authority",
    "AuthoritySettings",
    "Keeper",
    "Lookup",
    "Notified",
    "Pool",
    "PoolState",
    "Signed",
    "Transfer",
    "Update",
    "View",
    "Work",
]
