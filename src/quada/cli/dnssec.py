"""`quada dnssec`: zones signed, keys rolled, the plan told, the outcome verified from outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import quada.wire.names as names
from quada.cli.output import FOUND, faults_exit, print_json, zone_name
from quada.wire.faults import ConfigFault, DataFault, ReachFault

if TYPE_CHECKING:
    from quada.store.keys import KeyStore, SignedZone

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
ZoneName = Annotated[str, typer.Argument(help="The zone's name.")]

_ALGORITHMS: Final = {
    "ecdsap256sha256": 13,
    "ed25519": 15,
    "ecdsap384sha384": 14,
    "rsasha256": 8,
    "rsasha512": 10,
    "ed448": 16,
}

app = typer.Typer(help="Sign zones, roll keys, verify from outside.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the verb."""
    root.add_typer(app, name="dnssec")


@app.command()
def enable(
    zone: ZoneName,
    algorithm: Annotated[
        str, typer.Option(help="ecdsap256sha256, ed25519, ecdsap384sha384, rsasha256, or a number.")
    ] = "ecdsap256sha256",
    has_pair: Annotated[
        bool, typer.Option("--ksk-zsk", help="A KSK and a ZSK instead of one CSK.")
    ] = False,
    has_nsec3: Annotated[bool, typer.Option("--nsec3", help="NSEC3 (no salt, no iterations).")] = (
        False
    ),
    has_opt_out: Annotated[bool, typer.Option("--opt-out", help="NSEC3 with opt-out.")] = False,
    has_double_ds: Annotated[
        bool, typer.Option("--double-ds", help="Roll a KSK by double-DS.")
    ] = False,
    lifetime_days: Annotated[int, typer.Option(help="How long signatures live.")] = 14,
    zsk_days: Annotated[int, typer.Option(help="A ZSK's lifetime; 0 is until told.")] = 90,
    ksk_days: Annotated[int, typer.Option(help="A KSK's or CSK's; 0 is until told.")] = 0,
    key_file: Annotated[
        list[Path] | None,
        typer.Option(help="Take over a key in BIND's files: Kexample.com.+013+12345. Repeatable."),
    ] = None,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Sign a zone from now on; keys are made here, or taken over, and sealed at rest."""
    from quada.store.keys import SignedZone, ZonePolicy
    from quada.zones.rollover import Method, RolloverPolicy
    from quada.zones.sign import DAY_S, SigningPolicy

    with faults_exit(as_json=as_json):
        if not 2 <= lifetime_days <= 365:
            raise ConfigFault(
                "signatures must live between 2 and 365 days", place="--lifetime-days"
            )
        lifetime_s = lifetime_days * DAY_S
        policy = ZonePolicy(
            SigningPolicy(
                lifetime_s=lifetime_s,
                jitter_s=lifetime_s // 7,
                refresh_s=lifetime_s * 5 // 14,
                has_nsec3=has_nsec3 or has_opt_out,
                has_opt_out=has_opt_out,
            ),
            RolloverPolicy(
                algorithm=_algorithm(algorithm),
                has_csk=not has_pair,
                zsk_lifetime_s=zsk_days * DAY_S,
                ksk_lifetime_s=ksk_days * DAY_S,
                method=Method.DOUBLE_DS if has_double_ds else Method.DOUBLE_SIGNATURE,
            ),
        )
        store, origin = _store(state_dir, may_make=True), zone_name(zone)
        known = store.load(origin)
        if key_file:
            if known is not None:
                raise DataFault("the zone is signed here already", place=zone)
            store.save(_taken_over(SignedZone(origin, policy), key_file))
        elif known is None:
            store.save(SignedZone(origin, policy))
        else:
            store.save(known._replace(policy=policy, state=known.state._replace(is_signed=True)))
        _tell(origin, state_dir, as_json=as_json)


@app.command()
def disable(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Take a zone back to unsigned: DS first, keys and signatures only once it is gone."""
    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        store.save(signed._replace(state=signed.state._replace(is_signed=False)))
        _tell(signed.zone, state_dir, as_json=as_json)


@app.command()
def rollover(
    zone: ZoneName,
    role: Annotated[
        str, typer.Option(help="ksk, zsk or csk; all of the zone's if not given.")
    ] = "",
    algorithm: Annotated[str, typer.Option(help="Change the zone to this algorithm.")] = "",
    is_cancelled: Annotated[
        bool, typer.Option("--cancel", help="Turn a rollover under way round.")
    ] = False,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Start to replace keys, or turn back; the server takes each step when it is safe."""
    from quada.server.signing import bring_key
    from quada.zones.keys import KeyRole
    from quada.zones.rollover import withdraw

    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        state, keys = signed.state, dict(signed.keys)
        is_under_way = any(not ring.is_staying for ring in state.rings)
        if is_cancelled:
            if not is_under_way:
                raise DataFault("no rollover is under way", place=zone)
            leaving = {ring.role for ring in state.rings if not ring.is_staying}
            for ring in [r for r in state.rings if r.is_staying and r.role in leaving]:
                state = withdraw(state, ring.key)
        elif is_under_way:
            raise DataFault(
                "a rollover is under way",
                place=zone,
                remedy="see `quada dnssec plan`, or turn it round with --cancel",
            )
        else:
            rolling = signed.policy.rollover
            if algorithm:
                rolling = rolling._replace(algorithm=_algorithm(algorithm))
                signed = signed._replace(policy=signed.policy._replace(rollover=rolling))
            roles = [one for one in rolling.roles if algorithm or role in ("", one)]
            if not roles:
                raise ConfigFault(
                    f"the zone has no {role}", place="--role", remedy=", ".join(rolling.roles)
                )
            for one in roles:
                state = bring_key(signed, state, keys, KeyRole(one), int(time.time()))
        store.save(signed._replace(state=state, keys=keys))
        _tell(signed.zone, state_dir, as_json=as_json)


@app.command()
def status(
    zone: Annotated[str, typer.Argument(help="One zone; all if not given.")] = "",
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Tell each signed zone's keys and what they do."""
    from quada.zones.keyset import describe

    with faults_exit(as_json=as_json):
        store = _store(state_dir)
        origins = [zone_name(zone)] if zone else store.zones()
        out = []
        for origin in origins:
            signed = _load(names.to_text(origin), state_dir)[1]
            out.append(
                {
                    "zone": names.to_text(origin),
                    "serial": signed.serial,
                    "is_staying_signed": signed.state.is_signed,
                    "keys": describe(signed.state),
                    "server": _server_side(origin, state_dir),
                }
            )
        if as_json:
            print_json(out)
            return
        for one in out:
            _print_status(one)


@app.command()
def plan(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Tell the steps to come: when at the earliest, what, why, and what each waits for."""
    from quada.zones.rollover import forecast

    with faults_exit(as_json=as_json):
        signed = _load(zone, state_dir)[1]
        now_s = int(time.time())
        policy = signed.policy.rollover
        steps = forecast(signed.state, policy, signed.max_ttl_s, now_s)
        rolls = _next_rolls(signed)
        if as_json:
            print_json({"steps": [step._asdict() for step in steps], "rollovers": rolls})
            return
        for step in steps:
            typer.echo(f"{_time(step.at_s)}  {step.what}")
            typer.echo(f"    why: {step.why}")
            if step.held:
                typer.echo(f"    {step.held}")
        if not steps:
            typer.echo("no step is due")
        for roll in rolls:
            typer.echo(f"{_time(roll['at_s'])}  {roll['what']}")


@app.command()
def ds(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Print the DS records for the parent; exit code 1 while it must not have them yet."""
    import quada.zones.signature as signature

    with faults_exit(as_json=as_json):
        signed = _load(zone, state_dir)[1]
        name = names.to_text(signed.zone)
        wanted = [ring for ring in signed.state.rings if ring.wants_ds]
        made = [signature.ds_rdata(signed.zone, ring.dnskey) for ring in wanted]
        lines = [
            f"{name} IN DS {ring.key[1]} {ring.key[0]} {digest[3]} {digest[4:].hex()}"
            for ring, digest in zip(wanted, made, strict=True)
            if digest is not None
        ]
        if as_json:
            print_json({"zone": name, "ds": lines})
        else:
            for line in lines:
                typer.echo(line)
            if not lines:
                typer.echo(f"{name} is not to have DS now; see `quada dnssec plan`", err=True)
        if not lines:
            raise typer.Exit(FOUND)


@app.command()
def seen(
    zone: ZoneName,
    tag: Annotated[
        list[int] | None, typer.Option(help="Tag of a key whose DS the parent has. Repeatable.")
    ] = None,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Say what DS the parent has, where the server cannot look for itself; no --tag is none."""
    from quada.zones.rollover import see_ds

    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        tags = set(tag or ())
        ids = frozenset(ring.key for ring in signed.state.rings if ring.key[1] in tags)
        if len(ids) != len(tags):
            raise DataFault("a tag is of none of the zone's keys", place=zone)
        state = see_ds(signed.state, ids, signed.policy.rollover, int(time.time()))
        store.save(signed._replace(state=state))
        _tell(signed.zone, state_dir, as_json=as_json)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="The name to verify.")],
    resolver: Annotated[
        list[str] | None, typer.Option(help="Resolver to ask, '[::1]:53'; IPv6 first. Repeatable.")
    ] = None,
    rdtype: Annotated[
        list[str] | None, typer.Option("--type", help="Types; AAAA, A and SOA if not given.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="Trust anchor file; the root's own if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate from outside: each type by itself, by us and by the resolver, with CD and without.

    Exit code 1 where anything is bogus, or AAAA and A fare differently.
    """
    from quada.server.outside import verify_outside

    with faults_exit(as_json=as_json):
        types = rdtype or ["AAAA", "A", "SOA"]
        report = verify_outside(zone_name(name), types, resolver or ["::1"], anchor)
        if as_json:
            print_json(report)
        else:
            for row in report["rows"]:
                typer.echo(
                    f"{row['type']:8} {row['state']:13} resolver {row['rcode']}"
                    f"{' AD' if row['ad'] else ''}, with CD {row['rcode_cd']}"
                    f"{'  EDE ' + row['ede'] if row['ede'] else ''}"
                )
                if row["reason"]:
                    typer.echo(f"    {row['reason']}")
            typer.echo(report["verdict"])
        if not report["is_good"]:
            raise typer.Exit(FOUND)


def _taken_over(signed: SignedZone, files: list[Path]) -> SignedZone:
    """Give a zone the keys it was signed with elsewhere, and the policy that fits them."""
    from quada.zones.keyfile import read_key_files, taken_over
    from quada.zones.keys import KeyRole
    from quada.zones.rollover import key_id

    read = []
    for path in files:
        stem = str(path).removesuffix(".key").removesuffix(".private")
        try:
            public, private = (Path(stem + end).read_text() for end in (".key", ".private"))
        except OSError as error:
            raise DataFault(f"cannot read it: {error.strerror}", place=stem) from error
        key = read_key_files(public, private, stem)
        if key.zone != signed.zone:
            raise DataFault(f"the key is of {names.to_text(key.zone)}", place=stem)
        read.append(key)
    state, keys = taken_over(read, int(time.time()))
    rolling = signed.policy.rollover._replace(
        algorithm=keys[0].algorithm, has_csk=any(key.role is KeyRole.CSK for key in keys)
    )
    policy = signed.policy._replace(rollover=rolling)
    return signed._replace(
        policy=policy, state=state, keys={key_id(key.dnskey): key for key in keys}
    )


def _algorithm(text: str) -> int:
    number = _ALGORITHMS.get(text.lower()) or (int(text) if text.isdigit() else 0)
    if number not in _ALGORITHMS.values():
        raise ConfigFault(
            f"zones are not signed with algorithm {text!r}",
            place="--algorithm",
            remedy="; ".join(_ALGORITHMS),
        )
    return number


def _store(state_dir: Path, *, may_make: bool = False) -> KeyStore:
    from quada.store.keys import KeyStore

    if not may_make and not (state_dir / "keys.db").exists():
        raise DataFault(
            "no zone is signed here",
            place=str(state_dir),
            remedy="name the server's state directory with --state-dir, or enable a zone",
        )
    return KeyStore.open(state_dir)


def _load(zone: str, state_dir: Path) -> tuple[KeyStore, SignedZone]:
    store, origin = _store(state_dir), zone_name(zone)
    signed = store.load(origin)
    if signed is None:
        known = ", ".join(names.to_text(one) for one in store.zones()) or "none"
        raise DataFault("the zone is not signed here", place=zone, remedy=f"signed are: {known}")
    return store, signed


def _tell(origin: bytes, state_dir: Path, *, as_json: bool) -> None:
    """Have a running server act at once; without one the change waits for its start."""
    from quada.server.control import command

    zone = names.to_text(origin)
    try:
        steps = command(state_dir / "control.sock", "dnssec-tick")
        is_live = True
    except ReachFault as fault:
        if (state_dir / "control.sock").exists() and "no server answers" not in fault.message:
            raise
        steps, is_live = [], False
    if as_json:
        print_json({"zone": zone, "is_live": is_live, "steps": steps})
        return
    for step in steps:
        typer.echo(step)
    if not is_live:
        typer.echo(f"{zone}: saved; no server runs on {state_dir}, it takes effect at its start")
    elif not steps:
        typer.echo(f"{zone}: saved; no step is due now")


def _server_side(origin: bytes, state_dir: Path) -> dict[str, Any] | None:
    from quada.server.control import command

    try:
        found = command(state_dir / "control.sock", "status")["dnssec"]
    except (ReachFault, KeyError, TypeError):
        return None
    zone = names.to_text(origin)
    return next((one for one in found if one["zone"] == zone), None)


def _print_status(one: dict[str, Any]) -> None:
    going = "" if one["is_staying_signed"] else ", being taken back to unsigned"
    typer.echo(f"{one['zone']} serial {one['serial']}{going}")
    for key in one["keys"]:
        parts = [
            part
            for part, is_so in (
                ("signs the zone", key["signs_zone"]),
                ("signs DNSKEY", key["signs_keys"]),
                ("DS at the parent", key["has_ds"]),
                ("DS asked for", key["wants_ds"] and not key["has_ds"]),
            )
            if is_so
        ]
        role, tag, state = key["role"].upper(), key["tag"], key["state"]
        typer.echo(f"  {role} {tag} {key['algorithm']}: {state}; {', '.join(parts) or 'idle'}")
    server = one["server"]
    if server is None:
        typer.echo("  no server runs here")
        return
    for held in server["held"]:
        typer.echo(f"  held: {held['what']}: {held['waits_for']}")
    for refusal in server["refused"]:
        typer.echo(typer.style(f"  refused: {refusal}", fg=typer.colors.RED))
    if server["outside"]:
        sight = server["outside"]
        color = typer.colors.RED if sight["state"] == "failed" else None
        line = f"  from outside: serial {sight['serial']} {sight['state']} {sight['why']}".rstrip()
        typer.echo(typer.style(line, fg=color))
    if server["parent"]:
        typer.echo(f"  parent: {server['parent']}")


def _next_rolls(signed: SignedZone) -> list[dict[str, Any]]:
    from quada.zones.keys import KeyRole

    policy, out = signed.policy.rollover, []
    for ring in signed.state.rings:
        lifetime_s = policy.zsk_lifetime_s if ring.role is KeyRole.ZSK else policy.ksk_lifetime_s
        if ring.is_staying and lifetime_s:
            what = f"a new {ring.role.upper()} is made to replace {ring.key[1]}"
            out.append({"at_s": ring.made_at + lifetime_s, "what": what})
    return out


def _time(at_s: int | None) -> str:
    return "?" if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
