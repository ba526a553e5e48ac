"""/metrics of a running server, as Prometheus reads it."""

import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from quada.telemetry.metrics import METRICS

ZONE = "@ 60 SOA a b {serial} 2 3 4 5\n@ 60 NS a.example.net.\n@ 60 AAAA 2001:db8::1\n"


def scrape(port: int) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    text = httpx.get(f"http://[::1]:{port}/metrics", trust_env=False).text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_queries_zones_and_their_versions_are_scraped(serve, free_port, tmp_path, until) -> None:
    port = free_port()
    zone = tmp_path / "zone"
    zone.write_text(ZONE.format(serial=1))
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[metrics]\nlisten = ["[::1]:{port}"]\n[signals]\non = true\n'
        f'[[zone]]\nname = "example.com"\nfile = "{zone}"\n'
        '[[pool]]\nname = "www"\nprobe = "none"\nmember = [{ address = "2001:db8::1" }]\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    for _ in range(3):
        served.udp("example.com.", "AAAA")
    served.udp("nope.example.com.", "TYPE65280")
    labels = (("family", "6"), ("outcome", "NOERROR"), ("qtype", "AAAA"),
              ("role", "authoritative"), ("source", "quada"), ("transport", "udp"))  # fmt: skip

    def counted() -> bool:
        return scrape(port).get("quada_queries_total", {}).get(labels) == 3

    until(counted, what="three AAAA queries in /metrics")
    found = scrape(port)
    absent = (*labels[:1], ("outcome", "NXDOMAIN"), ("qtype", "other"), *labels[3:])
    assert found["quada_queries_total"][absent] == 1
    assert found["quada_supervisor_up"][()] == 1
    assert found["quada_zone_serial"][(("zone", "example.com."),)] == 1
    assert found["quada_events_lost_total"][()] == 0
    pool = (("address", "2001:db8::1"), ("pool", "www"))
    assert found["quada_pool_member_healthy"][pool] == 1
    known = {re.sub("_total$", "", one.name) for one in METRICS}
    for name in found:
        assert re.sub("_(total|bucket|sum|count|created)$", "", name) in known
    before = found["quada_zone_loaded_timestamp_seconds"][(("zone", "example.com."),)]
    zone.write_text(ZONE.format(serial=2))
    until(
        lambda: scrape(port)["quada_zone_serial"][(("zone", "example.com."),)] == 2,
        what="the next version",
    )
    after = scrape(port)["quada_zone_loaded_timestamp_seconds"][(("zone", "example.com."),)]
    assert after > before


def test_only_metrics_is_served_there_and_an_end_is_clean(serve, free_port, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "quada.toml"
    config.write_text(f'version = 1\n[metrics]\nlisten = ["[::1]:{port}"]\n')
    served = serve("--role", "authority", "--config", str(config))
    assert httpx.get(f"http://[::1]:{port}/", trust_env=False).status_code == 404
    assert httpx.post(f"http://[::1]:{port}/metrics", trust_env=False).status_code == 404
    answer = httpx.get(
        f"http://[::1]:{port}/metrics",
        headers={"Accept": "application/openmetrics-text;version=1.0.0"},
        trust_env=False,
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert served.stop() == 0
    assert "rror" not in served.log.read_text()


def test_why_our_resolver_failed_and_whom_it_asked_in_vain_are_counted(
    serve, free_port, tmp_path: Path, until
) -> None:
    port = free_port()
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[metrics]\nlisten = ["[::1]:{port}"]\n'
        f'[resolver]\nlisten = ["[::1]:0"]\ndnssec = false\nforward = ["[::1]:{free_port()}"]\n'
    )
    served = serve("--role", "resolver", "--config", str(config), listen="")
    assert served.udp("www.example.com.", "AAAA").rcode() == 2
    labels = (("cause", "reachability"), ("family", "6"), ("qtype", "AAAA"),
              ("role", "recursive"), ("source", "quada"))  # fmt: skip
    until(
        lambda: scrape(port).get("quada_query_failures_total", {}).get(labels) == 1,
        what="a failure with its cause",
    )
    unanswered = (("family", "6"), ("outcome", "unanswered"), ("source", "quada"),
                  ("transport", "udp"))  # fmt: skip
    assert scrape(port)["quada_upstream_total"][unanswered] >= 1


def test_lookups_of_alias_targets_are_timed_and_told_target_by_target(
    serve, free_port, tmp_path: Path, until
) -> None:
    port = free_port()
    (tmp_path / "zone").write_text(
        ZONE.format(serial=1) + "".join(f"n{n} 60 ALIAS t{n}.example.net.\n" for n in range(3))
    )
    config = tmp_path / "quada.toml"
    config.write_text(
        f'version = 1\n[metrics]\nlisten = ["[::1]:{port}"]\n'
        f'[alias]\nupstream = ["[::1]:{free_port()}"]\n'
        f'[[zone]]\nname = "example.com"\nfile = "{tmp_path}/zone"\n'
    )
    served = serve("--role", "authority", "--config", str(config))
    for number in range(3):
        assert not served.udp(f"n{number}.example.com.", "AAAA").answer
    of_one = (("target", "t0.example.net."),)
    until(
        lambda: scrape(port).get("quada_alias_target_failures_total", {}).get(of_one, 0) >= 2,
        what="both families of a target failed",
    )
    found = scrape(port)
    assert len(found["quada_alias_target_lookups_total"]) == 3
    assert found["quada_alias_target_stale"][of_one] == 0
    for family in ("6", "4"):
        counted = found["quada_alias_lookup_duration_seconds_count"][(("family", family),)]
        assert counted >= 3
        top = (("family", family), ("le", "+Inf"))
        assert found["quada_alias_lookup_duration_seconds_bucket"][top] == counted
