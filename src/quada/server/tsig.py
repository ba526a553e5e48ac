"""Transaction signatures (RFC 8945): who signed a query, and answers signed for them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TSIG import TSIG

import quada.wire.names as names
from quada.wire.faults import ConfigFault, PeerFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quada.config.settings import KeySection

_FUDGE_S: Final = 300  # RFC 8945 10
_NOTAUTH: Final = int(dns.rcode.NOTAUTH)
_BADSIG: Final = 16  # RFC 8945 3
_BADKEY: Final = 17
_BADTIME: Final = 18


@dataclass(slots=True)
class Signer:
    """Signs the answers to one verified query, one or many (RFC 8945 5.3.1)."""

    key: dns.tsig.Key
    mac: bytes
    _context: Any = None

    @property
    def name(self) -> str:
        """The key's name, as access rules write it: lower case, no final dot."""
        return self.key.name.to_text(omit_final_dot=True).lower()

    def sign(self, message: bytes, *, is_stream: bool = False) -> bytes:
        """Sign one message; in a stream each signature covers the one before."""
        blank = TSIG(  # type: ignore[no-untyped-call]
            dns.rdataclass.ANY, dns.rdatatype.TSIG, self.key.algorithm, 0, _FUDGE_S, b"",
            int.from_bytes(message[:2], "big"), 0, b"",
        )  # fmt: skip
        rdata, context = dns.tsig.sign(  # type: ignore[no-untyped-call]
            message, self.key, blank, int(time.time()), self.mac, self._context, is_stream
        )
        if is_stream:
            self._context = context
        return _append(message, self.key.name, rdata)


class BadSignature(PeerFault):
    """A response is not signed as it must be (RFC 8945 5.3.1)."""

    code = "bad-signature"


class Unverified(Exception):
    """A signature that does not hold; `answer` is what to send, already whole."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("TSIG does not hold")
        self.answer = answer


class Keys:
    """The TSIG keys of a server. Raises: ConfigFault from the constructor for a bad one."""

    def __init__(self, sections: Iterable[KeySection]) -> None:
        self._ring: dict[dns.name.Name, dns.tsig.Key] = {}
        for section in sections:
            try:
                name = dns.name.from_text(section.name)
                algorithm = dns.name.from_text(section.algorithm)
                if algorithm == dns.name.from_text("hmac-md5"):
                    algorithm = dns.tsig.HMAC_MD5
                self._ring[name] = dns.tsig.Key(name, section.secret, algorithm)
            except (ValueError, dns.exception.DNSException) as error:
                raise ConfigFault(
                    f"this TSIG key cannot be used: {error}",
                    place=f"key.{section.name}",
                    remedy="give a name, an hmac- algorithm and a secret in base64",
                ) from error

    def find(self, name: str) -> dns.tsig.Key | None:
        """Give a key by name."""
        return self._ring.get(dns.name.from_text(name)) if name else None

    def sign_query(self, name: str, query: bytes) -> bytes:
        """Sign a query of ours with a key; without a name it goes as it is. Raises: ConfigFault."""
        key = self._known(name)
        return query if key is None else Signer(key, b"").sign(query)

    def follow(self, name: str, query: bytes) -> Callable[[bytes], None]:
        """Give what verifies the responses to a signed query, one after the other.

        It raises BadSignature for one that does not hold, or that comes unsigned at the start.
        """
        key = self._known(name)
        if key is None:
            return lambda _: None
        signed = dns.message.from_wire(query, keyring=False)
        state: dict[str, Any] = {"mac": signed.tsig[0].mac if signed.tsig else b"", "context": None}

        def verify(message: bytes) -> None:
            try:
                parsed = dns.message.from_wire(
                    message,
                    keyring={key.name: key},
                    request_mac=state["mac"],
                    tsig_ctx=state["context"],
                    multi=True,
                    ignore_trailing=True,
                )
            except dns.exception.DNSException as error:
                raise BadSignature(f"a response's signature does not hold: {error}") from error
            if state["context"] is None and not parsed.had_tsig:
                raise BadSignature("the first response is not signed")
            state["context"] = parsed.tsig_ctx

        return verify

    def _known(self, name: str) -> dns.tsig.Key | None:
        if not name:
            return None
        key = self.find(name)
        if key is None:
            raise ConfigFault(
                f"there is no key {name}", place="zone.key", remedy="define it with [[key]]"
            )
        return key

    def verify(self, packet: bytes) -> Signer | None:
        """Verify a query; None for one that carries no signature.

        Raises: Unverified with the answer of RFC 8945 5.2: NOTAUTH and BADKEY, BADSIG or BADTIME.
        """
        try:
            message = dns.message.from_wire(packet, keyring=self._ring, ignore_trailing=True)
        except dns.message.UnknownTSIGKey:
            raise Unverified(_refusal(packet, _BADKEY)) from None
        except dns.tsig.BadTime:
            raise Unverified(_refusal(packet, _BADTIME)) from None
        except (dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadAlgorithm):
            raise Unverified(_refusal(packet, _BADSIG)) from None
        except dns.exception.DNSException:
            raise Unverified(_bare(packet, int(dns.rcode.FORMERR))) from None
        if not message.had_tsig or message.tsig is None:
            return None
        assert isinstance(message.keyring, dns.tsig.Key)
        return Signer(message.keyring, message.mac or b"")


def _refusal(packet: bytes, error: int) -> bytes:
    """NOTAUTH with an unsigned TSIG record that says why (RFC 8945 5.2.1 to 5.2.3)."""
    try:
        query = dns.message.from_wire(packet, keyring=False, ignore_trailing=True)
        tsig = query.tsig[0] if query.tsig else None
    except dns.exception.DNSException:
        tsig = None
    answer = _bare(packet, _NOTAUTH)
    if tsig is None or query.tsig is None:
        return answer
    other = int(time.time()).to_bytes(6, "big") if error == _BADTIME else b""
    rdata = tsig.replace(
        mac=b"", error=error, other=other, original_id=int.from_bytes(packet[:2], "big")
    )
    return _append(answer, query.tsig.name, rdata)


def _bare(packet: bytes, rcode: int) -> bytes:
    """Header and question of a query, turned into an answer with an rcode."""
    _, at = names.parse_name(packet, 12)
    flags = 0x8000 | (packet[2] & 0x79) << 8 | rcode
    head = packet[:2] + flags.to_bytes(2, "big") + b"\x00\x01" + bytes(6)
    return head + packet[12 : at + 4]


def _append(message: bytes, name: dns.name.Name, rdata: Any) -> bytes:
    """Append a TSIG record to a message and count it."""
    wire = rdata.to_wire()
    count = int.from_bytes(message[10:12], "big") + 1
    record = b"".join(
        (
            name.to_wire() or b"",
            int(dns.rdatatype.TSIG).to_bytes(2, "big"),
            int(dns.rdataclass.ANY).to_bytes(2, "big"),
            bytes(4),
            len(wire).to_bytes(2, "big"),
            wire,
        )
    )
    return message[:10] + count.to_bytes(2, "big") + message[12:] + record
