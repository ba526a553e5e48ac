"""Pictures of an observation, as SVG: what a name depends on, and how fast each family answered."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from quada.doctor.graph import Graph
from quada.doctor.judge_services import ATTEMPT_DELAY_MS

if TYPE_CHECKING:
    from quada.doctor.observation import Observation

_LINE: Final = 18
_WIDTH: Final = 300
_GAP_X: Final = 70
_GAP_Y: Final = 22
_CHARACTERS: Final = 40
_SERVERS_MAX: Final = 16
_GOOD, _BAD, _DIM = "#0b6b3a", "#a51420", "#777"
_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}"'
    ' font-family="system-ui,sans-serif" font-size="13" role="img" aria-label="{label}">'
)


def dependencies(observation: Observation) -> str:
    """Draw zones as boxes, a column a level of delegation, with their servers in them.

    Lines go from parent to child; dashed ones from a server to the zone that its name is in. Green
    can be reached over IPv6 alone, red cannot.
    """
    graph = Graph.of(observation)
    nodes = {node.zone: node for node in graph.nodes(observation.name)}
    columns: dict[int, list[str]] = {}
    for zone in sorted(nodes, key=lambda zone: (zone.count("."), zone)):
        depth, above = 0, zone
        while above != "." and above in nodes:
            above = nodes[above].parent
            depth += 1
        columns.setdefault(depth, []).append(zone)
    place: dict[str, tuple[int, int, int]] = {}
    height = 0
    for depth, zones in sorted(columns.items()):
        y = 10
        for zone in zones:
            size = _LINE * (1 + min(_SERVERS_MAX, len(nodes[zone].servers))) + 12
            place[zone] = 10 + depth * (_WIDTH + _GAP_X), y, size
            y += size + _GAP_Y
        height = max(height, y)
    width = 20 + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    label = escape(f"what {observation.name} depends on")
    out = [_HEAD.format(w=width, h=height, label=label)]
    lines, boxes = [], []
    for zone, node in nodes.items():
        x, y, size = place[zone]
        color = _GOOD if node.is_six else _BAD
        if zone != "." and node.parent in place:
            px, py, _ = place[node.parent]
            lines.append(_curve(px + _WIDTH, py + 14, x, y + 14, color, ""))
        boxes.append(
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{size}" rx="6" fill="none"'
            f' stroke="{color}" stroke-width="1.5"/>'
            f'<text x="{x + 8}" y="{y + 17}" font-weight="600" fill="{color}">{_short(zone)}</text>'
        )
        for at, (server, families) in enumerate(node.servers[:_SERVERS_MAX]):
            line = y + 17 + _LINE * (at + 1)
            kinds = " ".join(f"IPv{one}" for one in sorted(families, reverse=True)) or "nothing"
            fill = _GOOD if 6 in families else _BAD
            boxes.append(
                f'<text x="{x + 16}" y="{line}" fill="currentColor">{_short(server)}'
                f'<tspan fill="{fill}"> {kinds}</tspan></text>'
            )
            own = graph.zone_of(server)
            if own != zone and own in place:
                ox, oy, _ = place[own]
                lines.append(_curve(x, line - 4, ox + _WIDTH, oy + 14, _DIM, "4 3"))
    return "".join([*out, *lines, *boxes, "</svg>"])


def dot_text(observation: Observation) -> str:
    """Write what a name depends on for Graphviz: zones as boxes, servers as ellipses by operator.

    Green can be reached over IPv6 alone, red cannot; dashed lines lead to the zone that a server's
    name is in, whose operator it is.
    """
    graph = Graph.of(observation)
    out = ["digraph depends {", "  rankdir=LR; node [fontname=sans, fontsize=11];"]
    drawn: set[str] = set()
    for node in graph.nodes(observation.name):
        color = _GOOD if node.is_six else _BAD
        zone = _quoted(node.zone)
        out.append(f"  {zone} [shape=box, style=bold, color={_quoted(color)}];")
        if node.zone != ".":
            out.append(f"  {_quoted(node.parent)} -> {zone} [color={_quoted(color)}];")
        for server, families in node.servers[:_SERVERS_MAX]:
            host, operator = _quoted(f"ns {server}"), graph.operator_of(server)
            out.append(f"  {zone} -> {host} [arrowhead=none];")
            if server in drawn:
                continue
            drawn.add(server)
            kinds = " ".join(f"IPv{one}" for one in sorted(families, reverse=True)) or "nothing"
            color = _quoted(_GOOD if 6 in families else _BAD)
            label = f"{_quoted(server)[:-1]}\\n{kinds}, run by {_quoted(operator)[1:]}"
            out.append(f"  {host} [label={label}, color={color}];")
            if operator not in (node.zone, "."):
                out.append(
                    f"  {host} -> {_quoted(operator)} [style=dashed, color={_quoted(_DIM)}];"
                )
    return "\n".join([*out, "}", ""])


def _quoted(text: str) -> str:
    """Quote for Graphviz: a name's own backslashes and quotes stay what they are."""
    safe = "".join(c if c.isprintable() else "?" for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def timeline(observation: Observation) -> str:
    """Draw how long each server's answer took, IPv6 above IPv4; silence is a hollow bar."""
    rows = [
        one for one in sorted(
            observation.about("soa-udp"), key=lambda one: (one.server, -one.family, one.address)
        ) if one.zone == observation.zone
    ]  # fmt: skip
    if not rows:
        return ""
    longest = max(max(one.rtt_ms for one in rows), 1.0)
    width, left = 760, 380
    height = 14 + _LINE * len(rows)
    label = escape(f"answers of {observation.zone} by family")
    out = [_HEAD.format(w=width, h=height, label=label)]
    for at, one in enumerate(rows):
        y = 10 + _LINE * at
        size = max(2.0, (width - left - 110) * one.rtt_ms / longest)
        color = _GOOD if one.family == 6 else "#2a5db0"
        fill = color if one.is_good else "none"
        said = f"{one.rtt_ms:.1f} ms" if one.is_good else one.outcome
        out.append(
            f'<text x="8" y="{y + 10}" fill="currentColor">'
            f"{_short(one.server)} {escape(one.address)}</text>"
            f'<rect x="{left}" y="{y + 1}" width="{size:.0f}" height="11" fill="{fill}"'
            f' stroke="{color}"/><text x="{left + size + 6:.0f}" y="{y + 11}"'
            f' fill="currentColor">{escape(said)}</text>'
        )
    return "".join([*out, "</svg>"])


def connections(observation: Observation) -> str:
    """Draw how long each service took to connect and to answer, IPv6 above IPv4.

    The line is where a client that came over IPv6 tries IPv4 too (RFC 8305 8).
    """
    rows = sorted(
        (one for one in observation.visits if one.service != "encrypted"),
        key=lambda one: (one.host, one.port, -one.family, one.address),
    )
    if not rows:
        return ""
    longest = max(max(one.total_ms for one in rows), ATTEMPT_DELAY_MS * 1.1)
    width, left = 860, 420
    scale = (width - left - 150) / longest
    height = 24 + _LINE * len(rows)
    label = escape(f"services of {observation.name} by family")
    out = [_HEAD.format(w=width, h=height, label=label)]
    for at, one in enumerate(rows):
        y = 18 + _LINE * at
        color = _GOOD if one.family == 6 else "#2a5db0"
        dial, whole = max(2.0, scale * one.dial_ms), max(2.0, scale * one.total_ms)
        said = f"{one.dial_ms:.1f} ms" if not one.stage else f"{one.stage}: {one.why}"[:24]
        out.append(
            f'<text x="8" y="{y + 10}" fill="currentColor">'
            f"{_short(f'{one.host}:{one.port} {one.address}')}</text>"
            f'<rect x="{left}" y="{y + 1}" width="{whole:.0f}" height="11" fill="none"'
            f' stroke="{color}"/>'
            f'<rect x="{left}" y="{y + 1}" width="{dial:.0f}" height="11"'
            f' fill="{color if one.is_open else "none"}" stroke="{color}"/>'
            f'<text x="{left + whole + 6:.0f}" y="{y + 11}" fill="currentColor">'
            f"{escape(said)}</text>"
        )
    mark = left + scale * ATTEMPT_DELAY_MS
    out.append(
        f'<line x1="{mark:.0f}" y1="14" x2="{mark:.0f}" y2="{height}" stroke="{_BAD}"'
        f' stroke-dasharray="3 3"/><text x="{mark - 20:.0f}" y="11" fill="{_BAD}">250 ms</text>'
    )
    return "".join([*out, "</svg>"])


def _curve(x: float, y: float, to_x: float, to_y: float, color: str, dash: str) -> str:
    middle = (x + to_x) / 2
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}" fill="none"'
        f' stroke="{color}"{dashed}/>'
    )


def _short(name: str) -> str:
    return escape(name if len(name) <= _CHARACTERS else f"{name[: _CHARACTERS - 1]}…")
