"""`quada compare` with what a server gives by transfer."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_zone_is_compared_with_a_transfer(serve, tmp_path: Path) -> None:
    text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns AAAA 2001:db8::53\nwww A 192.0.2.1\n"
    zone, ours = tmp_path / "zone", tmp_path / "ours"
    zone.write_text(text)
    ours.write_text(text + "www AAAA 2001:db8::80\n")
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[[zone]]\nname = "example.com"\nfile = "{zone}"\nallow_transfer = ["::1"]\n'
    )
    served = serve("--role", "authority", "--config", str(config))

    def compare(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "quada", "compare", "example.com", f"axfr:[::1]:{served.port}", "--file",
             str(ours), *options],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    done = compare("--json")
    assert done.returncode == 1, done.stderr
    assert [(one["kind"], one["rdtype"], one["owner"]) for one in json.loads(done.stdout)] == [
        ("missing", "AAAA", "www.example.com.")
    ]
    change = json.loads(compare("--changes", "clouddns").stdout)
    assert change["additions"] == [
        {"name": "www.example.com.", "type": "AAAA", "ttl": 60, "rrdatas": ["2001:db8::80"]}
    ]
    config.write_text(f'version = 1\n[[zone]]\nname = "example.com"\nfile = "{zone}"\n')
    refused = serve("--role", "authority", "--config", str(config))
    served = refused
    done = compare()
    assert done.returncode == 2
    assert "allow this machine to transfer it" in done.stderr
