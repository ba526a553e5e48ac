"""What can be told of dns-01 and tls-alpn-01 before a CA is asked: each pitfall with its fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from quada.acme.challenges import ALPN, caa_levels
from quada.acme.forecast import Finding
from quada.acme.validate import (
    DIAL_S,
    Answer,
    Ask,
    Failed,
    Handshake,
    Looked,
    Lookup,
    Shook,
    caa_problem,
    look_both_up,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def preflight(
    kind: str,
    name: str,
    *,
    issuer: str,
    is_reserved: Callable[[str], bool],
    ports: dict[int, int],
) -> Generator[Ask, Answer, tuple[Finding, ...]]:
    """Look at what a challenge of this kind needs. A wildcard is named with its asterisk."""
    bare = name.removeprefix("*.")
    if kind == "dns-01":
        found = yield from _dns(bare)
    else:
        found = yield from _tls(bare, is_reserved, ports.get(443, 443))
    levels = yield from caa_levels(bare)
    denied = caa_problem(bare, levels, issuer=issuer, is_wildcard=bare != name)
    if denied is not None:
        found.append(Finding("caa", "FAIL", denied.detail, "let CAA allow the CA"))
    return tuple(found)


def _dns(name: str) -> Generator[Ask, Answer, list[Finding]]:
    """Look where the TXT record should be, and where it is put by mistake."""
    owner = f"_acme-challenge.{name}"
    looked = yield Lookup(owner, "TXT")
    assert isinstance(looked, Looked)
    out: list[Finding] = []
    if looked.error:
        out.append(
            Finding("lookup-fails", "FAIL", f"TXT of {owner}: {looked.error}",
                    "mend the name servers: a CA would say `dns`")
        )  # fmt: skip
    good = [value for value in looked.values if _VALUE.fullmatch(value)]
    out += [
        Finding("txt-value", "WARN", f"{value[:60]!r} cannot be a challenge's value",
                "43 characters of base64url, in one string, without quotes of your own")
        for value in looked.values
        if value not in good
    ]  # fmt: skip
    if good:
        out.append(Finding("txt-found", "PASS", f"{len(good)} values at {owner} could be one"))
    elif not looked.error:
        zone = name
        while zone.count("."):
            doubled = f"{owner}.{zone}"
            again = yield Lookup(doubled, "TXT")
            if isinstance(again, Looked) and again.values:
                out.append(
                    Finding("txt-double", "FAIL", f"there is a TXT at {doubled}",
                            "the zone's name was appended twice: enter the name without it")
                )  # fmt: skip
            zone = zone.partition(".")[2]
        out.append(
            Finding("txt-none", "PASS", f"no TXT at {owner} now: the name can be looked up",
                    "the ACME client puts it there")
        )  # fmt: skip
    return out


def _tls(
    name: str, is_reserved: Callable[[str], bool], port: int
) -> Generator[Ask, Answer, list[Finding]]:
    """Shake hands with the first address of each family, as the CA would, AAAA first."""
    chosen, nowhere = yield from look_both_up(name, is_reserved)
    if not chosen:
        return [Finding("no-address", "FAIL", nowhere.detail, "publish an AAAA record")]
    out: list[Finding] = []
    spoken: dict[int, bool] = {}
    for address in chosen:
        shook = yield Handshake(name, address, port, DIAL_S, ALPN)
        family = 6 if ":" in address else 4
        spoken[family] = isinstance(shook, Shook) and shook.alpn == ALPN
        if isinstance(shook, Failed):
            verdict = "FAIL" if family == 4 or len(chosen) == 1 else "WARN"
            out.append(
                Finding("tls-fails", verdict, f"{address}: {shook.stage}: {shook.why}",
                        "open port 443 over this family; IPv4 is tried after IPv6 fails")
            )  # fmt: skip
        elif not spoken[family]:
            out.append(
                Finding("alpn-missing", "WARN", f"{address} does not speak {ALPN} now",
                        "well while no challenge is under way; else point 443 at the ACME client")
            )  # fmt: skip
    if spoken.get(6) and not spoken.get(4, True):
        out.append(Finding("families-differ", "WARN", "IPv6 speaks it and IPv4 does not",
                           "serve both alike"))  # fmt: skip
    if any(spoken.values()):
        out.append(Finding("alpn-spoken", "PASS", f"{ALPN} is spoken"))
    return out
