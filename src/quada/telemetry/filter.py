"""The filter language of `quada tail`: words that an event must fit.

    aaaa servfail from 2001:db8::/48 zone example.com role recursive
    nxdomain or nodata, over tcp, ipv6, not bogus, slower 100ms, upstream

Words of one kind are alternatives (`aaaa https`), words of different kinds must all fit; `not`
before a word turns it round.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.rcode
import dns.rdatatype

from quada.telemetry.event import Cause, Event, Kind, Provenance, Role, Validation
from quada.wire.ask import Transport
from quada.wire.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_WORDS_MAX: Final = 64
_REMEDY: Final = "see `quada tail --help`: a type, an rcode, from PREFIX, zone NAME, name GLOB, ..."
_RCODES: Final = {dns.rcode.to_text(dns.rcode.Rcode.make(n)).lower(): n for n in range(12)}


class Term(NamedTuple):
    """One word of a filter: its kind, itself, its value where it takes one, its test."""

    kind: str
    word: str
    value: str
    is_not: bool
    test: Callable[[Event], bool]


def read_filter(words: Sequence[str]) -> Callable[[Event], bool]:
    """Read a filter. Raises: ConfigFault, naming the word."""
    return make_filter(read_terms(words))


def read_terms(words: Sequence[str]) -> list[Term]:
    """Read the words of a filter. Raises: ConfigFault, naming the word."""
    if len(words) > _WORDS_MAX:
        raise ConfigFault("the filter has too many words", place="filter")
    terms = []
    left = iter(words)
    for word in left:
        low = word.lower().strip(",")
        if low in ("or", "and", ""):
            continue
        is_not = low == "not"
        if is_not:
            low = _next(left, "not").lower()
        value = _next(left, low) if low in _TAKES_VALUE else ""
        kind, test = _test(low, value)
        terms.append(Term(kind, low, value, is_not, test))
    return terms


def make_filter(terms: Iterable[Term]) -> Callable[[Event], bool]:
    """Make one test of terms: those of one kind are alternatives, and each `not` must hold."""
    groups: dict[str, list[Callable[[Event], bool]]] = {}
    for number, term in enumerate(terms):
        if term.is_not:
            groups[f"not {number}"] = [_negated(term.test)]
        else:
            groups.setdefault(term.kind, []).append(term.test)
    tests = list(groups.values())
    return lambda event: all(any(test(event) for test in group) for group in tests)


def _test(word: str, value: str) -> tuple[str, Callable[[Event], bool]]:
    if word in _TAKES_VALUE:
        return word, _TAKES_VALUE[word](value)
    if word in _RCODES:
        number = _RCODES[word]
        if word == "noerror":
            return "outcome", lambda e: e.rcode == 0 and not e.is_nodata
        return "outcome", lambda e: e.rcode == number
    if word in _PLAIN:
        return _PLAIN[word]
    try:
        rdtype = int(dns.rdatatype.from_text(word.upper()))
    except (dns.rdatatype.UnknownRdatatype, ValueError) as error:
        raise ConfigFault(f"{word!r} is no filter word", place="filter", remedy=_REMEDY) from error
    return "type", lambda e: e.qtype == rdtype


def _plain() -> dict[str, tuple[str, Callable[[Event], bool]]]:
    plain: dict[str, tuple[str, Callable[[Event], bool]]] = {
        "nodata": ("outcome", lambda e: bool(e.is_nodata)),
        "silent": ("outcome", lambda e: e.rcode is None),
        "ipv6": ("family", lambda e: e.family == 6),
        "ipv4": ("family", lambda e: e.family == 4),
        "authoritative": ("role", lambda e: e.role is Role.AUTHORITATIVE),
        "recursive": ("role", lambda e: e.role is Role.RECURSIVE),
        "upstream": ("kind", lambda e: e.kind is Kind.UPSTREAM),
        "query": ("kind", lambda e: e.kind is Kind.QUERY),
    }
    for transport in Transport:
        plain[transport.name.lower()] = "transport", _is("transport", transport)
    for state in Validation:
        plain[state.name.lower()] = "validation", _is("validation", state)
    for bit in Provenance:
        plain[str(bit.name).lower()] = "provenance", _has(bit)
    return plain


def _is(field: str, value: object) -> Callable[[Event], bool]:
    return lambda event: getattr(event, field) == value


def _has(bit: Provenance) -> Callable[[Event], bool]:
    return lambda event: event.provenance is not None and bool(event.provenance & bit)


def _negated(test: Callable[[Event], bool]) -> Callable[[Event], bool]:
    return lambda event: not test(event)


def _from(text: str) -> Callable[[Event], bool]:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigFault(f"{text!r} is no prefix", place="from", remedy=_REMEDY) from None

    def test(event: Event) -> bool:
        if event.client is None:
            return False
        try:
            address = ipaddress.ip_address(event.client.partition("%")[0])
        except ValueError:  # hashed, or never one
            return False
        return address.version == network.version and address in network

    return test


def _zone(text: str) -> Callable[[Event], bool]:
    name = f"{text.lower().rstrip('.')}."
    return lambda e: e.qname is not None and (e.qname == name or e.qname.endswith(f".{name}"))


def _name(text: str) -> Callable[[Event], bool]:
    glob = f"{text.lower().rstrip('.')}."
    return lambda e: e.qname is not None and fnmatch.fnmatchcase(e.qname.lower(), glob)


def _slower(text: str) -> Callable[[Event], bool]:
    number, unit = text.rstrip("msu"), text[len(text.rstrip("msu")) :]
    scale = {"us": 1, "ms": 1_000, "s": 1_000_000, "": 1_000}.get(unit)
    if scale is None or not number.replace(".", "", 1).isdigit():
        raise ConfigFault(f"{text!r} is no time", place="slower", remedy="as in 100ms")
    least = float(number) * scale
    return lambda e: e.duration_us is not None and e.duration_us >= least


def _role(text: str) -> Callable[[Event], bool]:
    try:
        return _is("role", Role[text.upper()])
    except KeyError:
        raise ConfigFault(
            f"there is no role {text}", place="role", remedy="authoritative or recursive"
        ) from None


def _cause(text: str) -> Callable[[Event], bool]:
    try:
        return _is("cause", Cause[text.upper()])
    except KeyError:
        known = ", ".join(cause.name.lower() for cause in Cause)
        raise ConfigFault(f"there is no cause {text}", place="cause", remedy=known) from None


def _over(text: str) -> Callable[[Event], bool]:
    try:
        return _is("transport", Transport[text.upper()])
    except KeyError:
        known = ", ".join(transport.name.lower() for transport in Transport)
        raise ConfigFault(f"there is no transport {text}", place="over", remedy=known) from None


def _source(text: str) -> Callable[[Event], bool]:
    return _is("source", text)


def _ede(text: str) -> Callable[[Event], bool]:
    if not text.isdigit():
        raise ConfigFault(f"{text!r} is no EDE code", place="ede", remedy="as in ede 6")
    return _is("ede", int(text))


_TAKES_VALUE: Final[dict[str, Callable[[str], Callable[[Event], bool]]]] = {
    "from": _from, "zone": _zone, "name": _name, "slower": _slower, "role": _role,
    "cause": _cause, "over": _over, "source": _source, "ede": _ede,
}  # fmt: skip
_PLAIN: Final = _plain()


def _next(left: Iterator[str], word: str) -> str:
    value = next(left, None)
    if value is None:
        raise ConfigFault(f"{word!r} needs a word after it", place="filter", remedy=_REMEDY)
    return value.strip(",")
