"""Doctor on client programs: one with happy eyeballs, one that waits, one that never comes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

RACES = """
import asyncio, sys
async def main():
    r, w = await asyncio.open_connection(*sys.argv[1:3], happy_eyeballs_delay=0.25)
    w.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    await r.read()
    w.close()
asyncio.run(main())
"""
WAITS = """
import socket, sys
with socket.create_connection(sys.argv[1:3], timeout=4) as s:
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    s.recv(100)
"""
FOUR = WAITS.replace("sys.argv[1:3]", '("127.0.0.1", sys.argv[2])')


def doctor_client(place: Path, *options: str) -> tuple[dict[str, set[str]], str]:
    """Run doctor where both.example leads to both families; gives the verdicts of each code."""
    hosts = place / "hosts"
    hosts.write_text("::1 both.example\n127.0.0.1 both.example\n")
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh",
         sys.executable, "-m", "quada", "doctor", "client", "--json", "--host=both.example", *options],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.stdout, ran.stderr
    told: dict[str, set[str]] = {}
    for one in json.loads(ran.stdout).get("findings", ()):
        told.setdefault(one["code"], set()).add(one["verdict"])
    return told, ran.stdout


def python(program: str) -> tuple[str, ...]:
    return ("--runs=1", "--", sys.executable, "-c", program, "{host}", "{port}")


def test_a_client_with_happy_eyeballs_goes_on_over_ipv4(tmp_path) -> None:
    told, said = doctor_client(tmp_path, *python(RACES))
    assert told["client-family"] == {"PASS"}, said
    assert "UNKNOWN" not in told["client-fallback"], said
    assert "never" not in said


def test_a_client_that_waits_for_ipv6_first_fails(tmp_path) -> None:
    kept = tmp_path / "seen.json"
    told, said = doctor_client(tmp_path, f"--save={kept}", *python(WAITS))
    assert told["client-family"] == {"PASS"}, said
    assert "FAIL" in told["client-fallback"], said
    again, _ = doctor_client(tmp_path, f"--replay={kept}")
    assert again == told


def test_a_client_that_never_takes_ipv4_fails(tmp_path) -> None:
    told, said = doctor_client(
        tmp_path, "--patience=3", *python(WAITS.replace("timeout=4", "timeout=60"))
    )
    assert "FAIL" in told["client-fallback"], said
    assert "it never comes over IPv4: it did not come within 3 s" in said


def test_a_client_that_takes_ipv4_at_once_is_told(tmp_path) -> None:
    told, said = doctor_client(tmp_path, *python(FOUR))
    assert told == {"client-family": {"WARN"}, "client-fallback": {"UNKNOWN"}}, said


def test_a_name_that_leads_nowhere_and_a_program_that_is_not_there_are_refused(tmp_path) -> None:
    _, said = doctor_client(tmp_path, "--host=nowhere.invalid", *python(FOUR))
    assert "does not resolve" in said
    _, said = doctor_client(tmp_path, "--", "no-such-program")
    assert "cannot be run" in said
