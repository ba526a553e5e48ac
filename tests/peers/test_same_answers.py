"""The same zones, the same questions: quada beside named, nsd and knotd.

Zones are generated with a fixed seed: delegations, wildcards, empty non-terminals, CNAME, DNAME,
occluded names; unsigned, and signed with NSEC and NSEC3. A difference must be one of `EXPLAINED`,
which docs/deviations.md speaks of, or the test fails.
"""

import contextlib
import random
import subprocess
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from secondaries import running

pytestmark = pytest.mark.peers

SEED = 2026
TYPES = ["AAAA", "A", "MX", "TXT", "NS", "CNAME", "DS", "SOA"]


def make_zone(chance: random.Random) -> tuple[str, list[str]]:
    """Give zone text and the names worth asking."""
    lines = [
        "$ORIGIN example.com.",
        "$TTL 300",
        "@ SOA ns1 host 1 3600 600 86400 60",
        "@ NS ns1",
        "@ NS ns.elsewhere.test.",
        "@ MX 10 mail",
        "ns1 AAAA 2001:db8::1",
        "ns1 A 192.0.2.1",
        "mail AAAA 2001:db8::25",
    ]
    labels = ["a", "b", "c", "d", "e"]
    names = {"example.com.", "ns1.example.com.", "mail.example.com.", "nx.example.com."}
    taken = {"ns1", "mail"}
    for number in range(14):
        owner = ".".join(chance.choice(labels) for _ in range(chance.randrange(1, 4)))
        if owner in taken or any(owner.endswith(f".{t}") for t in taken if t.startswith("!")):
            continue
        taken.add(owner)
        kind = chance.choice(["addr", "addr", "cname", "wild", "cut", "signed-cut", "dname", "mx"])
        if kind == "addr":
            lines.append(f"{owner} AAAA 2001:db8::{number + 16:x}")
            lines.append(f'{owner} TXT "t{number}"')
        elif kind == "cname":
            target = chance.choice(["mail", "a.b", "c", "www.elsewhere.test.", "nx", "q.w"])
            lines.append(f"{owner} CNAME {target}")
        elif kind == "wild":
            lines.append(f"*.w{number} AAAA 2001:db8::{number + 64:x}")
            names |= {
                f"x.w{number}.example.com.",
                f"x.y.w{number}.example.com.",
                f"w{number}.example.com.",
                f"*.w{number}.example.com.",
            }
            if chance.random() < 0.5:
                lines.append(f"*.cw{number} CNAME mail")
                names |= {f"x.cw{number}.example.com."}
        elif kind == "mx":
            lines.append(f"{owner} MX 10 mail")
        elif kind in ("cut", "signed-cut"):
            cut = f"cut{number}"
            lines += [
                f"{cut} NS ns.{cut}",
                f"{cut} NS ns1",
                f"ns.{cut} AAAA 2001:db8::{number + 96:x}",
            ]
            if kind == "signed-cut":
                lines.append(f"{cut} DS 12345 13 2 {'ab' * 32}")
            lines.append(f"occluded.{cut} AAAA 2001:db8::ff")
            names |= {
                f"{cut}.example.com.",
                f"x.{cut}.example.com.",
                f"occluded.{cut}.example.com.",
            }
        else:
            lines.append(f"dn{number} DNAME target.test.")
            names |= {f"dn{number}.example.com.", f"x.y.dn{number}.example.com."}
        names |= {
            f"{owner}.example.com.",
            f"x.{owner}.example.com.",
            f"{owner.partition('.')[2] or 'q'}.example.com.",
        }
    return "\n".join(lines) + "\n", sorted(names)


