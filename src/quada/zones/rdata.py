r"""RDATA between presentation text and octets.

The common types have readers of their own because a zone of a million records is read in seconds
that way; every other type, and every type's text form, is dnspython's. `\# length hex` (RFC 3597 5)
is taken for any type.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

import quada.wire.addresses as addresses
import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.rdata_dnssec as rdata_dnssec
from quada.wire.faults import DataFault
from quada.zones.tokens import Entry, Misread, quote, unescape

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RDATA_OCTETS: Final = 65535  # RFC 1035 3.2.1: RDLENGTH has 16 bits
MAX_TTL_S: Final = 0x7FFFFFFF  # RFC 2181 8
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}

META_TYPES: Final = frozenset({codes.OPT, *range(128, 256)}) - {128}
"""Types that are questions or transport, never zone data (RFC 6895 3.1)."""

TYPES: Final[dict[str, int]] = {
    **{rdtype.name.replace("_", "-"): int(rdtype) for rdtype in dns.rdatatype.RdataType},
    "ALIAS": codes.ALIAS,
    "POOL": codes.POOL,
    "ANAME": codes.ALIAS,  # draft-ietf-dnsop-aname's name for the same idea
}
_TYPE_NAMES: Final = {number: name for name, number in TYPES.items() if name != "ANAME"}


def type_number(text: str) -> int | None:
    """Give the number of a type's mnemonic, any case, or of `TYPEnnn` (RFC 3597 5); else None."""
    text = text.upper()
    number = TYPES.get(text)
    if number is None and text.startswith("TYPE"):
        digits = text[4:]
        if digits.isascii() and digits.isdigit() and len(digits) < 6 and int(digits) < 65536:
            return int(digits)
    return number


def type_name(rdtype: int) -> str:
    """Give a type's mnemonic, or `TYPEnnn`."""
    return _TYPE_NAMES.get(rdtype) or f"TYPE{rdtype}"


def read_ttl(text: str) -> int:
    """Read a TTL in seconds or in units: `300`, `1h30m`, `2W`.

    Raises: DataFault where it is not one, or above 2147483647 (RFC 2181 8).
    """
    total = 0
    number = ""
    if not text.isascii():
        raise DataFault(f"{text!r} is not a TTL")
    for char in text.lower():
        if char.isdigit():
            number += char
        elif char in _UNITS and number:
            total += int(number[:12]) * _UNITS[char]
            number = ""
        else:
            raise DataFault(f"{text!r} is not a TTL", remedy="write seconds, or units as in 1h30m")
    total += int(number[:12] or "0")
    if not text or total > MAX_TTL_S:
        raise DataFault(f"TTL {text!r} is not between 0 and {MAX_TTL_S} seconds (RFC 2181 8)")
    return total


def read_ipv4(text: str) -> bytes:
    """Read a dotted quad. Raises: DataFault. RFC: 1035 3.4.1"""
    parts = text.split(".")
    try:
        octets = bytes(map(int, parts))
    except ValueError:
        octets = b""
    # int() takes "+1", " 1" and "1_0"; only digits of at most three places are an address.
    if len(octets) != 4 or len(text) > 15 or not "".join(parts).isdecimal() or not text.isascii():
        hint = "this is an IPv6 address: the type is AAAA" if ":" in text else ""
        raise DataFault(f"{text!r} is not an IPv4 address", remedy=hint)
    return octets


def read_ipv6(text: str) -> bytes:
    """Read an IPv6 address. Raises: DataFault. RFC: 4291 2.2"""
    try:
        head, mark, tail = text.partition("::")
        if mark and len(text) <= _ADDRESS_CHARACTERS:
            left, right = _prefix_groups(head), _groups(tail)
            gap = 16 - len(left) - len(right)
            if gap >= 2:
                return left + bytes(gap) + right
        elif not mark:
            octets = _groups(text)
            if len(octets) == 16:
                return octets
    except ValueError:
        pass
    hint = "this is an IPv4 address: the type is A" if text.count(".") == 3 else ""
    if "%" in text or "/" in text:
        hint = "write the address alone, without zone index or prefix length"
    raise DataFault(f"{text!r} is not an IPv6 address", remedy=hint)


def _groups(text: str) -> bytes:
    if not text:
        return b""
    groups = text.split(":")
    if "." in groups[-1]:  # RFC 4291 2.2 form 3: ::ffff:192.0.2.1
        try:
            groups[-1:] = [read_ipv4(groups[-1]).hex()[:4], read_ipv4(groups[-1]).hex()[4:]]
        except DataFault:
            raise ValueError from None
    filled = "".join([_FILL[len(group)] + group for group in groups])
    if len(filled) != 4 * len(groups) or not filled.isalnum():
        raise ValueError
    return bytes.fromhex(filled)


