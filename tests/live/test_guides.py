"""The tour and the guides: their commands, run as they stand, against the demo."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from conftest import until

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "tour.md", *sorted((DOCS / "guides").glob("*.md"))]
EXPECTED = re.compile(r"^(.*?\S)\s{2,}# (\S.*)$")


class Demo(NamedTuple):
    """A running demo: the directory its users are in, and the ports that stand for the usual ones."""

    place: Path
    ports: dict[str, int]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Demo]:
    place = tmp_path_factory.mktemp("demo")
    ports = {usual: free_port() for usual in ("5300", "8080", "9530", "5310", "8090", "5311")}
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "quada", "demo", "--port", str(ports["5300"]),
                "--web-port", str(ports["8080"]), "--metrics-port", str(ports["9530"]),
            ],
            cwd=place, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://[::1]:{ports['8080']}/health"

    def is_there() -> bool:
        try:
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    until(is_there, within_s=60, what=(place / "log").read_text())
    yield Demo(place, ports)
    process.send_signal(signal.SIGTERM)
    process.wait(20)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_commands_of_a_page_do_what_it_says(page: Path, demo: Demo) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.S | re.M)
    assert blocks
    script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "".join(
        map(checked, blocks)
    )
    for usual, port in demo.ports.items():
        script = re.sub(rf"\b{usual}\b", str(port), script)
    done = subprocess.run(
        ["bash", "-c", script], cwd=demo.place, capture_output=True, text=True, timeout=220,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def checked(block: str) -> str:
    """Give a block whose lines fail where their output has not what the comment behind them says."""
    out = []
    for line in block.splitlines():
        found = EXPECTED.match(line)
        if found and "<<" not in line:
            command, expected = found.groups()
            out.append(f"echo '$' {command!r}")
            out.append(f"{command} | tee said; grep -qF -- {expected!r} said")
        else:
            out.append(line)
    return "\n".join(out) + "\n"
