"""bench: signing a zone of 100,000 names, beside dnssec-signzone and ldns-signzone, in one run.

Every tool reads the same zone text and writes the signed zone as text, with ECDSA P-256 and NSEC;
then quada signs one change of it. Run: `python -m bench.signing [names]`.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import quada.wire.names as names
import quada.zones.gate as gate
from quada.store.files import load_zone_file, write_zone_file
from quada.wire.records import RRset
from quada.zones.chain import plan
from quada.zones.keys import KeyRole, make_key
from quada.zones.sign import complete, sign_tasks, with_serial
from quada.zones.signing import KeySet, SigningKey, SigningPolicy

ORIGIN = "big.example."
BATCH = 512


def write_content(path: Path, count: int) -> None:
    """Write a zone of so many names, each with one AAAA."""
    with path.open("w") as file:
        file.write(f"{ORIGIN} 3600 IN SOA ns.{ORIGIN} h.{ORIGIN} 1 3600 900 86400 300\n")
        file.write(f"{ORIGIN} 3600 IN NS ns.{ORIGIN}\nns.{ORIGIN} 3600 IN AAAA 2001:db8::53\n")
        for n in range(count):
            file.write(f"h{n:07d}.{ORIGIN} 3600 IN AAAA 2001:db8::{n >> 16:x}:{n & 0xFFFF:x}\n")


def timed_peer(*command: str, cwd: Path) -> tuple[float, float]:
    """Run a peer; give wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    wall_s = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s


def timed_quada(place: Path) -> dict[str, float]:
    """Read, sign, gate and write with quada; give seconds by part."""
    origin = names.from_text(ORIGIN)
    keys = [make_key(origin, role) for role in (KeyRole.KSK, KeyRole.ZSK)]
    signing = [SigningKey(key.algorithm, key.tag, key.signer()) for key in keys]
    key_set = KeySet(tuple(key.dnskey for key in keys), (signing[0],), (signing[1],))
    policy, now_s = SigningPolicy(), int(time.time())
    out: dict[str, float] = {}
    cpu_began, began = time.process_time(), time.monotonic()
    zone = load_zone_file(place / "big.zone", origin)
    out["read"] = time.monotonic() - began
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        gc.disable()
        at = time.monotonic()
        made = plan(None, zone, key_set, policy)
        batches = [made.tasks[n : n + BATCH] for n in range(0, len(made.tasks), BATCH)]
        results = pool.map(lambda b: sign_tasks(origin, b, key_set, policy, now_s), batches)
        state = complete(made, [rdatas for batch in results for rdatas in batch])
        out["sign"] = time.monotonic() - at
        at = time.monotonic()
        write_zone_file(place / "out.quada", state.signed)
        out["write"] = time.monotonic() - at
        out["all"] = time.monotonic() - began
        out["cpu"] = time.process_time() - cpu_began
        at = time.monotonic()
        case = gate.open_case(state.signed, None, gate.World(ds=((keys[0].ds(),),)), now_s)
        checks = [case.checks[n : n + BATCH] for n in range(0, len(case.checks), BATCH)]
        verdicts = [good for batch in pool.map(gate.verify, checks) for good in batch]
        assert gate.close_case(case, verdicts) == []
        out["gate"] = time.monotonic() - at
    new = b"\x03new" + origin
    content = with_serial(zone, 2).replaced({new: (RRset(28, 3600, (bytes(16),)),)})
    at = time.monotonic()
    change = plan(state, content, key_set, policy, touched=[new])
    after = complete(change, sign_tasks(origin, change.tasks, key_set, policy, now_s))
    out["change"] = time.monotonic() - at
    out["change_signatures"] = len(change.tasks)
    at = time.monotonic()
    assert gate.judge(after.signed, state.signed, gate.World(ds=((keys[0].ds(),),)), now_s) == []
    out["change_gate"] = time.monotonic() - at
    return out


def main(count: int) -> None:
    """Run everybody and print one table."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_content(place / "big.zone", count)
        keygen = ["dnssec-keygen", "-q", "-a", "13"]
        zsk, ksk = (
            subprocess.run(
                [*keygen, *flags, ORIGIN], cwd=place, check=True, capture_output=True, text=True
            ).stdout.strip()
            for flags in ([], ["-f", "KSK"])
        )
        ours = timed_quada(place)
        bind = timed_peer("dnssec-signzone", "-S", "-o", ORIGIN, "-f", "o", "big.zone", cwd=place)
        ldns = timed_peer("ldns-signzone", "-f", "o2", "big.zone", zsk, ksk, cwd=place)
        verify = timed_peer("dnssec-verify", "-o", ORIGIN, "out.quada", cwd=place)
    rows = [
        f"{count} names, ECDSA P-256, NSEC; {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "",
        "| signer | wall s | CPU s | wall, ratio to quada |",
        "|---|---|---|---|",
        f"| quada (read, sign, write text) | {ours['all']:.1f} | {ours['cpu']:.1f} | 1.0 |",
        f"| dnssec-signzone | {bind[0]:.1f} | {bind[1]:.1f} | {bind[0] / ours['all']:.1f} |",
        f"| ldns-signzone | {ldns[0]:.1f} | {ldns[1]:.1f} | {ldns[0] / ours['all']:.1f} |",
        "",
        f"quada's parts: read {ours['read']:.1f} s, sign {ours['sign']:.1f} s, "
        f"write {ours['write']:.1f} s; gate over the whole zone {ours['gate']:.1f} s.",
        f"dnssec-verify took {verify[0]:.1f} s to accept what quada wrote.",
        f"One name added: {ours['change_signatures']:.0f} signatures, "
        f"{ours['change'] * 1000:.1f} ms to sign, {ours['change_gate'] * 1000:.1f} ms to judge.",
    ]
    text = "\n".join(rows)
    print(text)
    (Path(__file__).parent / "results" / "signing.md").write_text(text + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