_ADDRESS_CHARACTERS: Final = 45  # of the longest, which ends in an IPv4 address
# A zone's addresses share few prefixes.
_prefix_groups: Final = lru_cache(maxsize=4096)(_groups)

# Zeros that fill a group of 0 to 39 characters up to 4; an empty or too long one stays wrong.
_FILL: Final = ["x", "000", "00", "0", ""] + ["x"] * 42


def read_name(text: str, origin: bytes) -> bytes:
    """Read a name in RDATA or as an owner: `wire.names.from_text`, quick where nothing is escaped.

    Raises: DataFault.
    """
    if "\\" in text or not text.isascii() or text in (".", "@") or text[:1] == '"':
        if text[:1] == '"':
            raise DataFault(f"name {text} stands in quotes", remedy="remove the quotes")
        return names.from_text(text, origin)
    labels = text.encode().split(b".")
    end = origin
    if not labels[-1]:
        end = names.ROOT
        labels.pop()
    try:
        wire = b"".join([_LENGTHS[len(label)] + label for label in labels]) + end
    except IndexError:
        return names.from_text(text, origin)  # raises: a label is too long
    if b"" in labels or len(wire) > names.MAX_NAME_OCTETS:
        return names.from_text(text, origin)  # raises
    return wire


_LENGTHS: Final = [bytes((length,)) for length in range(64)]


def read_rdata(rdtype: int, fields: list[str], origin: bytes) -> bytes:
    """Read the fields after a record's type into uncompressed RDATA, case kept.

    Raises: Misread with the number of the field, or DataFault.
    """
    if fields and fields[0] == "\\#":
        return _read_generic(rdtype, fields)
    reader = READERS.get(rdtype)
    if reader is not None:
        return reader(fields, origin)
    if rdtype not in _TYPE_NAMES:
        raise Misread(
            f"type {rdtype} is unknown: its data must be written as \\# length hex (RFC 3597 5)",
            index=0,
        )
    return _read_by_dnspython(rdtype, " ".join(fields), origin)


def read_value(rdtype: int, text: str, origin: bytes) -> bytes:
    """Read RDATA written as one text, as a zone file has it after the type.

    Raises: DataFault, saying what is wrong with it.
    """
    entry = Entry()
    try:
        entry.add(text, 1)
        if entry.depth or not entry.tokens:
            raise Misread("it is empty, or a parenthesis is open")
        return read_rdata(rdtype, [token.text for token in entry.tokens], origin)
    except Misread as error:
        raise DataFault(
            f"{type_name(rdtype)} value {text!r}: {error.message}", remedy=error.remedy
        ) from error


def _read_by_dnspython(rdtype: int, text: str, origin: bytes) -> bytes:
    try:
        rdata = dns.rdata.from_text(
            dns.rdataclass.IN,
            dns.rdatatype.RdataType.make(rdtype),
            text.encode("utf-8", "surrogateescape").decode("latin-1"),
            dns.name.from_wire(origin, 0)[0],
            relativize=False,
        )
        wire = rdata.to_wire()
    except Exception as error:  # dnspython raises many kinds for garbage, all mean the same here
        raise Misread(f"{type_name(rdtype)} data cannot be read: {error}", index=0) from error
    return _sized(wire or b"")


def _read_generic(rdtype: int, fields: list[str]) -> bytes:
    """Read `\\# length hex...` and, for a type that is known, check that it parses (RFC 3597 5)."""
    try:
        length, wire = int(fields[1]), bytes.fromhex("".join(fields[2:]))
    except (IndexError, ValueError):
        raise Misread("\\# must be followed by a length and hexadecimal digits", index=0) from None
    if length != len(wire):
        raise Misread(f"\\# says {length} octets, {len(wire)} are written", index=1)
    if rdtype in _TYPE_NAMES:
        try:
            if rdtype == codes.ALIAS:
                return _whole_name(wire)
            return _parsed(rdtype, wire).to_wire() or b""
        except Exception as error:
            raise Misread(
                f"these octets are not {type_name(rdtype)} data: {error}", index=0
            ) from error
    return _sized(wire)


def _parsed(rdtype: int, wire: bytes) -> dns.rdata.Rdata:
    kind = dns.rdatatype.RdataType.make(rdtype)
    return dns.rdata.from_wire(dns.rdataclass.IN, kind, wire, 0, len(wire))


def _whole_name(wire: bytes) -> bytes:
    name, end = names.parse_name(wire, 0)
    if end != len(wire) or name != wire:
        raise DataFault("octets after the name, or a compressed name")
    return wire


