"""Judge the services that a domain names: open over both families, alike, and as fast."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from quada.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quada.doctor.observation import Observation, Service, Visit

ATTEMPT_DELAY_MS: Final = 250.0  # RFC 8305 8
_ALIKE: Final = 0.9  # Internet.nl: bodies may differ by a tenth
_COMPARED: Final = 4_096  # our choice: comparing is quadratic
_SOON_S: Final = 14 * 86_400


def judge_services(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Judge each service by host and port, comparing families."""
    doors: dict[tuple[str, str, int], list[Visit]] = {}
    for one in observation.visits:
        # An agent that may not call says nothing of the service.
        if one.stage != "refused" and one.service not in ("dns", "path"):
            doors.setdefault((one.service, one.host, one.port), []).append(one)
    for (service, host, port), visits in doors.items():
        subject = f"{host} port {port}"
        six = [one for one in visits if one.family == 6]
        four = [one for one in visits if one.family == 4]
        if service == "encrypted":  # whether it is believed was judged by the questions asked
            yield from _judge_end("encrypted-certificate", subject, visits, observation.at)
            continue
        yield from _judge_certificate(subject, six, four)
        yield from _judge_end("web-certificate", subject, visits, observation.at)
        if six and 6 not in fit:
            yield Finding("service-ipv6", Verdict.UNKNOWN, subject, "no IPv6 here to reach it over")
        elif six:
            yield from _judge_door(subject, six, four)
    yield from _judge_targets(observation, fit)
    mail = [one for one in observation.services if one.kind == "mail"]
    if mail:
        has_six = any(":" in address for one in mail for address in one.addresses)
        hosts = ", ".join(one.host for one in mail)
        yield Finding(
            "mail-ipv6", Verdict.PASS if has_six else Verdict.WARN, observation.name,
            f"{hosts}: {'at least one has' if has_six else 'none has'} AAAA",
        )  # fmt: skip


def _judge_targets(observation: Observation, fit: set[int]) -> Iterator[Finding]:
    """Hosts that records name elsewhere: with IPv6, and found by who has nothing else."""
    named: dict[str, list[Service]] = {}
    for one in observation.services:
        if one.kind in ("srv", "https") and one.addresses:
            named.setdefault(one.label, []).append(one)
        has_six = any(":" in address for address in one.addresses)
        if has_six and one.ipv6_rcode == "SERVFAIL" and 6 in fit:
            yield Finding(
                "target-ipv6-only", Verdict.WARN, one.host,
                "it has AAAA, and its zone is not reached over IPv6 alone",
            )  # fmt: skip
    for label, services in named.items():
        has_six = any(":" in address for one in services for address in one.addresses)
        hosts = ", ".join(dict.fromkeys(one.host for one in services))
        yield Finding(
            "service-aaaa", Verdict.PASS if has_six else Verdict.WARN, observation.name,
            f"{label} leads to {hosts}: {'at least one has' if has_six else 'none has'} AAAA",
        )  # fmt: skip


def _judge_door(subject: str, six: list[Visit], four: list[Visit]) -> Iterator[Finding]:
    rows = tuple(map(_row, (*six, *four)))
    opened = [one for one in six if one.is_open]
    four_open = [one for one in four if one.is_open]
    if not opened:
        if four_open:
            delay = max(one.dial_ms for one in six)
            costs = min(delay, ATTEMPT_DELAY_MS)
            yield Finding(
                "service-ipv6", Verdict.FAIL, subject,
                f"it takes connections over IPv4 alone; happy eyeballs costs {costs:.0f} ms,"
                f" a client without it {delay:.0f} ms", rows,
            )  # fmt: skip
        return
    if len(opened) < len(six):
        dead = ", ".join(one.address for one in six if not one.is_open)
        yield Finding("service-address", Verdict.WARN, subject, f"nobody at {dead}", rows)
    good = next((one for one in opened if not one.stage), opened[0])
    other = next((one for one in four_open if not one.stage), None)
    if good.stage and other is not None:
        yield Finding(
            "service-ipv6", Verdict.FAIL, subject,
            f"over IPv6 the connection is taken, then {good.stage} fails: {good.why}", rows,
        )  # fmt: skip
        return
    yield Finding("service-ipv6", Verdict.PASS, subject, "it answers over IPv6", rows)
    if other is not None and not good.stage:
        yield from _judge_alike(subject, good, other)
    if four_open:
        fast, slow = min(_dials(four_open)), min(_dials(opened))
        is_slow = slow > fast + ATTEMPT_DELAY_MS
        yield Finding(
            "happy-eyeballs", Verdict.WARN if is_slow else Verdict.PASS, subject,
            f"connected over IPv6 in {slow:.1f} ms, over IPv4 in {fast:.1f} ms", rows,
        )  # fmt: skip


def _judge_alike(subject: str, six: Visit, four: Visit) -> Iterator[Finding]:
    if six.kind not in ("http", "https"):
        return
    if six.status != four.status or six.location != four.location:
        yield Finding(
            "web-differs", Verdict.WARN, subject,
            f"over IPv6 status {six.status} {six.location},"
            f" over IPv4 {four.status} {four.location}",
        )  # fmt: skip
        return
    mine, other = (one.body[:_COMPARED].split() for one in (six, four))
    ratio = SequenceMatcher(None, mine, other, autojunk=False).ratio()
    if ratio < _ALIKE:
        yield Finding(
            "web-differs", Verdict.WARN, subject,
            f"the pages have {ratio:.0%} in common",
            (f"IPv6: {six.body[:120]!r}", f"IPv4: {four.body[:120]!r}"),
        )  # fmt: skip


def _judge_certificate(subject: str, six: list[Visit], four: list[Visit]) -> Iterator[Finding]:
    bad = [one for one in six if one.certificate_fault]
    bad_four = [one for one in four if one.certificate_fault]
    if bad or bad_four:
        alone = bool(bad) and not bad_four and bool(four)
        first = (bad or bad_four)[0]
        over = "IPv6 alone" if alone else "IPv6" if not bad_four else "IPv4" if not bad else "both"
        yield Finding(
            "web-certificate", Verdict.FAIL if alone else Verdict.WARN, subject,
            f"not believed over {over}: {first.certificate_fault}",
            tuple(f"{one.address}: {one.certificate_fault}" for one in (*bad, *bad_four)),
        )  # fmt: skip


def _judge_end(code: str, subject: str, visits: list[Visit], now: float) -> Iterator[Finding]:
    ends = [one.expires_at for one in visits if one.expires_at]
    if ends and min(ends) - now < _SOON_S:
        days = (min(ends) - now) / 86_400
        yield Finding(code, Verdict.WARN, subject, f"the certificate ends in {days:.1f} days")


def _dials(visits: Iterable[Visit]) -> Iterator[float]:
    return (one.dial_ms for one in visits)


def _row(one: Visit) -> str:
    said = (
        f"{one.stage}: {one.why}" if one.stage else f"status {one.status}" if one.status else "open"
    )
    return f"{one.address}: {said}, connected after {one.dial_ms} ms, all {one.total_ms} ms"
