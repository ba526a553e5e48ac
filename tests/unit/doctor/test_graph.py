"""The dependency graph, against a solver that tries everything."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from quada.doctor.graph import Graph

ZONES = (".", "a.", "b.", "x.a.", "y.b.")
PARENT = {"a.": ".", "b.": ".", "x.a.": "a.", "y.b.": "b."}
HOSTS = ("ns.a.", "ns.b.", "ns.x.a.", "ns.y.b.", "ns2.a.")
SIX, FOUR = "2001:db8::1", "192.0.2.1"
addresses = st.sampled_from([(), (SIX,), (FOUR,), (SIX, FOUR)])


@st.composite
def graphs(draw):
    servers = {
        zone: tuple(draw(st.sets(st.sampled_from(HOSTS), min_size=1, max_size=3)))
        for zone in ZONES
        if zone != "."
    }
    servers["."] = ("root.",)
    hosts = {host: draw(addresses) for host in HOSTS} | {"root.": (SIX, FOUR)}
    glue = {}
    for zone, named in servers.items():
        for server in named:
            is_inside = server.endswith(zone) and zone != "."
            glue[zone, server] = (
                hosts[server] if zone == "." or (is_inside and draw(st.booleans())) else ()
            )
    return Graph(PARENT, servers, glue, hosts), servers, glue, hosts


def by_search(zone, family, servers, glue, hosts, graph, path=frozenset()):
    """Whether there is a derivation that never needs what it is about to show."""
    if zone in path:
        return False
    path |= {zone}

    def has(found):
        return any((":" in a) == (family == 6) for a in found)

    if zone != "." and not by_search(PARENT[zone], family, servers, glue, hosts, graph, path):
        return False
    return any(
        has(glue.get((zone, server), ()))
        or (
            has(hosts[server])
            and by_search(graph.zone_of(server), family, servers, glue, hosts, graph, path)
        )
        for server in servers[zone]
    )


@given(graphs(), st.sampled_from([4, 6]))
@settings(max_examples=300, deadline=None)
def test_the_fixed_point_is_what_a_search_for_derivations_finds(made, family) -> None:
    graph, servers, glue, hosts = made
    reached = graph.reachable((family,))
    for zone in ZONES:
        assert (zone in reached) == by_search(zone, family, servers, glue, hosts, graph), zone


@given(graphs(), st.sampled_from(["x.a.", "www.y.b."]))
@settings(max_examples=200, deadline=None)
def test_a_cut_mends_and_nothing_smaller_does(made, name) -> None:
    graph, *_ = made
    cuts = graph.cuts(name, 6)
    target = graph.zone_of(name)
    if target in graph.reachable((6,)):
        assert cuts == []
        return
    for cut in cuts:
        assert target in graph.reachable((6,), given=cut)
        for size in range(len(cut)):
            for fewer in combinations(HOSTS, size):
                assert target not in graph.reachable((6,), given=frozenset(fewer))


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_without_a_single_point_the_name_is_gone(made) -> None:
    graph, servers, *_ = made
    points = graph.single_points("x.a.", 6)
    if "x.a." not in graph.reachable((6,)):
        assert points == []
        return
    everyone = {server for named in servers.values() for server in named}
    gone = {s for s in everyone if "x.a." not in graph.reachable((6,), without=frozenset((s,)))}
    assert set(points) == gone


def test_siblings_that_need_each_other_are_reached_by_sibling_glue_alone() -> None:
    hosts = {"ns.a.": (SIX,), "ns.b.": (SIX,), "root.": (SIX,)}
    servers = {".": ("root.",), "a.": ("ns.b.",), "b.": ("ns.a.",)}
    parents = {"a.": ".", "b.": "."}
    ring = Graph(parents, servers, {(".", "root."): (SIX,)}, hosts)
    assert ring.reachable((6,)) == {"."}
    assert [one.zone for one in ring.broken("www.a.", 6)] == ["a.", "b."]
    glued = Graph(parents, servers, {(".", "root."): (SIX,), ("a.", "ns.b."): (SIX,)}, hosts)
    assert glued.reachable((6,)) == {".", "a.", "b."}


def test_a_graph_of_nothing_seen_is_drawn_as_its_root() -> None:
    assert Graph({}, {}, {}, {}).tree("www.example.com.") == [".  (IPv6 NO, IPv4 NO)"]
