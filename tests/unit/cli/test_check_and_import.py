"""quada check and quada import, as a user calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quada.cli import load

FORWARD = """$TTL 300
@ IN SOA ns1.example.com. dns.example.com. (
2026010101 3600 900 1209600 300 )
 IN NS ns1.example.com.
ns1 IN AAAA 2001:db8:10::53
app IN AAAA 2001:db8:10::20
"""
REVERSE = """$TTL 300
@ IN SOA ns1.example.com. dns.example.com. (
2026010101 3600 900 1209600 300 )
 IN NS ns1.example.com.
0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0 IN PTR app.example.com.
"""
CONFIG = """options { directory "/etc/bind"; listen-on-v6 { any; }; recursion no; };
zone "example.com" IN { type master; file "db.example.com"; };
zone "8.b.d.0.1.0.0.2.ip6.arpa" IN { type master; file "db.example.com.rev6"; };
"""
RIGHT = "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0"


@pytest.fixture
def bind(tmp_path: Path) -> Path:
    (tmp_path / "etc/bind").mkdir(parents=True)
    (tmp_path / "etc/bind/db.example.com").write_text(FORWARD)
    (tmp_path / "etc/bind/db.example.com.rev6").write_text(REVERSE)
    (tmp_path / "named.conf").write_text(CONFIG)
    return tmp_path


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(load(), [str(word) for word in words])
    return result.exit_code, result.output


def test_check_zone_reports_the_ptr_and_the_right_name(bind: Path) -> None:
    files = bind / "etc/bind"
    code, out = run(
        "check", "zone", "8.b.d.0.1.0.0.2.ip6.arpa", files / "db.example.com.rev6",
        "--with", f"example.com={files / 'db.example.com'}",
    )  # fmt: skip
    assert code == 1
    assert "db.example.com.rev6:5: error:" in out
    assert RIGHT in out


def test_check_zone_gives_every_fault_as_json(tmp_path: Path) -> None:
    (tmp_path / "z").write_text(FORWARD + "a AAAA 192.0.2.1\nb AAAB ::1\n")
    code, out = run("check", "zone", "example.com", tmp_path / "z", "--json")
    data = json.loads(out)
    assert code == 1
    assert [fault["place"].rpartition("z:")[2] for fault in data["faults"]] == ["7:8", "8:3"]
    assert {finding["code"] for finding in data["findings"]} >= {"single-ns", "aaaa-special"}


def test_a_missing_file_is_a_fault_with_exit_code_2(tmp_path: Path) -> None:
    code, out = run("check", "zone", "example.com", tmp_path / "none")
    assert code == 2
    assert "cannot open the zone file" in out


def test_import_bind_writes_a_configuration_and_reports_the_ptr(bind: Path) -> None:
    out_file = bind / "quada.toml"
    code, out = run("import", "bind", bind / "named.conf", "--root", bind, "--out", out_file)
    assert code == 0
    assert f'file = "{bind}/etc/bind/db.example.com"' in out_file.read_text()
    assert f"app.example.com. is 2001:db8:10::20: write {RIGHT}" in out


def test_reverse_makes_reports_and_mends(bind: Path) -> None:
    plan = bind / "plan.toml"
    plan.write_text('[[prefix]]\nnetwork = "2001:db8::/32"\nservers = ["ns1.example.com."]\n')
    files = bind / "etc/bind"
    common = ("--plan", plan, "--forward", f"example.com={files / 'db.example.com'}", "--dir", bind)
    assert run("reverse", "make", *common)[0] == 0
    made = bind / "db.8.b.d.0.1.0.0.2.ip6.arpa"
    assert f"{RIGHT} " in made.read_text()
    assert run("reverse", "check", *common) == (0, "forward and reverse agree\n")
    made.write_text(REVERSE)
    code, out = run("reverse", "check", *common)
    assert code == 1
    assert "missing  2001:db8:10::20: has nothing, wants app.example.com." in out
    assert run("reverse", "sync", *common)[0] == 0
    assert run("reverse", "check", *common)[0] == 0
    assert "2026010102" in made.read_text()


def test_check_config_tells_kinds_apart_and_faults_by_line(bind: Path) -> None:
    assert run("check", "config", bind / "named.conf")[1].endswith("bind configuration: 2 zones\n")
    (bind / "Corefile").write_text("example.com {\n file db\n template IN A x\n}\n")
    code, out = run("check", "config", bind / "Corefile")
    assert code == 0
    assert "Corefile:3: ignored template IN A x" in out
    (bind / "Corefile").write_text("example.com {\n file db\n")
    code, out = run("check", "config", bind / "Corefile")
    assert code == 2
    assert "Corefile:1: a brace is never closed" in out
    (bind / "q.toml").write_text("version = \n")
    assert run("check", "config", bind / "q.toml")[0] == 2
