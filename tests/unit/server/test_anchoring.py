"""Trust anchors over a rollover of years: what is seen, what is trusted, what a restart knows."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.resolver.trust import Anchors
from quada.server.anchoring import Anchoring
from quada.telemetry.event import Validation
from quada.wire.records import Record

DAY = 86_400
NOW = 1_795_000_000
ROOT = names.ROOT


class Key:
    """A KSK that signs."""

    def __init__(self) -> None:
        self.secret = ec.generate_private_key(ec.SECP256R1())
        numbers = self.secret.public_key().public_numbers()
        self.public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        self.is_revoked = False

    @property
    def rdata(self) -> bytes:
        flags = 257 | (128 if self.is_revoked else 0)
        return flags.to_bytes(2, "big") + b"\x03\x0d" + self.public

    @property
    def ds(self) -> bytes:
        found = signature.ds_rdata(ROOT, self.rdata)
        assert found is not None
        return found

    def rrsig(self, rdatas: list[bytes], now_s: int) -> bytes:
        head = signature.Rrsig(
            codes.DNSKEY,
            13,
            0,
            172_800,
            now_s + 14 * DAY,
            now_s - DAY,
            signature.key_tag(self.rdata),
            ROOT,
            b"",
        )
        octets = signature.signed_octets(
            signature.rrsig_head(head), ROOT, codes.DNSKEY, 172_800, rdatas
        )
        return signature.rrsig_head(head) + signature.make_signer(13, self.secret)(octets)


def answer(now_s: int, *keys: Key, by: list[Key] | None = None) -> list[Record]:
    rdatas = [key.rdata for key in keys]
    records = [Record(ROOT, codes.DNSKEY, 172_800, rdata) for rdata in rdatas]
    return records + [
        Record(ROOT, codes.RRSIG, 172_800, key.rrsig(rdatas, now_s)) for key in by or keys
    ]


@pytest.fixture
def old() -> Key:
    return Key()


def test_a_new_key_is_trusted_after_its_hold_down_and_a_revoked_one_no_more(
    old: Key, tmp_path: Path
) -> None:
    new, file = Key(), tmp_path / "anchors.json"
    anchors = Anchors({ROOT: (old.ds,)})
    one = Anchoring(file, anchors)
    assert one.due(NOW) == [ROOT]
    one.take(ROOT, answer(NOW, old), Validation.SECURE, NOW)
    assert anchors.positive[ROOT] == (old.ds,)
    assert not one.due(NOW)
    assert one.due(NOW + 2 * DAY)
    one.take(ROOT, answer(NOW + DAY, old, new), Validation.SECURE, NOW + DAY)
    assert anchors.positive[ROOT] == (old.ds,)  # it waits out thirty days
    # A restart knows where it stood; so does another worker that reads the file.
    again, others = Anchors({ROOT: (old.ds,)}), Anchors({ROOT: (old.ds,)})
    two, reader = Anchoring(file, again), Anchoring(file, others)
    two.take(ROOT, answer(NOW + 32 * DAY, old, new), Validation.SECURE, NOW + 32 * DAY)
    assert set(again.positive[ROOT]) == {old.ds, new.ds}
    reader.read()
    assert set(others.positive[ROOT]) == {old.ds, new.ds}
    old_ds = old.ds
    old.is_revoked = True
    two.take(ROOT, answer(NOW + 60 * DAY, old, new), Validation.SECURE, NOW + 60 * DAY)
    assert again.positive[ROOT] == (new.ds,)
    last = Anchors({ROOT: (old_ds,)})
    Anchoring(file, last)
    assert last.positive[ROOT] == (new.ds,)  # though it is still configured


def test_a_revocation_that_the_key_did_not_sign_is_not_believed(old: Key, tmp_path: Path) -> None:
    new = Key()
    anchors = Anchors({ROOT: (old.ds, new.ds)})
    one = Anchoring(tmp_path / "anchors.json", anchors)
    one.take(ROOT, answer(NOW, old, new), Validation.SECURE, NOW)
    old_ds = old.ds
    old.is_revoked = True
    one.take(ROOT, answer(NOW + DAY, old, new, by=[new]), Validation.SECURE, NOW + DAY)
    assert old_ds in anchors.positive[ROOT]


@pytest.mark.parametrize(
    "validation", [Validation.BOGUS, Validation.INSECURE, Validation.INDETERMINATE]
)
def test_what_is_not_secure_moves_nothing(old: Key, tmp_path: Path, validation: Validation) -> None:
    file = tmp_path / "anchors.json"
    anchors = Anchors({ROOT: (old.ds,)})
    one = Anchoring(file, anchors)
    one.take(ROOT, answer(NOW, old, Key()), validation, NOW)
    assert anchors.positive[ROOT] == (old.ds,)
    assert not file.exists()
    assert not one.due(NOW)
    assert one.due(NOW + DAY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 1, "points": {".": {"keys": [{"dnskey": 1}], "look_at": 1}}}',
    ],
)
def test_a_state_that_cannot_be_read_leaves_what_is_configured(
    old: Key, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "anchors.json"
    file.write_text(text)
    anchors = Anchors({ROOT: (old.ds,)})
    one = Anchoring(file, anchors)
    assert anchors.positive[ROOT] == (old.ds,)
    one.take(ROOT, answer(NOW, old), Validation.SECURE, NOW)
    assert "valid" in file.read_text()
