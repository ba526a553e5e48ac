"""Keys that BIND and ldns made, taken over: the zone keeps its DNSKEY and its DS."""

import subprocess

import pytest

import quada.wire.names as names
import quada.zones.gate as gate
from quada.wire.faults import DataFault
from quada.zones.keyfile import read_key_files, taken_over
from quada.zones.keys import KeyRole
from quada.zones.keyset import key_set, world
from quada.zones.keystate import RolloverPolicy, key_id
from quada.zones.rollover import advance
from quada.zones.sign import sign
from quada.zones.signing import SigningPolicy

pytestmark = pytest.mark.peers
NOW_S = 1_790_000_000
TEXT = """
example. 300 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 300 IN NS ns.example.
www.example. 300 IN AAAA 2001:db8::1
"""


def make(command: list[str], place) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def read(place, stem: str):
    return read_key_files(
        (place / f"{stem}.key").read_text(), (place / f"{stem}.private").read_text(), stem
    )


@pytest.mark.parametrize(
    "algorithm",
    ["RSASHA256", "RSASHA512", "ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519", "ED448"],
)
@pytest.mark.parametrize("maker", ["bind", "ldns"])
def test_keys_of_others_sign_as_their_own(tmp_path, make_zone, algorithm, maker):
    size = ["-b", "2048"] if algorithm.startswith("RSA") else []
    if maker == "bind":
        command = ["dnssec-keygen", "-q", "-a", algorithm, *size]
        stems = [make([*command, *more, "example."], tmp_path) for more in (["-f", "KSK"], [])]
    else:
        command = ["ldns-keygen", "-a", algorithm, *size]
        stems = [make([*command, *more, "example."], tmp_path) for more in (["-k"], [])]
    keys = [read(tmp_path, stem) for stem in stems]
    assert [key.role for key in keys] == [KeyRole.KSK, KeyRole.ZSK]
    state, keys = taken_over(keys, NOW_S)
    policy = RolloverPolicy(has_csk=False)
    state, steps = advance(state, policy, 300, NOW_S)
    assert all(step.at_s is None for step in steps)
    origin = names.from_text("example.")
    made = key_set(state, {key_id(key.dnskey): key for key in keys}, policy, origin)
    signed = sign(None, make_zone(TEXT, "example."), made, SigningPolicy(), NOW_S).signed
    assert gate.judge(signed, None, world(state, origin), NOW_S) == []


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    stems = [make(["dnssec-keygen", "-q", "-a", "ED25519", "example."], tmp_path) for _ in range(2)]
    public = (tmp_path / f"{stems[0]}.key").read_text()
    private = (tmp_path / f"{stems[1]}.private").read_text()
    with pytest.raises(DataFault, match="not that of the DNSKEY"):
        read_key_files(public, private)
    with pytest.raises(DataFault, match="no PrivateKey"):
        read_key_files(public, "Private-key-format: v1.3")
    with pytest.raises(DataFault, match="no DNSKEY"):
        read_key_files("; nothing", private)
