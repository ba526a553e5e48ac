"""DNS cookies (RFC 7873) in the interoperable form (RFC 9018)."""

from __future__ import annotations

from typing import Final

CLIENT_OCTETS: Final = 8  # RFC 7873 4
SERVER_OCTETS: Final = 16  # RFC 9018 4
_VERSION: Final = b"\x01\x00\x00\x00"  # RFC 9018 4.1 and 4.2
_LIFETIME_S: Final = 3600  # RFC 9018 4.3
_RENEW_S: Final = 1800  # RFC 9018 4.3: a cookie older than half an hour is renewed
_AHEAD_S: Final = 300  # RFC 9018 4.3
_VERIFIED_MAX: Final = (
    20_000  # our choice: verified cookies remembered, because SipHash is slow here
)
_MASK: Final = 0xFFFFFFFFFFFFFFFF


class Cookies:
    """Makes and verifies server cookies with a 16-octet secret shared by all servers of a name.

    Raises: ValueError from the constructor for a secret of another length.
    """

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        if len(secret) != 16 or (previous is not None and len(previous) != 16):
            raise ValueError("a cookie secret has 16 octets")
        self._secrets = [secret] if previous is None else [secret, previous]
        self._verified: dict[bytes, int] = {}

    def answer(self, option: bytes, address: bytes, now_s: int) -> tuple[bytes, bool] | None:
        """Give the cookie to send back, and whether the client's was good; None if malformed.

        Takes the option's data and the client's address in 4 or 16 octets. A malformed option is
        FORMERR (RFC 7873 5.2.2).
        """
        size = len(option)
        if size != CLIENT_OCTETS and not 16 <= size <= 40:
            return None
        client, server = option[:CLIENT_OCTETS], option[CLIENT_OCTETS:]
        if len(server) == SERVER_OCTETS:
            key = option + address
            made_at = self._verified.get(key)
            if made_at is None:
                made_at = self._verify(client, server, address, now_s)
                if made_at is not None:
                    if len(self._verified) >= _VERIFIED_MAX:
                        self._verified.clear()
                    self._verified[key] = made_at
            if made_at is not None and now_s - made_at < _LIFETIME_S:
                if now_s - made_at < _RENEW_S:
                    return option, True
                return client + self.make(client, address, now_s), True
        return client + self.make(client, address, now_s), False

    def make(self, client: bytes, address: bytes, now_s: int) -> bytes:
        """Make a server cookie (RFC 9018 4.4)."""
        head = _VERSION + (now_s & 0xFFFFFFFF).to_bytes(4, "big")
        return head + siphash24(client + head + address, self._secrets[0])

    def _verify(self, client: bytes, server: bytes, address: bytes, now_s: int) -> int | None:
        """Give when a server cookie was made, or None if it is not one of ours, or too old."""
        made_at = int.from_bytes(server[4:8], "big")
        # Serial arithmetic, because the field wraps (RFC 9018 4.3).
        age_s = (now_s - made_at + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if server[:4] != _VERSION or not -_AHEAD_S <= age_s <= _LIFETIME_S:
            return None
        for secret in self._secrets:
            if siphash24(client + server[:8] + address, secret) == server[8:]:
                return now_s - age_s
        return None


def siphash24(data: bytes, key: bytes) -> bytes:
    """Compute SipHash-2-4, 8 octets (Aumasson and Bernstein, 2012; RFC 9018 4.4)."""
    k0 = int.from_bytes(key[:8], "little")
    k1 = int.from_bytes(key[8:], "little")
    state = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        _absorb(state, int.from_bytes(data[at : at + 8], "little"))
    _absorb(state, (len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    state[2] ^= 0xFF
    _rounds(state, 4)
    return (state[0] ^ state[1] ^ state[2] ^ state[3]).to_bytes(8, "little")


def _absorb(state: list[int], word: int) -> None:
    state[3] ^= word
    _rounds(state, 2)
    state[0] ^= word


def _rounds(state: list[int], count: int) -> None:
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = v0 + v1 & _MASK
        v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _MASK
        v2 = v2 + v3 & _MASK
        v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
        v0 = v0 + v3 & _MASK
        v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
        v2 = v2 + v1 & _MASK
        v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _MASK
    state[:] = v0, v1, v2, v3