def _sized(wire: bytes) -> bytes:
    if len(wire) > MAX_RDATA_OCTETS:
        raise Misread("data is longer than 65535 octets", index=0)
    return wire


def _count(fields: list[str], want: int, shape: str) -> None:
    if len(fields) != want:
        index = min(len(fields), want)
        fact = "a field is missing" if len(fields) < want else f"{fields[want]!r} is too much"
        raise Misread(f"{fact}: write {shape}", index=index)


def _number(fields: list[str], index: int, bits: int, what: str) -> int:
    text = fields[index]
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < 1 << bits):
        raise Misread(f"{what} {text!r} is not a number below {1 << bits}", index=index)
    return int(text)


def _read_a(fields: list[str], origin: bytes) -> bytes:
    if len(fields) != 1:
        _count(fields, 1, "one IPv4 address")
    return read_ipv4(fields[0])


def _read_aaaa(fields: list[str], origin: bytes) -> bytes:
    if len(fields) != 1:
        _count(fields, 1, "one IPv6 address")
    return read_ipv6(fields[0])


def _read_one_name(fields: list[str], origin: bytes) -> bytes:
    if len(fields) != 1:
        _count(fields, 1, "one name")
    return read_name(fields[0], origin)


def _read_mx(fields: list[str], origin: bytes) -> bytes:
    _count(fields, 2, "preference and mail exchanger")
    preference = _number(fields, 0, 16, "preference")
    return preference.to_bytes(2, "big") + _at(1, fields, origin)


def _read_srv(fields: list[str], origin: bytes) -> bytes:
    _count(fields, 4, "priority, weight, port and target")
    parts = [_number(fields, i, 16, what) for i, what in enumerate(("priority", "weight", "port"))]
    return struct.pack("!HHH", *parts) + _at(3, fields, origin)


def _at(index: int, fields: list[str], origin: bytes) -> bytes:
    """Read the name at a field, saying which field is wrong where it is."""
    try:
        return read_name(fields[index], origin)
    except DataFault as fault:
        raise Misread(fault.message, index=index, remedy=fault.remedy) from fault


def _read_pool(fields: list[str], origin: bytes) -> bytes:
    _count(fields, 1, "the name of a pool")
    return _read_txt(fields, origin)


def _read_txt(fields: list[str], origin: bytes) -> bytes:
    if not fields:
        raise Misread('no text: write at least one string, or ""', index=0)
    out = []
    for index, field in enumerate(_separated(fields)):
        octets = unescape(field)
        if len(octets) > 255:
            raise Misread(
                f"string of {len(octets)} octets is longer than 255 (RFC 1035 3.3)",
                index=index,
                remedy='split it into several strings: "..." "..."',
            )
        out.append(bytes((len(octets),)) + octets)
    return _sized(b"".join(out))


def _separated(fields: list[str]) -> list[str]:
    """Part what the tokenizer keeps together for SVCB: in text, `a="b"` is two strings."""
    out = []
    for field in fields:
        if field[-1] == '"' and field[0] != '"' and '="' in field:
            at = field.index('="') + 1
            out += [field[:at], field[at:]]
        else:
            out.append(field)
    return out


def _read_soa(fields: list[str], origin: bytes) -> bytes:
    _count(fields, 7, "primary, mailbox, serial, refresh, retry, expire and minimum")
    timers = []
    for index, what in enumerate(("refresh", "retry", "expire", "minimum"), start=3):
        try:
            timers.append(read_ttl(fields[index]))
        except DataFault as fault:
            raise Misread(f"{what}: {fault.message}", index=index, remedy=fault.remedy) from fault
    numbers = struct.pack("!IIIII", _number(fields, 2, 32, "serial"), *timers)
    return _at(0, fields, origin) + _at(1, fields, origin) + numbers


def _read_caa(fields: list[str], origin: bytes) -> bytes:
    _count(fields, 3, "flags, tag and value")
    tag = fields[1].encode("ascii", "replace")
    if not tag.isalnum() or len(tag) > 255:
        raise Misread(f"tag {fields[1]!r} is not letters and digits", index=1)
    value = unescape(fields[2])
    return bytes((_number(fields, 0, 8, "flags"), len(tag))) + tag + _sized(value)


READERS: Final[dict[int, Callable[[list[str], bytes], bytes]]] = {
    codes.A: _read_a,
    codes.NS: _read_one_name,
    codes.CNAME: _read_one_name,
    codes.SOA: _read_soa,
    codes.PTR: _read_one_name,
    codes.MX: _read_mx,
    codes.TXT: _read_txt,
    codes.AAAA: _read_aaaa,
    codes.SRV: _read_srv,
    codes.DNAME: _read_one_name,
    codes.ALIAS: _read_one_name,
    codes.POOL: _read_pool,
    99: _read_txt,  # SPF (RFC 7208 3.1)
    257: _read_caa,  # RFC 8659
}


