"""PTR records follow addresses into the reverse zones of ours, and only there."""

import pytest

import quada.api.pointers as pointers
from quada.api.access import Caller
from quada.api.operations import Edit
from quada.api.records import Draft
from quada.store.journal import Author
from quada.zones import read_zone
from small_api import Api

REVERSE = b"\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\x00"
TEXT = "$TTL 300\n@ SOA ns1.example.com. host 1 3600 600 86400 60\n@ NS ns1.example.com.\n"
ADMIN = Caller("user admin", "::1", ("admin",))


@pytest.fixture
def with_reverse(api: Api) -> Api:
    api.store.create(read_zone(TEXT, REVERSE), Author("test"), 1)
    return api


def tried(api: Api, *drafts: Draft) -> list[pointers.Reverse]:
    edited = api.operations.edit(ADMIN, "example.com", Edit(creates=drafts), is_trial=True)
    return pointers.changes(api.operations, ADMIN, edited)


def test_many_addresses_are_one_change_of_their_zone_and_zones_are_looked_up_once(
    with_reverse: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = with_reverse
    drafts = [Draft(f"h{n}", "AAAA", f"2001:db8::{n:x}", 300) for n in range(1, 40)]
    edited = api.operations.edit(ADMIN, "example.com", Edit(creates=tuple(drafts)), is_trial=True)
    asked = []
    summaries = api.store.summaries
    monkeypatch.setattr(api.store, "summaries", lambda: asked.append(1) or summaries())
    found = pointers.changes(api.operations, ADMIN, edited)
    assert [one.zone.origin for one in found] == [REVERSE]
    assert len(found[0].change.added) == 39
    assert len(asked) <= 2


def test_an_address_in_no_zone_of_ours_has_no_pointer_here(with_reverse: Api) -> None:
    assert tried(with_reverse, Draft("far", "AAAA", "2a00::1", 300)) == []


def test_zones_that_the_caller_may_not_change_are_left_alone(with_reverse: Api) -> None:
    caller = Caller("token ci", "::1", ("records:example.com",))
    edit = Edit(creates=(Draft("new", "AAAA", "2001:db8::77", 300),))
    edited = with_reverse.operations.edit(caller, "example.com", edit, is_trial=True)
    assert pointers.changes(with_reverse.operations, caller, edited) == []
