"""Where failures come from: the smallest prefixes that hold them, and nothing by chance."""

import random

import pytest

from quada.telemetry.signals.cluster import UNSURE, locate


def attempts(chance: random.Random, count: int) -> list[str]:
    """Clients of twelve sites, most of them in a few; a sixth over IPv4."""
    out = []
    for _ in range(count):
        site = min(int(chance.paretovariate(1.1)), 12)
        four = f"198.51.{site}.{chance.randrange(1, 250)}"
        six = f"2001:db8:{site:x}:{chance.randrange(24):x}::{chance.randrange(1, 40):x}"
        out.append(six if chance.random() < 0.85 else four)
    return out


def found(seed: int, share_of) -> tuple[set[str], str]:
    """Have attempts fail, each with a chance of its own; gives the prefixes and the verdict."""
    chance = random.Random(seed)
    tried = attempts(chance, chance.choice((1_000, 3_000)))
    place = locate(tried, [one for one in tried if chance.random() < share_of(one)])
    return {prefix for prefix, *_ in place.prefixes}, place.verdict


@pytest.mark.parametrize("share", [0.02, 0.05, 0.4])
def test_failures_that_are_spread_are_at_no_place(share: float) -> None:
    verdicts = {found(seed, lambda _: share)[1] for seed in range(60)}
    assert verdicts <= {"everywhere", UNSURE}


def test_a_site_is_named_by_the_smallest_prefix_that_holds_it() -> None:
    ends = [
        found(s, lambda one: 0.9 if one.startswith("2001:db8:2:") else 0.005) for s in range(60)
    ]
    right = [one for one in ends if one == ({"2001:db8:2::/56"}, "in one part of the network")]
    assert len(right) >= 57  # its networks are 0 to 23: half a /56


def test_a_site_and_one_network_of_another_are_named_together() -> None:
    def share(one: str) -> float:
        return 0.9 if one.startswith(("2001:db8:4:", "2001:db8:1:7::")) else 0.002

    ends = [found(seed, share)[0] for seed in range(60)]
    assert ends.count({"2001:db8:4::/56", "2001:db8:1:7::/64"}) >= 57


def test_few_clients_are_told_from_a_part_of_the_network() -> None:
    tried = [f"2001:db8:1:{n % 40:x}::{n:x}" for n in range(400)] + ["2001:db8:9:9::9"] * 30
    place = locate(tried, ["2001:db8:9:9::9"] * 20 + tried[:2])
    assert (place.verdict, place.prefixes) == ("at few clients", (("2001:db8:9:9::9/128", 20, 30),))


def test_the_rest_is_told_beside_the_place() -> None:
    tried = [f"2001:db8:{n % 40:x}:{n % 7:x}::9" for n in range(4_000)]
    place = locate(tried, [one for one in tried if one.startswith("2001:db8:3:")] + tried[:5])
    assert place.text().endswith("; elsewhere (4 of 3900)"), place.text()


def test_where_nearly_all_clients_are_inside_nothing_is_shown() -> None:
    tried = ["2001:db8:1:1::9"] * 50 + ["192.0.2.1"] * 2
    assert locate(tried, tried[:30]).verdict == "everywhere"


def test_ipv4_and_ipv6_are_both_located() -> None:
    tried = [f"198.51.{n % 30}.{n % 200}" for n in range(2_000)] + ["2001:db8::1"] * 200
    place = locate(tried, [one for one in tried if one.startswith("198.51.7.")])
    assert [prefix for prefix, *_ in place.prefixes] == ["198.51.7.0/24"]


@pytest.mark.parametrize(
    "client", ["a:b", "::::", ":", "zz:1:2:qq::", "1:2:3:4:5:6:7:8:9", "1:2:3:\x1b::", "%", "1.2"]
)
def test_a_client_that_is_no_address_is_located_without_harm(client: str) -> None:
    """Logs of others say what they like, and what a log says must not end the watch."""
    tried = [client] * 40 + [f"2001:db8:{n:x}::9" for n in range(200)]
    assert locate(tried, [client] * 30).verdict


def test_more_failures_than_attempts_are_placed_all_the_same() -> None:
    """A retry may fall into a window whose first attempt was before it."""
    for seed in range(300):
        chance = random.Random(seed)
        tried = attempts(chance, 150)
        failed = [*chance.choices(tried, k=chance.randrange(12, 400)), *attempts(chance, 3)]
        assert locate(tried, failed).verdict