def write_name(name: bytes, origin: bytes | None) -> str:
    """Write a name, relative to an origin where it is below it, `@` where it is the origin."""
    if origin is None or origin == names.ROOT:
        return names.to_text(name)
    lowered = name.lower()
    if lowered == origin:
        return "@"
    if names.is_subdomain(lowered, origin):
        return names.to_text(name[: -len(origin)] + b"\x00")[:-1]
    return names.to_text(name)


def write_rdata(rdtype: int, wire: bytes, origin: bytes | None = None) -> str:
    """Write RDATA as text, with names relative to an origin where one is given.

    What does not parse as its type is written as `\\# length hex`, so that nothing is ever lost.
    """
    writer = _WRITERS.get(rdtype)
    try:
        if writer is not None:
            return writer(wire, origin)
        if rdtype in _TYPE_NAMES and rdtype not in META_TYPES:
            rdata = _parsed(rdtype, wire)
            base = dns.name.from_wire(origin, 0)[0] if origin is not None else None
            text = str(rdata.to_text(origin=base, relativize=base is not None))
            # Some types have a form for people only; what reads back otherwise is no use.
            if _read_by_dnspython(rdtype, text, origin or names.ROOT) == wire:
                return text
    except Exception:  # any fault of any type's code: the generic form is always right
        pass
    return f"\\# {len(wire)} {wire.hex()}".rstrip()


def _write_a(wire: bytes, origin: bytes | None) -> str:
    if len(wire) != 4:
        raise DataFault("not 4 octets")
    return ".".join(map(str, wire))


def write_ipv6(wire: bytes) -> str:
    """Write an IPv6 address as RFC 5952 4 asks; raises DataFault unless there are 16 octets."""
    if len(wire) != 16:
        raise DataFault("not 16 octets")
    return addresses.to_text(wire)


def _write_aaaa(wire: bytes, origin: bytes | None) -> str:
    return write_ipv6(wire)


def _write_one_name(wire: bytes, origin: bytes | None) -> str:
    return write_name(_whole_name(wire), origin)


def _write_mx(wire: bytes, origin: bytes | None) -> str:
    return f"{int.from_bytes(wire[:2], 'big')} {write_name(_whole_name(wire[2:]), origin)}"


def _write_srv(wire: bytes, origin: bytes | None) -> str:
    priority, weight, port = struct.unpack_from("!HHH", wire)
    return f"{priority} {weight} {port} {write_name(_whole_name(wire[6:]), origin)}"


def _write_txt(wire: bytes, origin: bytes | None) -> str:
    return " ".join(quote(string) for string in strings(wire))


def strings(wire: bytes) -> list[bytes]:
    """Cut TXT RDATA into its character-strings. Raises: DataFault. RFC: 1035 3.3.14"""
    out = []
    at = 0
    while at < len(wire):
        end = at + 1 + wire[at]
        out.append(wire[at + 1 : end])
        at = end
    if at != len(wire) or not out:
        raise DataFault("strings do not fill the data")
    return out


def _write_soa(wire: bytes, origin: bytes | None) -> str:
    primary, at = names.parse_name(wire, 0)
    mailbox, at = names.parse_name(wire, at)
    if len(primary) + len(mailbox) + 20 != len(wire):
        raise DataFault("SOA data has a wrong length")
    numbers = " ".join(map(str, struct.unpack_from("!IIIII", wire, at)))
    return f"{write_name(primary, origin)} {write_name(mailbox, origin)} {numbers}"


def _write_caa(wire: bytes, origin: bytes | None) -> str:
    tag = wire[2 : 2 + wire[1]]
    if len(tag) != wire[1] or not tag.isalnum():
        raise DataFault("CAA tag is cut short")
    return f"{wire[0]} {tag.decode('ascii')} {quote(wire[2 + wire[1] :])}"


_WRITERS: Final[dict[int, Callable[[bytes, bytes | None], str]]] = {
    codes.A: _write_a,
    codes.NS: _write_one_name,
    codes.CNAME: _write_one_name,
    codes.SOA: _write_soa,
    codes.PTR: _write_one_name,
    codes.MX: _write_mx,
    codes.TXT: _write_txt,
    codes.AAAA: _write_aaaa,
    codes.SRV: _write_srv,
    codes.DNAME: _write_one_name,
    codes.ALIAS: _write_one_name,
    codes.POOL: _write_txt,
    99: _write_txt,
    257: _write_caa,
    **rdata_dnssec.WRITERS,
}
