"""EDNS: the OPT record on octets (RFC 6891)."""

from __future__ import annotations

from typing import Final, NamedTuple

import quada.wire.codes as codes
import quada.wire.faults as faults

MIN_PAYLOAD_OCTETS: Final = 512  # RFC 6891 6.2.3: smaller values are read as 512
UDP_PAYLOAD_OCTETS: Final = 1232  # DNS flag day 2020: 1280 (RFC 8200 5) less IPv6 and UDP headers


class Edns(NamedTuple):
    """What an OPT record says: version, payload size in octets, flags, extended rcode, options."""

    version: int
    payload_octets: int
    flags: int
    extended_rcode: int
    options: tuple[tuple[int, bytes], ...]

    @property
    def is_do(self) -> bool:
        """The DO bit (RFC 3225)."""
        return self.flags & codes.EDNS_DO != 0

    def option(self, code: int) -> bytes | None:
        """Give the first option of a code, or None."""
        return next((data for found, data in self.options if found == code), None)


def parse_opt(packet: bytes, offset: int) -> tuple[Edns, int]:
    """Parse an OPT record whose owner (one zero octet) starts at `offset`.

    Gives it and the offset after it. Raises MalformedMessage.
    RFC: 6891 6.1.2
    """
    fixed = packet[offset : offset + 11]
    if len(fixed) < 11 or fixed[:3] != b"\x00\x00\x29":
        raise faults.MalformedMessage("OPT record is cut short or not owned by the root")
    end = offset + 11 + int.from_bytes(fixed[9:11], "big")
    if end > len(packet):
        raise faults.MalformedMessage("OPT record runs past the end of the message")
    options = []
    at = offset + 11
    while at < end:
        if at + 4 > end:
            raise faults.MalformedMessage("EDNS option is cut short")
        code = int.from_bytes(packet[at : at + 2], "big")
        after = at + 4 + int.from_bytes(packet[at + 2 : at + 4], "big")
        if after > end:
            raise faults.MalformedMessage("EDNS option runs past its record")
        options.append((code, packet[at + 4 : after]))
        at = after
    return Edns(
        version=fixed[6],
        payload_octets=max(MIN_PAYLOAD_OCTETS, int.from_bytes(fixed[3:5], "big")),
        flags=int.from_bytes(fixed[7:9], "big"),
        extended_rcode=fixed[5],
        options=tuple(options),
    ), end


def compose_option(code: int, data: bytes) -> bytes:
    """Compose one EDNS option."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def compose_ede(info_code: int, text: str = "") -> bytes:
    """Compose an Extended DNS Error option (RFC 8914 2)."""
    return compose_option(codes.OPTION_EDE, info_code.to_bytes(2, "big") + text.encode())


def compose_opt(
    options: bytes = b"",
    *,
    payload_octets: int = UDP_PAYLOAD_OCTETS,
    flags: int = 0,
    extended_rcode: int = 0,
    version: int = 0,
) -> bytes:
    """Compose an OPT record from already composed options (RFC 6891 6.1.2)."""
    return b"".join(
        (
            b"\x00\x00\x29",
            payload_octets.to_bytes(2, "big"),
            bytes((extended_rcode, version)),
            flags.to_bytes(2, "big"),
            len(options).to_bytes(2, "big"),
            options,
        )
    )
