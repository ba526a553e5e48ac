"""Doctor on a schedule: a zone that we serve is looked at after a publish, and what fails is an alert."""

import json
import subprocess
import sys
import time

import pytest

from quada.store.alerts import FILE, AlertStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
HERE = "2001:db8:7::53"


def wait_for(condition, within_s: float = 60):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


def quada(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "quada", *words], capture_output=True, text=True, check=False
    )


def test_a_publish_is_checked_and_a_failure_is_one_alert(internet_with, tmp_path) -> None:
    cut = f"ours.net. NS ns0.ours.net.\nns0.ours.net. AAAA {HERE}\n"
    lab = internet_with(tmp_path, {"ours.net.": (cut, f"@ NS ns0\nns0 AAAA {HERE}\n")})
    lab.run("ip", "addr", "add", f"{HERE}/128", "dev", "lo")
    zone = tmp_path / "ours.zone"
    text = f"$TTL 60\n@ SOA ns0 h 1 3600 600 86400 60\n@ NS ns0\nns0 AAAA {HERE}\n@ AAAA 2001:db8:ff::1\n@ A 192.0.2.1\n"
    zone.write_text(text)
    state = tmp_path / "state"
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[server]\nstate_dir = "{state}"\n[authority]\nlisten = ["[{HERE}]:53"]\n'
        f'[doctor]\nevery_s = 3600\nincident_on = ["doctor"]\nsettle_s = 0.5\nlab = true\nroot_hints = "{lab.hints}"\ntrust_anchor = "{lab.anchor}"\n'
        f'[[zone]]\nname = "ours.net"\nfile = "{zone}"\n'
    )
    lab.popen([sys.executable, "-m", "quada", "serve", "--config", str(config)], "quada.log")
    lab.wait_for("ours.net", HERE)

    def last() -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "quada", "doctor", "ours.net", "--last", "--state-dir", str(state), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return json.loads(done.stdout)

    def failures(serial: int) -> set[str] | None:
        data = last()
        if data.get("serial") != serial:
            return None
        return {one["code"] for one in data["findings"] if one["verdict"] == "FAIL"} or {"none"}

    assert wait_for(lambda: failures(1)) == {"none"}
    zone.write_text(text.replace("@ AAAA 2001:db8:ff::1\n", "").replace("h 1 ", "h 2 "))
    subprocess.run(
        [sys.executable, "-m", "quada", "reload", "--state-dir", str(state)],
        check=True,
        capture_output=True,
    )
    assert wait_for(lambda: failures(2)) == {"aaaa-missing"}
    alerts = AlertStore.open(state / FILE)
    opened = wait_for(lambda: alerts.alerts(is_open=True, limit=10))
    assert [alert.key for alert in opened] == ["doctor/ours.net./aaaa-missing/ours.net."]
    incident = wait_for(lambda: alerts.alert(opened[0].number).incident)
    assert [step["verdict"] for step in incident["steps"]][:3] == ["FAIL", "WARN", "PASS"]
    assert incident["causes"][0]["code"] == "aaaa-missing"
    shown = quada("alerts", "show", str(opened[0].number), "--state-dir", str(state)).stdout
    assert "likely cause  aaaa-missing" in shown
    again = quada("incident", "--replay", incident["observation"], "--lab", "--json").stdout
    assert json.loads(again)["causes"] == incident["causes"]
    zone.write_text(text.replace("h 1 ", "h 3 "))
    subprocess.run(
        [sys.executable, "-m", "quada", "reload", "--state-dir", str(state)],
        check=True,
        capture_output=True,
    )
    assert wait_for(lambda: failures(3)) == {"none"}
    wait_for(lambda: not alerts.alerts(is_open=True, limit=10))
    assert len(alerts.alerts(limit=10)) == 1
    alerts.close()
