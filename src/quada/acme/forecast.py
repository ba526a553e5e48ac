"""The forecast: what a validation comes to in either mode, and which pitfall it fell into.

Pitfalls are those that Let's Encrypt's own page on IPv6 names, told apart, each with its fix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quada.acme.challenges import caa_levels
from quada.acme.perspectives import WANTED, allowed_failures
from quada.acme.validate import (
    Answer,
    Ask,
    Failed,
    Fetch,
    Fetched,
    Looked,
    Lookup,
    Mode,
    Verdict,
    caa_problem,
    http_01,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_ADDRESSES_MAX = 16
_TRY_S = 10.0


class Finding(NamedTuple):
    """One thing to know: PASS, WARN or FAIL."""

    code: str
    verdict: str
    message: str
    fix: str = ""


class Forecast(NamedTuple):
    """What each mode comes to, what each address does by itself, and what follows."""

    name: str
    verdicts: dict[str, Verdict]
    addresses: dict[str, Fetched | Failed]
    findings: tuple[Finding, ...]
    perspectives: dict[str, Verdict] = {}  # noqa: RUF012


def with_perspectives(made: Forecast, remote: dict[str, Verdict], *, has_token: bool) -> Forecast:
    """Add what other places of the network came to, and whether they agree.

    Without a token the page is not to be found anywhere: then places are compared by where their
    last request ended.
    """
    local = made.verdicts[Mode.REPLAY.value]
    if has_token:
        failed = [name for name, verdict in remote.items() if verdict.problem is not None]
        if local.problem is not None:
            failed = []  # Boulder asks no others then
    else:
        failed = [name for name, verdict in remote.items() if _place(verdict) != _place(local)]
    allowed = allowed_failures(len(remote))
    few = f"; Let's Encrypt asks {WANTED} or more" if len(remote) < WANTED else ""
    words = f"{len(remote) - len(failed)} of {len(remote)} other perspectives agree{few}"
    fix = "look for filters by country or network, and for routes that one of them lacks"
    if failed:
        verdict = "FAIL" if len(failed) > allowed else "WARN"
        words += f"; {', '.join(failed)}: not"
        found = Finding("perspectives-differ", verdict, words, fix)
    else:
        found = Finding("perspectives-differ", "PASS", words)
    return made._replace(findings=(*made.findings, found), perspectives=remote)


def _place(verdict: Verdict) -> tuple[str, str, int | str]:
    """Where a validation ended: the last request's URL and address, and what came of it."""
    if not verdict.hops:
        return "", "", verdict.problem.kind if verdict.problem else ""
    last = verdict.hops[-1]
    status = last.outcome.status if isinstance(last.outcome, Fetched) else ""
    return last.url, last.address, status


def forecast(
    name: str,
    token: str,
    key_authorization: str,
    *,
    issuer: str,
    is_reserved: Callable[[str], bool],
    ports: dict[int, int],
) -> Generator[Ask, Answer, Forecast]:
    """Forecast a validation. An empty key authorization says that no token is placed."""
    found: dict[str, Looked] = {}
    for rdtype in ("AAAA", "A"):
        looked = yield Lookup(name, rdtype)
        assert isinstance(looked, Looked)
        found[rdtype] = looked
    tried: dict[str, Fetched | Failed] = {}
    url = f"http://{name}/.well-known/acme-challenge/{token}"
    for address in [*found["AAAA"].values, *found["A"].values][:_ADDRESSES_MAX]:
        if not is_reserved(address):
            outcome = yield Fetch(url, address, ports.get(80, 80), _TRY_S)
            assert isinstance(outcome, (Fetched, Failed))
            tried[address] = outcome
    verdicts: dict[str, Verdict] = {}
    for mode in Mode:
        verdicts[mode.value] = yield from http_01(
            name, token, key_authorization, mode=mode, is_reserved=is_reserved, ports=ports
        )
    levels = yield from caa_levels(name)
    findings = [
        *_judge_records(name, found, is_reserved),
        *_judge_families(tried, verdicts),
        *_judge_others(tried),
        *_judge_verdict(verdicts, has_token=bool(key_authorization)),
    ]
    denied = caa_problem(name, levels, issuer=issuer)
    if denied is not None:
        findings.append(Finding("caa", "FAIL", denied.detail, "let CAA allow the CA"))
    return Forecast(name, verdicts, tried, tuple(findings))


