"""Looking from agents: probes go through a quada server, verdicts come beside one another."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import httpx
import typer

from quada.cli.agent import read_token
from quada.cli.judged import VERDICT_COLORS
from quada.cli.output import printable
from quada.doctor.findings import Verdict
from quada.server.agent import check_server
from quada.server.looking import Hands
from quada.wire.ask import Ask, NoReply, Outcome, Reply, Silence
from quada.wire.call import Call, Called
from quada.wire.faults import ConfigFault, PeerFault, ReachFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from quada.doctor.findings import Finding

_T = TypeVar("_T")
LOCAL: Final = "local"
_WAIT_S: Final = 45.0
_BATCH: Final = 512

TokenFile = Annotated[
    Path | None, typer.Option(help="File with a token of the scope `admin` there.")
]
CaFile = Annotated[str, typer.Option(help="PEM to trust for the server's HTTPS.")]
Vantage = Annotated[list[str] | None, typer.Option(help="Only this agent of --server. Repeatable.")]


class Elsewhere:
    """The agents of a server, as whoever asks them sees them. Raises: ReachFault, PeerFault."""

    def __init__(self, url: str, token: str, ca_file: str = "") -> None:
        try:
            verify = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigFault(f"it cannot be read: {error}", place=ca_file) from error
        self._url = check_server(url)
        self._http = httpx.Client(
            base_url=f"{self._url}/quada/v1", verify=verify, timeout=_WAIT_S, trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip

    def names(self) -> list[str]:
        """Give the agents that called in lately."""
        return sorted(one["name"] for one in self._call("GET", "/agents"))

    def chosen(self, only: list[str]) -> list[str]:
        """Give those agents that are wanted, or all. Raises: ConfigFault where one is away."""
        found = self.names()
        away = sorted(set(only) - set(found))
        if away:
            raise ConfigFault(
                f"there is no vantage point {away[0]}", place="--vantage", remedy=", ".join(found)
            )
        return only or found

    def hands(self, name: str) -> Hands:
        """Give what has an agent perform batches of Asks and of Calls."""
        return Hands(
            lambda asks: self._batches(name, "asks", [_ask_data(one) for one in asks],
                                       lambda at, data: _outcome(asks[at], data)),
            lambda calls: self._batches(name, "calls", [_call_data(one) for one in calls],
                                        lambda at, data: _called(calls[at], data)),
        )  # fmt: skip

    def _batches(
        self, name: str, kind: str, bodies: list[dict[str, Any]], read: Callable[[int, Any], _T]
    ) -> list[_T]:
        found: list[_T] = []
        for at in range(0, len(bodies), _BATCH):
            some = bodies[at : at + _BATCH]
            data = self._call("POST", f"/agents/{name}/asks", {kind: some})
            try:
                rows = data["replies" if kind == "asks" else "called"]
                if len(rows) != len(some):
                    raise ValueError(len(rows))
                found += [read(at + number, row) for number, row in enumerate(rows)]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise PeerFault("the server's reply cannot be read", place=self._url) from error
        return found

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
            data = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ReachFault(f"the server is not reached: {error}", place=self._url) from error
        if answer.is_error:
            said = data.get("detail") if isinstance(data, dict) else ""
            raise PeerFault(str(said or answer.reason_phrase), place=f"{self._url} {path}")
        return data


def _ask_data(ask: Ask) -> dict[str, Any]:
    return {
        "address": ask.to.address, "port": ask.to.port, "query": ask.query.hex(),
        "transport": ask.to.transport.name.lower(), "timeout_s": min(10.0, ask.timeout_s),
        "name": ask.to.name, "path": ask.to.path,
    }  # fmt: skip


def _call_data(call: Call) -> dict[str, Any]:
    return {**call._asdict(), "timeout_s": min(10.0, call.timeout_s)}


def _called(call: Call, data: dict[str, Any]) -> Called:
    return Called(
        call, str(data["stage"]), str(data["why"]), float(data["dial_s"]), float(data["total_s"]),
        str(data["certificate_fault"]), int(data["status"]), str(data["location"]),
        bytes.fromhex(data["body"]), float(data["expires_at"]),
        int(data.get("segment_octets", 0)),
    )  # fmt: skip


def _outcome(ask: Ask, data: dict[str, Any]) -> Outcome:
    seconds = float(data["seconds"])
    if data["message"]:
        return Reply(ask, bytes.fromhex(data["message"]), seconds)
    known = {one.name.lower(): one for one in Silence}
    return NoReply(ask, known.get(data["silence"], Silence.TIMEOUT), seconds, str(data["detail"]))


def read_secret(path: Path | None) -> str:
    """Read the token to call with. Raises: ConfigFault."""
    if path is None:
        raise ConfigFault("a token is needed", place="--token-file", remedy="quada token add")
    return read_token(path)


def matrix_data(found: dict[str, list[Finding]]) -> list[dict[str, Any]]:
    """Give a row for each finding and subject: its verdict from each vantage point."""
    rows: dict[tuple[str, str], dict[str, Verdict]] = {}
    for point, some in found.items():
        for one in some:
            subject = "vantage" if one.rule.group == "vantage" else one.subject
            rows.setdefault((one.code, subject), {})[point] = one.verdict
    return [
        {"code": code, "subject": subject, "verdicts": {p: str(v) for p, v in said.items()}}
        for (code, subject), said in rows.items()
    ]


def print_matrix(found: dict[str, list[Finding]], *, every: bool) -> None:
    """Print verdicts by vantage point: what fails or warns anywhere, or all."""
    width = max(8, *(len(point) + 2 for point in found))
    typer.echo(" " * 30 + "".join(f"{printable(point):{width}}" for point in found))
    bad = {"FAIL", "WARN", "UNKNOWN"}
    for row in matrix_data(found):
        said = row["verdicts"]
        if not every and not bad & set(said.values()):
            continue
        cells = "".join(
            typer.style(f"{said.get(point, '-'):{width}}", fg=VERDICT_COLORS.get(said.get(point)))
            for point in found
        )
        typer.echo(f"{row['code']:30}{cells}{printable(row['subject'])}")
