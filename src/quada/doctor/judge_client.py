"""Judge what a client program does where both families lead to a service, and one is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quada.doctor.findings import Finding, Verdict, sort_findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quada.doctor.observation import Observation, Visit

OPEN: Final = "open"
"""A run in which both families answer."""
SILENT: Final = "silent"
"""A run in which IPv6 loses every packet, as a broken path does."""
CLOSED: Final = "closed"
"""A run in which IPv6 refuses the connection at once."""
_QUICK_MS: Final = 350.0
"""Our choice: browsers wait 300 ms, RFC 8305 8 has 250 ms, and a busy machine adds its own."""
_LONG_MS: Final = 2_000.0  # RFC 8305 8: the longest that an attempt may be put off
_WORDS: Final = {SILENT: "is lost", CLOSED: "is refused"}


def judge_client(observation: Observation) -> list[Finding]:
    """Give findings, the worst first. Of several runs of a kind the quickest counts."""
    return sort_findings(list(_judge(observation)))


def _judge(observation: Observation) -> Iterator[Finding]:
    runs = {
        kind: [one for one in observation.visits if one.kind == kind]
        for kind in (OPEN, SILENT, CLOSED)
    }
    arrived = [one for one in runs[OPEN] if not one.stage]
    if not arrived:
        why = runs[OPEN][0].why if runs[OPEN] else "it was not run"
        for code in ("client-family", "client-fallback"):
            yield Finding(
                code, Verdict.UNKNOWN, observation.name,
                f"it does not come even where both families answer: {why}",
            )  # fmt: skip
        return
    sixes = [one for one in arrived if one.family == 6]
    word = "takes IPv6" if sixes else "takes IPv4"
    if len(arrived) > len(sixes) > 0:
        word += f" in {len(sixes)} of {len(arrived)} runs"
    yield Finding(
        "client-family", Verdict.PASS if len(sixes) == len(arrived) else Verdict.WARN,
        observation.name, f"where both families answer it {word}", tuple(map(_row, runs[OPEN])),
    )  # fmt: skip
    usual = min(one.dial_ms for one in arrived)
    for kind in (SILENT, CLOSED):
        if not sixes and runs[kind]:
            yield Finding(
                "client-fallback", Verdict.UNKNOWN, observation.name,
                f"it takes IPv4 at once: nothing is learnt of what it does where IPv6"
                f" {_WORDS[kind]}",
            )  # fmt: skip
        elif runs[kind]:
            yield _fallback(observation.name, kind, runs[kind], usual)


def _fallback(name: str, kind: str, runs: list[Visit], usual_ms: float) -> Finding:
    came = [one.dial_ms for one in runs if not one.stage]
    rows = tuple(map(_row, runs))
    if not came:
        return Finding(
            "client-fallback", Verdict.FAIL, name,
            f"where IPv6 {_WORDS[kind]} it never comes over IPv4: {runs[0].why}", rows,
        )  # fmt: skip
    delay = max(0.0, min(came) - usual_ms)
    verdict = Verdict.PASS
    if delay > _QUICK_MS:
        verdict = Verdict.WARN if delay <= _LONG_MS else Verdict.FAIL
    return Finding(
        "client-fallback", verdict, name,
        f"where IPv6 {_WORDS[kind]} it comes over IPv4 {delay:.0f} ms later than over IPv6", rows,
    )  # fmt: skip


def _row(one: Visit) -> str:
    over = f"came to {one.address}" if not one.stage else one.why
    return f"IPv6 {one.kind}: {over} after {one.dial_ms:.0f} ms"
