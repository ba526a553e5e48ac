"""NAT64 as a resolver finds it: asked of a DNS64 that is ours, and of servers that know none."""

import asyncio
from pathlib import Path

from quada.resolver.dns64 import read_prefix
from quada.server.nat64 import discover_prefix, system_resolvers


def test_the_prefix_is_what_a_dns64_puts_ipv4only_arpa_into(serve, free_port) -> None:
    port = free_port()
    serve(
        "--role", "resolver", "--listen", f"[::1]:{port}", "--dns64", "2001:db8:64::/96", listen=""
    )
    assert asyncio.run(discover_prefix(["::1"], port)) == read_prefix("2001:db8:64::/96")


def test_servers_that_are_silent_or_know_no_prefix_tell_none(serve, free_port) -> None:
    port = free_port()
    serve(
        "--role",
        "resolver",
        "--listen",
        f"[::1]:{port}",
        "--forward",
        f"[::1]:{free_port()}",
        listen="",
    )
    assert asyncio.run(discover_prefix(["::1"], port)) is None
    assert asyncio.run(discover_prefix(["::1"], free_port())) is None


def test_resolvers_of_this_host_are_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# one\nsearch example.com\nnameserver 2001:db8::1\nnameserver\nnameserver 192.0.2.1\n"
    )
    assert system_resolvers(file) == ["2001:db8::1", "192.0.2.1"]
    assert system_resolvers(tmp_path / "none") == []
