"""The unit and the container file name what there is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quada.cli import VERBS, app, load
from quada.config.load import read_settings
from quada.server.plan import make_plan

ROOT = Path(__file__).parents[2]
EXTRAS = ROOT / "extras"


def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: tests/peers/install.sh does that")
    unit = (EXTRAS / "quada.service").read_text()
    assert "/opt/quada/bin/quada serve" in unit
    there = unit.replace("/opt/quada/bin/quada", str(Path(sys.executable).parent / "quada"))
    (tmp_path / "quada.service").write_text(there)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / "quada.service")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "quada" in line]
    assert not said
    assert done.returncode == 0, done.stderr


def test_the_unit_gives_no_right_but_low_ports() -> None:
    unit = (EXTRAS / "quada.service").read_text()
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert re.findall(rf"^{key}=(.*)$", unit, re.M) == ["CAP_NET_BIND_SERVICE"]
    assert "\nDynamicUser=yes\n" in unit
    assert "\nType=notify\n" in unit


def test_the_example_configuration_starts_on_ipv6() -> None:
    file = EXTRAS / "quada.toml"
    plan = make_plan(read_settings(file.read_text(), str(file)), roles=("authority",))
    assert str(plan.authority_listen[0].address) == "[::]:53"
    assert [str(one) for one in plan.api_listen] == ["[::]:8080"]


def test_the_container_file_copies_and_calls_what_there_is() -> None:
    text = (EXTRAS / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
    copied = [rest.split() for word, rest in lines if word == "COPY"]
    for words in copied:
        if not words[0].startswith("--from"):
            assert all((ROOT / source).exists() for source in words[:-1]), words
    assert [rest for word, rest in lines if word == "USER"] == ["quada"]
    made = {words[-1].rstrip("/") for words in copied} | {"/var/lib/quada"}
    commands = [json.loads(found) for found in re.findall(r"CMD (\[.*?\])", text)]
    for command in commands:
        words = [word for word in command if word != "/opt/quada/bin/quada"]
        assert words[0] in VERBS
        options = [word for word in words if word.startswith("--")]
        told = CliRunner().invoke(load(words[0]), [words[0], "--help"], env={"COLUMNS": "200"})
        assert all(option in told.output for option in options), told.output
        assert all(word in made for word in words if word.startswith("/")), words
    assert any(command[1:2] == ["health"] for command in commands)
    assert app.info.name == "quada"


def test_ports_of_the_container_file_are_those_of_its_configuration() -> None:
    text = (EXTRAS / "Containerfile").read_text()
    file = EXTRAS / "quada.toml"
    settings = read_settings(file.read_text(), str(file))
    ports = {one.rpartition(":")[2] for one in (*settings.authority.listen, *settings.api.listen)}
    exposed = re.search(r"^EXPOSE (.*)$", text, re.M)
    assert exposed is not None
    assert {one.partition("/")[0] for one in exposed[1].split()} == ports
