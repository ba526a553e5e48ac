"""Judge whether a firewall lets in what is configured and nothing else."""

from __future__ import annotations

from typing import NamedTuple

from quada.doctor.findings import Finding, Verdict, sort_findings
from quada.wire.ask import NoReply, Outcome, Silence
from quada.wire.call import REFUSED, Called


class Door(NamedTuple):
    """One port at one address; `role` is whose it is, empty where it should be closed."""

    address: str
    protocol: str
    port: int
    role: str

    def __str__(self) -> str:
        return f"{self.address} {self.protocol} {self.port}"


def judge_firewall(
    called: list[tuple[Door, Called]], asked: list[tuple[Door, Outcome]]
) -> list[Finding]:
    """Give findings, the worst first: of doors of TCP that were called, of UDP that were asked."""
    return sort_findings(
        [_judge(door, *_of_call(one)) for door, one in called]
        + [_judge(door, *_of_ask(one)) for door, one in asked]
    )


def _judge(door: Door, state: str, words: str) -> Finding:
    wanted = f"{door.role} is configured" if door.role else "nothing is configured"
    if state == "unknown":
        code = "firewall-blocks" if door.role else "firewall-hole"
        return Finding(code, Verdict.UNKNOWN, str(door), words)
    if door.role:
        verdict = Verdict.PASS if state == "open" else Verdict.FAIL
        return Finding("firewall-blocks", verdict, str(door), f"{wanted}: {words}")
    if state == "refused":
        return Finding("firewall-lets-through", Verdict.WARN, str(door), f"{wanted}: {words}")
    verdict = Verdict.FAIL if state == "open" else Verdict.PASS
    return Finding("firewall-hole", verdict, str(door), f"{wanted}: {words}")


def _of_call(one: Called) -> tuple[str, str]:
    if one.stage == "refused":
        return "unknown", one.why
    if one.is_open:
        return "open", "it takes connections"
    if one.why == REFUSED:
        return "refused", "let through, and nobody listens"
    is_silent = one.total_s >= one.call.timeout_s * 0.9
    return ("silent", "no answer") if is_silent else ("unknown", one.why)


def _of_ask(one: Outcome) -> tuple[str, str]:
    if not isinstance(one, NoReply):
        return "open", "it answers"
    if one.why in (Silence.TLS, Silence.GARBAGE, Silence.RESET):
        return "open", f"somebody is there: {one.why.name.lower()} {one.detail}"
    if one.why is Silence.REFUSED:
        return "refused", "let through, and nobody listens"
    if one.why is Silence.TIMEOUT:
        return "silent", "no answer"
    return "unknown", one.detail or "unreachable from there"