def sign(path: Path, *options: str) -> Path:
    made = subprocess.run(
        ["dnssec-keygen", "-q", "-a", "13", "-f", "KSK", "example.com"],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    key = (path.parent / f"{made.stdout.strip()}.key").read_text()
    path.write_text(path.read_text() + key)
    signed = path.with_suffix(".signed")
    subprocess.run(
        ["dnssec-signzone", "-q", "-z", "-P", *options, "-o", "example.com", "-f", signed, path],
        cwd=path.parent,
        capture_output=True,
        check=True,
    )
    return signed


def named(place: Path, zone: Path, port: int) -> list[str]:
    (place / "named.conf").write_text(
        f'options {{ directory "{place}"; listen-on {{ none; }}; recursion no; minimal-any yes;'
        f" minimal-responses yes; listen-on-v6 port {port} {{ ::1; }};"
        f' pid-file "{place}/pid"; session-keyfile "{place}/sk"; }};\ncontrols {{ }};\n'
        f'zone example.com {{ type primary; file "{zone}"; }};\n'
    )
    return ["named", "-g", "-n", "1", "-c", str(place / "named.conf")]


def knotd(place: Path, zone: Path, port: int) -> list[str]:
    (place / "knot.conf").write_text(
        f"server:\n  listen: ::1@{port}\n  rundir: {place}\ndatabase:\n  storage: {place}\n"
        f"zone:\n  - domain: example.com\n    storage: {place}\n    file: {zone}\n"
        "    semantic-checks: off\n"
    )
    return ["knotd", "-c", str(place / "knot.conf")]


def nsd(place: Path, zone: Path, port: int) -> list[str]:
    (place / "nsd.conf").write_text(
        f'server:\n  ip-address: ::1@{port}\n  server-count: 1\n  username: ""\n  do-ip4: no\n'
        f'  pidfile: "{place}/pid"\n  database: ""\n  zonelistfile: "{place}/list"\n'
        f'  xfrdfile: "{place}/xfrd"\n  xfrdir: "{place}"\n  zonesdir: "{place}"\n'
        f"  minimal-responses: yes\nremote-control:\n  control-enable: no\n"
        f"zone:\n  name: example.com\n  zonefile: {zone}\n"
    )
    return ["nsd", "-d", "-c", str(place / "nsd.conf")]


def facts(port: int, qname: str, rdtype: str, *, is_do: bool) -> dict[str, object]:
    query = dns.message.make_query(qname, rdtype, want_dnssec=is_do, use_edns=0, payload=4096)
    answer = dns.query.tcp(query, "::1", port=port, timeout=5)

    def section(rrsets: list) -> list[str]:
        return sorted(
            f"{rrset.name.to_text().lower()} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text().lower()}"
            for rrset in rrsets
            for rdata in rrset
        )

    return {
        "rcode": dns.rcode.to_text(answer.rcode()),
        "aa": bool(answer.flags & dns.flags.AA),
        "answer": section(answer.answer),
        "authority": section(answer.authority),
    }


def is_explained(ours: dict, theirs: dict, difference: str) -> bool:
    """Tell the one difference that docs/deviations.md has: no NS beside positive answers."""
    return difference == "authority" and bool(theirs["answer"]) and not ours["authority"]


@pytest.mark.parametrize("kind", ["unsigned", "nsec", "nsec3", "nsec3-optout"])
def test_answers_are_those_of_named_nsd_and_knotd(serve, tmp_path, free_port, until, kind) -> None:
    chance = random.Random(f"{SEED}{kind}")
    text, names = make_zone(chance)
    zone = tmp_path / "zone"
    zone.write_text(text)
    if kind != "unsigned":
        options = {
            "nsec": [],
            "nsec3": ["-3", "-", "-H", "0"],
            "nsec3-optout": ["-3", "abcd", "-H", "1", "-A"],
        }
        zone = sign(zone, *options[kind])
    ours = serve("--role", "authority", "--zone", f"example.com={zone}")
    ports = {}
    with contextlib.ExitStack() as stack:
        for make in (named, nsd, knotd):
            place = tmp_path / make.__name__
            place.mkdir(mode=0o777)
            ports[make.__name__] = port = free_port()
            stack.enter_context(running(make(place, zone, port), tmp_path / f"{make.__name__}.log"))
        for port in ports.values():
            until(
                lambda port=port: facts(port, "example.com.", "SOA", is_do=False)["answer"],
                within_s=20,
            )
        wrong = []
        for qname in names:
            for rdtype in TYPES:
                is_do = kind != "unsigned"
                own = facts(ours.port, qname, rdtype, is_do=is_do)
                others = {
                    peer: facts(port, qname, rdtype, is_do=is_do) for peer, port in ports.items()
                }
                for difference in ("rcode", "aa", "answer", "authority"):
                    # Where peers disagree among themselves, agreeing with one of them is enough.
                    if any(own[difference] == theirs[difference] for theirs in others.values()):
                        continue
                    theirs = next(iter(others.values()))
                    if not is_explained(own, theirs, difference):
                        wrong.append(
                            (
                                qname,
                                rdtype,
                                difference,
                                own[difference],
                                {p: t[difference] for p, t in others.items()},
                            )
                        )
        assert not wrong, f"{len(wrong)} differences, first: {wrong[0]}"