def _judge_records(
    name: str, found: dict[str, Looked], is_reserved: Callable[[str], bool]
) -> list[Finding]:
    out = []
    for rdtype, looked in found.items():
        if looked.error:
            other = found["A" if rdtype == "AAAA" else "AAAA"]
            out.append(
                Finding(
                    "lookup-fails", "WARN" if other.values else "FAIL",
                    f"{rdtype} of {name} cannot be looked up: {looked.error}",
                    "mend the name servers; the CA says nothing while the other family works",
                )
            )  # fmt: skip
        out += [
            Finding("reserved-address", "WARN", f"{address} is reserved and never dialled",
                    "publish a global address, or remove the record")
            for address in looked.values
            if is_reserved(address)
        ]  # fmt: skip
    return out


def _judge_families(
    tried: dict[str, Fetched | Failed], verdicts: dict[str, Verdict]
) -> list[Finding]:
    """Compare the first address of each family, which are all that is ever dialled."""
    six = next(((a, o) for a, o in tried.items() if ":" in a), None)
    four = next(((a, o) for a, o in tried.items() if ":" not in a), None)
    if six is None or four is None:
        return []
    address, outcome = six
    other = four[1]
    if isinstance(outcome, Failed) and outcome.stage == "dial":
        if isinstance(other, Failed):
            return []
        if other.location and verdicts["replay"].problem is not None:
            return [
                Finding("aaaa-dead-behind-redirect", "FAIL",
                        f"{address} is not reached, and {four[0]} redirects: the redirect's request"
                        " goes to IPv6 again and gets no second try",
                        "mend the AAAA or remove it, or do not redirect the challenge's path")
            ]  # fmt: skip
        return [
            Finding("aaaa-dead", "WARN",
                    f"{address} is not reached ({outcome.why}); IPv4 saves the first request",
                    "mend the AAAA or remove it: clients over IPv6 do not reach you either")
        ]  # fmt: skip
    if isinstance(outcome, Failed):
        return [
            Finding("aaaa-broken", "FAIL",
                    f"{address} takes the connection and fails ({outcome.stage}: {outcome.why}):"
                    " that is no reason for IPv4 to be tried",
                    "mend the server at the AAAA, or remove the AAAA")
        ]  # fmt: skip
    if isinstance(other, Fetched) and _differ(outcome, other):
        return [
            Finding("aaaa-elsewhere", "FAIL" if verdicts["replay"].problem else "WARN",
                    f"{address} and {four[0]} answer unlike: status {outcome.status} by"
                    f" {outcome.server or 'a server without a name'}, and {other.status} by"
                    f" {other.server or 'a server without a name'}",
                    "point the AAAA to the server the ACME client runs on, or remove it")
        ]  # fmt: skip
    return []


def _differ(one: Fetched, other: Fetched) -> bool:
    return (one.status, one.server, one.body[:64]) != (other.status, other.server, other.body[:64])


def _judge_others(tried: dict[str, Fetched | Failed]) -> list[Finding]:
    out = []
    for is_six in (True, False):
        same = [(a, o) for a, o in tried.items() if (":" in a) is is_six]
        dead = [a for a, o in same if isinstance(o, Failed)]
        if len(same) > 1 and dead and len(dead) < len(same):
            out.append(
                Finding("some-addresses-dead", "WARN",
                        f"of {len(same)} addresses {', '.join(dead)} fail; the CA dials the one"
                        " that it is given first", "mend or remove them")
            )  # fmt: skip
    return out


def _judge_verdict(verdicts: dict[str, Verdict], *, has_token: bool) -> list[Finding]:
    today, proposed = verdicts["replay"], verdicts["per-hop"]
    out = []
    if today.problem is None:
        out.append(Finding("validates", "PASS", "the key authorization was found"))
    else:
        last = today.hops[-1].outcome if today.hops else None
        status = last.status if isinstance(last, Fetched) and not has_token else 0
        if status == 200:
            out.append(
                Finding("answers-anything", "WARN",
                        "the server answers 200 to a token that is not there; whether it would find"
                        " a real one is not known", "try with --webroot")
            )  # fmt: skip
        elif status == 404:
            out.append(
                Finding("reached", "PASS",
                        f"the server was reached at {today.hops[-1].address} and has no such token,"
                        " as it should")
            )  # fmt: skip
        else:
            out.append(
                Finding("fails", "FAIL", f"{today.problem.kind}: {today.problem.detail}",
                        "see what is said above")
            )  # fmt: skip
    if (today.problem is None) != (proposed.problem is None):
        better = "would do" if proposed.problem is None else "would not do"
        out.append(
            Finding("modes-differ", "WARN",
                    f"fallback by hop, as proposed for Boulder, {better}", "depend on neither")
        )  # fmt: skip
    return out
