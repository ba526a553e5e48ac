"""authority: a question about our zones, and its answer. No sockets, no files, no clock."""

from quada.authority.alias import AliasSettings, View
from quada.authority.answer import Authority
from quada.authority.keeper import Keeper
from quada.authority.pool import Pool, PoolState
from quada.authority.work import (
    AuthoritySettings,
    Lookup,
    Notified,
    Signed,
    Transfer,
    Update,
    Work,
)

__all__ = [
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
