"""RFC 5155 appendix A: hashed owner names of the example zone (salt aabbccdd, 12 iterations)."""

import pytest

import quada.wire.names as names
import quada.zones.denial as denial

HASHES = {
    "example.": "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
    "a.example.": "35mthgpgcu1qg68fab165klnsnk3dpvl",
    "ai.example.": "gjeqe526plbf1g8mklp59enfd789njgi",
    "ns1.example.": "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
    "w.example.": "k8udemvp1j2f7eg6jebps17vp3n8i58h",
    "*.w.example.": "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
    "x.w.example.": "b4um86eghhds6nea196smvmlo4ors995",
    "y.w.example.": "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
    "x.y.w.example.": "2vptu5timamqttgl4luu9kg21e0aor3s",
    "xx.example.": "t644ebqk9bibcna874givr6joj62mlhv",
}


@pytest.mark.parametrize(("name", "text"), HASHES.items())
def test_names_hash_as_the_appendix_says(name, text):
    digest = denial.nsec3_hash(names.from_text(name), 12, bytes.fromhex("aabbccdd"))
    assert denial.hash_label(digest) == b"\x20" + text.encode()
    assert denial.label_hash(b"\x20" + text.upper().encode() + b"\x00") == digest
