"""A zone beside a provider's export."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quada.wire.faults import DataFault
from quada.zones import read_zone
from quada.zones.compare import changes, compare, of_zone, read_export

ORIGIN = b"\x07example\x03com\x00"
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ MX 10 mail
@ ALIAS lb.example.net.
ns1 AAAA 2001:db8::53
mail AAAA 2001:db8::25
www AAAA 2001:db8::80
www A 192.0.2.80
*.wild TXT "x"
"""


def record(name: str, rdtype: str, *values: str, ttl: int = 300) -> dict:
    return {
        "Name": name,
        "Type": rdtype,
        "TTL": ttl,
        "ResourceRecords": [{"Value": value} for value in values],
    }


ROUTE53 = [
    record("example.com.", "SOA", "ns.aws. host.aws. 1 2 3 4 5"),
    record("example.com.", "NS", "ns.aws."),
    record("example.com.", "MX", "10 mail.example.com"),
    {
        "Name": "example.com.",
        "Type": "A",
        "AliasTarget": {"DNSName": "lb.example.net.", "HostedZoneId": "Z"},
    },
    record("ns1.example.com.", "AAAA", "2001:db8::53", ttl=60),
    record("www.example.com.", "A", "192.0.2.80"),
    record("mail.example.com.", "AAAA", "2001:db8::26"),
    record("\\052.wild.example.com.", "TXT", '"x"'),
    record("old.example.com.", "A", "192.0.2.1"),
]


def kinds(found) -> list[tuple[str, str, str]]:
    return [(one.rdtype, one.kind, one.owner) for one in found]


def test_what_is_missing_there_comes_first_and_aaaa_before_all() -> None:
    zone = read_zone(TEXT, ORIGIN)
    found = compare(zone, read_export(json.dumps({"ResourceRecordSets": ROUTE53}), ORIGIN))
    assert kinds(found) == [
        ("AAAA", "missing", "example.com."),  # the alias there has A alone
        ("AAAA", "missing", "www.example.com."),
        ("AAAA", "values", "mail.example.com."),
        ("AAAA", "ttl", "ns1.example.com."),
        ("A", "extra", "old.example.com."),
    ]


def test_cloud_dns_exports_are_read() -> None:
    zone = read_zone(TEXT, ORIGIN)
    sets = [
        {
            "kind": "dns#resourceRecordSet",
            "name": "www.example.com.",
            "type": "AAAA",
            "ttl": 300,
            "rrdatas": ["2001:db8::80"],
        },
        {"name": "mail.example.com.", "type": "AAAA", "ttl": 300, "rrdatas": ["2001:db8::25"]},
    ]
    found = compare(zone, read_export(json.dumps(sets), ORIGIN))
    assert ("AAAA", "missing", "ns1.example.com.") in kinds(found)
    assert ("AAAA", "missing", "www.example.com.") not in kinds(found)


def test_a_zone_does_not_differ_from_itself() -> None:
    zone = read_zone(TEXT.replace("@ ALIAS lb.example.net.\n", ""), ORIGIN)
    assert compare(zone, of_zone(zone)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "3",
        '{"ResourceRecordSets": [{}]}',
        '[{"name": 1}]',
        '[{"name": "a.b.", "type": "A", "rrdatas": ["x"]}]',
    ],
)
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(DataFault):
        read_export(text, ORIGIN)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Name",
                        "Type",
                        "TTL",
                        "ResourceRecords",
                        "Value",
                        "name",
                        "type",
                        "rrdatas",
                        "ResourceRecordSets",
                        "AliasTarget",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_export_harms_the_reader(data) -> None:
    with contextlib.suppress(DataFault):
        read_export(json.dumps(data), ORIGIN)


def apply_route53(sets: list[dict], batch: dict) -> list[dict]:
    """What Route 53 has after a change batch: UPSERT replaces, DELETE needs the exact set."""
    kept = {(one["Name"], one["Type"]): one for one in sets}
    for change in batch["Changes"]:
        one = change["ResourceRecordSet"]
        key = one["Name"], one["Type"]
        if change["Action"] == "DELETE":
            assert kept.pop(key)["TTL"] == one["TTL"]
        else:
            kept[key] = one
    return list(kept.values())


def test_a_change_batch_mends_what_differs_and_nothing_else() -> None:
    zone = read_zone(TEXT.replace("@ ALIAS lb.example.net.\n", ""), ORIGIN)
    sets = [
        record("example.com.", "MX", "10 other.example.com."),
        record("www.example.com.", "A", "192.0.2.80", ttl=60),
        record("old.example.com.", "TXT", '"bye"'),
        record("\\052.old.example.com.", "TXT", '"bye"'),
    ]
    theirs = read_export(json.dumps({"ResourceRecordSets": sets}), ORIGIN)
    batch, left = changes(zone, theirs, compare(zone, theirs), "route53")
    assert left == ["*.old.example.com. TXT: only there", "old.example.com. TXT: only there"]
    assert any(
        one["ResourceRecordSet"]["Name"] == "*.wild.example.com." for one in batch["Changes"]
    )
    after = read_export(json.dumps({"ResourceRecordSets": apply_route53(sets, batch)}), ORIGIN)
    assert {one.kind for one in compare(zone, after)} == {"extra"}
    batch, left = changes(zone, theirs, compare(zone, theirs), "route53", deletes=True)
    assert not left
    kept = apply_route53(
        [{**one, "Name": one["Name"].replace("\\052", "*")} for one in sets], batch
    )
    assert not compare(zone, read_export(json.dumps({"ResourceRecordSets": kept}), ORIGIN))


def test_a_cloud_dns_change_names_both_sides() -> None:
    zone = read_zone(TEXT, ORIGIN)
    rrsets = [{"name": "www.example.com.", "type": "AAAA", "ttl": 60, "rrdatas": ["2001:db8::1"]},
              {"name": "gone.example.com.", "type": "A", "ttl": 60, "rrdatas": ["192.0.2.1"]}]  # fmt: skip
    theirs = read_export(json.dumps(rrsets), ORIGIN)
    change, left = changes(zone, theirs, compare(zone, theirs), "clouddns", deletes=True)
    assert change["deletions"] == [rrsets[0], rrsets[1]]
    assert {
        "name": "www.example.com.",
        "type": "AAAA",
        "ttl": 300,
        "rrdatas": ["2001:db8::80"],
    } in change["additions"]
    assert left == ["example.com. AAAA: an alias"]
    with pytest.raises(DataFault, match="no provider"):
        changes(zone, theirs, [], "other")
