"""The real external-dns, built from its own module, with quada as its webhook and as its PowerDNS."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from typing import Any

import pytest

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]

BUILT = Path.home() / ".cache/quada-peers/bin/external-dns"
GROUP = "/apis/externaldns.k8s.io/v1alpha1"
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 86400 60
@ NS ns1
ns1 AAAA 2001:db8::53
kept AAAA 2001:db8::1
"""


class Cluster(ThreadingHTTPServer):
    """As much of a Kubernetes API as external-dns needs to read DNSEndpoint objects."""

    address_family = AF_INET6

    def __init__(self, config: Path) -> None:
        super().__init__(("::1", 0), _Api)
        self.endpoints: list[dict[str, Any]] = []
        self.config = config
        url = f"http://[::1]:{self.server_address[1]}"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "it",
                    "clusters": [{"name": "it", "cluster": {"server": url}}],
                    "users": [{"name": "it", "user": {}}],
                    "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                }
            )
        )  # fmt: skip

    def listed(self) -> dict[str, Any]:
        meta = {
            "name": "all",
            "namespace": "default",
            "uid": "1",
            "resourceVersion": "1",
            "generation": 1,
        }
        item = {
            "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint", "metadata": meta,
            "spec": {"endpoints": self.endpoints},
        }  # fmt: skip
        return {
            "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpointList",
            "metadata": {"resourceVersion": "1"}, "items": [item],
        }  # fmt: skip


class _Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Cluster)
        if "watch=" in self.path:
            self._give({})
        elif self.path.startswith(f"{GROUP}/dnsendpoints"):
            self._give(server.listed())
        elif self.path.startswith(GROUP):
            resource = {
                "name": "dnsendpoints",
                "kind": "DNSEndpoint",
                "namespaced": True,
                "verbs": ["list"],
            }
            self._give(
                {
                    "kind": "APIResourceList",
                    "groupVersion": "externaldns.k8s.io/v1alpha1",
                    "resources": [resource],
                }
            )
        else:
            self._give({"major": "1", "minor": "30", "gitVersion": "v1.30.0"})

    def do_PUT(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self._give(json.loads(self.rfile.read(length)))

    def _give(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    server = Cluster(tmp_path / "kube.json")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def external_dns() -> str:
    found = shutil.which("external-dns") or (str(BUILT) if BUILT.exists() else "")
    if not found:
        pytest.skip(
            "tests/peers/install.sh builds external-dns where Go 1.24 is, and here it is not"
        )
    return found


def run(binary: str, cluster: Cluster, *provider: str) -> str:
    """Run external-dns once; gives its log."""
    done = subprocess.run(
        [
            binary, "--once", "--source=crd", f"--kubeconfig={cluster.config}", "--policy=sync",
            "--registry=txt", "--txt-owner-id=quada", "--txt-prefix=%{record_type}.own.", "--log-level=debug",
            "--managed-record-types=A", "--managed-record-types=AAAA",
            "--managed-record-types=CNAME", *provider,
        ],
        capture_output=True, text=True, timeout=100,
        env={"NO_PROXY": "*", "PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def wanted(name: str, rdtype: str, *targets: str, ttl: int = 60) -> dict[str, Any]:
    return {"dnsName": name, "recordType": rdtype, "targets": list(targets), "recordTTL": ttl}


def test_its_webhook_provider_makes_changes_removes_and_then_has_nothing_to_do(
    serve_web, cluster: Cluster, external_dns: str, until
) -> None:
    web = serve_web(TEXT)
    url = web.url.replace("http://", f"http://token:{web.token}@") + "/external-dns"
    place = ("--provider=webhook", f"--webhook-provider-url={url}")
    cluster.endpoints = [
        wanted("app.example.com", "AAAA", "2001:DB8:0:0::80", "2001:db8::81"),
        wanted("app.example.com", "A", "192.0.2.80"),
        wanted("www.example.com", "CNAME", "app.example.com"),
        wanted("example.com", "CNAME", "lb.example.net"),
        wanted("other.example.org", "AAAA", "2001:db8::1"),
    ]
    run(external_dns, cluster, *place)
    answer = until(lambda: web.served.udp("app.example.com.", "AAAA").answer, what="app served")
    assert sorted(item.to_text() for item in answer[0]) == ["2001:db8::80", "2001:db8::81"]
    assert answer[0].ttl == 60
    assert "lb.example.net" in records(web)["example.com."]["ALIAS"]
    assert "heritage=external-dns" in str(records(web)["aaaa.own.app.example.com."]["TXT"])
    assert "All records are already up to date" in run(external_dns, cluster, *place)
    cluster.endpoints = [wanted("app.example.com", "AAAA", "2001:db8::82", ttl=120)]
    run(external_dns, cluster, *place)
    until(lambda: "2001:db8::82" in str(web.served.udp("app.example.com.", "AAAA")), what="changed")
    left = records(web)
    assert set(left) == {
        "example.com.",
        "ns1.example.com.",
        "kept.example.com.",
        "app.example.com.",
        "aaaa.own.app.example.com.",
    }
    assert set(left["example.com."]) == {"SOA", "NS"}
    assert "All records are already up to date" in run(external_dns, cluster, *place)


def test_its_powerdns_provider_works_as_against_powerdns(
    serve_web, cluster: Cluster, external_dns: str, until
) -> None:
    web = serve_web(TEXT)
    place = ("--provider=pdns", f"--pdns-server={web.url}", f"--pdns-api-key={web.token}")
    cluster.endpoints = [
        wanted("app.example.com", "AAAA", "2001:db8::80", "2001:db8::81"),
        wanted("www.example.com", "CNAME", "app.example.com"),
    ]
    run(external_dns, cluster, *place)
    answer = until(lambda: web.served.udp("app.example.com.", "AAAA").answer, what="app served")
    assert sorted(item.to_text() for item in answer[0]) == ["2001:db8::80", "2001:db8::81"]
    assert "All records are already up to date" in run(external_dns, cluster, *place)
    cluster.endpoints = []
    run(external_dns, cluster, *place)
    assert set(records(web)) == {"example.com.", "ns1.example.com.", "kept.example.com."}


def records(web) -> dict[str, dict[str, str]]:
    """Give all records: by name and type, data joined."""
    import httpx

    headers = {"Authorization": f"Bearer {web.token}"}
    found = httpx.get(f"{web.url}/quada/v1/zones/example.com", headers=headers, trust_env=False)
    out: dict[str, dict[str, str]] = {}
    for one in found.json()["records"]:
        kinds = out.setdefault(one["name"], {})
        kinds[one["type"]] = f"{kinds.get(one['type'], '')} {one['value']}".strip()
    return out
