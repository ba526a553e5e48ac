"""Clients made for other DNS services, unchanged but for the address they call."""

import subprocess
import sys
from pathlib import Path

import dnsimple
import pytest
from dnsimple.struct import ZoneRecordInput, ZoneRecordUpdateInput

pytestmark = pytest.mark.peers

TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
@ NS ns2
@ MX 10 mail
@ TXT "v=spf1 -all"
ns1 AAAA 2001:db8::53
ns2 AAAA 2001:db8::54
mail AAAA 2001:db8::25
_sip._tcp SRV 1 2 5060 mail
"""


def test_dnsimple_python_lists_makes_changes_and_removes_records(serve_web, until) -> None:
    web = serve_web(TEXT)
    served, url, token = web.served, web.url, web.token
    client = dnsimple.Client(access_token=token, base_url=url)
    client.session.trust_env = False
    account = client.identity.whoami().data.account.id
    assert [zone.name for zone in client.zones.list_zones(account).data] == ["example.com"]
    assert "mail" in client.zones.get_zone_file(account, "example.com").data.zone
    made = client.zones.create_record(
        account, "example.com", ZoneRecordInput("www", "AAAA", "2001:db8::80", ttl=60)
    ).data
    until(lambda: served.udp("www.example.com.", "AAAA").answer, what="www served")
    alias = client.zones.create_record(
        account, "example.com", ZoneRecordInput("", "ALIAS", "www.example.com", ttl=60)
    ).data
    assert (alias.name, alias.content) == ("", "www.example.com")
    until(lambda: served.udp("example.com.", "AAAA").answer, what="the ALIAS served")
    changed = client.zones.update_record(
        account, "example.com", made.id, ZoneRecordUpdateInput(content="2001:db8::81")
    ).data
    assert (changed.id, changed.content) == (made.id, "2001:db8::81")
    found = client.zones.list_records(
        account, "example.com", filter={"type": "AAAA"}, sort="name:asc"
    )
    assert [record.name for record in found.data] == ["mail", "ns1", "ns2", "www"]
    assert found.pagination.total_entries == 4
    client.zones.delete_record(account, "example.com", made.id)
    until(lambda: served.udp("www.example.com.", "AAAA").rcode() == 3, what="www gone")
    with pytest.raises(dnsimple.DNSimpleException) as refused:
        client.zones.create_record(
            account, "example.com", ZoneRecordInput("x", "AAAA", "192.0.2.1")
        )
    assert "content" in refused.value.attribute_errors
    assert client.zones.check_zone_distribution(account, "example.com").data.distributed


def test_octodns_brings_a_zone_to_what_its_file_says_and_then_has_nothing_to_do(
    serve_web, tmp_path: Path, until
) -> None:
    web = serve_web(TEXT)
    served, url, token = web.served, web.url, web.token
    host, _, port = url.removeprefix("http://").rpartition(":")
    zones = tmp_path / "zones"
    zones.mkdir()
    (zones / "example.com.yaml").write_text(
        "'':\n  - type: NS\n    values: [ns1.example.com., ns2.example.com.]\n"
        "  - type: MX\n    values: [{exchange: mail.example.com., preference: 20}]\n"
        "mail:\n  type: AAAA\n  value: 2001:db8::26\n"
        "ns1:\n  type: AAAA\n  value: 2001:db8::53\n"
        "ns2:\n  type: AAAA\n  value: 2001:db8::54\n"
        "www:\n  type: AAAA\n  values: [2001:db8::80, 2001:db8::81]\n"
    )
    config = tmp_path / "octodns.yaml"
    config.write_text(
        "manager: {max_workers: 1}\nproviders:\n"
        "  files:\n    class: octodns.provider.yaml.YamlProvider\n"
        f"    directory: {zones}\n    enforce_order: false\n"
        "  quada:\n    class: octodns_powerdns.PowerDnsProvider\n"
        f"    host: '{host}'\n    port: {port}\n    api_key: {token}\n    scheme: http\n"
        "zones:\n  example.com.:\n    sources: [files]\n    targets: [quada]\n"
    )

    def sync() -> str:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "octodns-sync"), f"--config-file={config}", "--doit", "--force"],
            capture_output=True, text=True, timeout=100, env={"NO_PROXY": "*", "PATH": "/usr/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Create" in sync()
    answer = until(lambda: served.udp("www.example.com.", "AAAA").answer, what="www served")
    assert sorted(item.to_text() for item in answer[0]) == ["2001:db8::80", "2001:db8::81"]
    assert served.udp("_sip._tcp.example.com.", "SRV").rcode() == 3
    assert "No changes were planned" in sync()


@pytest.mark.parametrize("provider", ["dnsimple", "pdns"])
def test_legos_providers_make_and_remove_a_challenge(serve_web, until, provider: str) -> None:
    built = Path.home() / ".cache/quada-peers/bin/lego-present"
    if not built.exists():
        pytest.skip("tests/peers/install.sh builds it where Go 1.24 is, and here it is not")
    web = serve_web(TEXT)
    until(lambda: web.served.udp("example.com.", "SOA").answer, what="served")
    environment = {
        "DNSIMPLE_BASE_URL": web.url, "DNSIMPLE_OAUTH_TOKEN": web.token,
        "PDNS_API_URL": web.url, "PDNS_API_KEY": web.token, "NO_PROXY": "*",
    }  # fmt: skip

    def run(verb: str) -> None:
        done = subprocess.run(
            [str(built), provider, verb, "www.example.com", f"[::1]:{web.served.port}"],
            capture_output=True, text=True, timeout=60, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    name = "_acme-challenge.www.example.com."
    run("present")
    until(lambda: web.served.udp(name, "TXT").answer, what="the challenge served")
    run("cleanup")
    until(lambda: web.served.udp(name, "TXT").rcode() == 3, what="the challenge gone")
