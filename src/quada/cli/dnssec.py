"""`quada dnssec`: zones signed, keys rolled, the plan told, the outcome verified from outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import quada.wire.names as names
from quada.cli.dnssec_check import register_checks
from quada.cli.output import FOUND, faults_exit, print_json, zone_name
from quada.cli.skr import read_key, read_public_key, skr
from quada.cli.tokens import tokens
from quada.wire.faults import DataFault, ReachFault

if TYPE_CHECKING:
    from quada.store.keys import KeyStore, SignedZone

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
ZoneName = Annotated[str, typer.Argument(help="The zone's name.")]

app = typer.Typer(help="Sign zones, roll keys, verify from outside.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the verb."""
    register_checks(app)
    app.add_typer(skr, name="skr")
    app.add_typer(tokens, name="token")
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
    offline_ksk: Annotated[
        Path | None,
        typer.Option(help="The KSK is elsewhere: its public file, Kexample.com.+013+12345.key."),
    ] = None,
    in_token: Annotated[
        list[str] | None,
        typer.Option(help="Make new keys of this role (ksk, zsk, csk) in the token. Repeatable."),
    ] = None,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Sign a zone from now on; keys are made here, or taken over, and sealed at rest."""
    import quada.api.offline as offline
    import quada.api.signing as signing
    from quada.store.keys import SignedZone

    with faults_exit(as_json=as_json):
        wanted = signing.Wanted(
            algorithm, has_pair, has_nsec3, has_opt_out, has_double_ds, lifetime_days, zsk_days,
            ksk_days, tuple(in_token or ()),
        )  # fmt: skip
        policy = signing.policy_of(wanted)
        store, origin = _store(state_dir, may_make=True), zone_name(zone)
        known = store.load(origin)
        if known is not None and (key_file or offline_ksk):
            raise DataFault("the zone is signed here already", place=zone)
        if offline_ksk is not None:
            dnskey = read_public_key(offline_ksk, origin)
            now_s = int(time.time())
            store.save(offline.enable_offline(origin, wanted, dnskey, now_s, store.shelf.make_key))
        elif key_file:
            store.save(_taken_over(SignedZone(origin, policy), key_file))
        else:
            store.save(signing.enable(known, origin, wanted))
        _tell(origin, state_dir, as_json=as_json)


@app.command()
def disable(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Take a zone back to unsigned: DS first, keys and signatures only once it is gone."""
    import quada.api.signing as signing

    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        store.save(signing.disable(signed))
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
    import quada.api.signing as signing

    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        if is_cancelled:
            rolled = signing.turn_back(signed)
        else:
            rolled = signing.roll(
                signed, int(time.time()), role=role, algorithm=algorithm, make=store.shelf.make_key
            )
        store.save(rolled)
        _tell(signed.zone, state_dir, as_json=as_json)


@app.command()
def status(
    zone: Annotated[str, typer.Argument(help="One zone; all if not given.")] = "",
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Tell each signed zone's keys and what they do."""
    from quada.api.signing import signed_data

    with faults_exit(as_json=as_json):
        store = _store(state_dir)
        origins = [zone_name(zone)] if zone else store.zones()
        out = []
        for origin in origins:
            signed = _load(names.to_text(origin), state_dir)[1]
            out.append({**signed_data(signed), "server": _server_side(origin, state_dir)})
        if as_json:
            print_json(out)
            return
        for one in out:
            _print_status(one)


@app.command()
def plan(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Tell the steps to come: when at the earliest, what, why, and what each waits for."""
    from quada.api.signing import outlook, outlook_data

    with faults_exit(as_json=as_json):
        told = outlook(_load(zone, state_dir)[1], int(time.time()))
        if as_json:
            print_json(outlook_data(told))
            return
        for step in told.steps:
            typer.echo(f"{_time(step.at_s)}  {step.what}")
            typer.echo(f"    why: {step.why}")
            if step.held:
                typer.echo(f"    {step.held}")
        if not told.steps:
            typer.echo("no step is due")
        for one in told.rollovers:
            typer.echo(f"{_time(one.at_s)}  {one.what}")


@app.command()
def ds(zone: ZoneName, state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """Print the DS records for the parent; exit code 1 while it must not have them yet."""
    from quada.api.signing import ds_lines

    with faults_exit(as_json=as_json):
        signed = _load(zone, state_dir)[1]
        name = names.to_text(signed.zone)
        lines = ds_lines(signed)
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
    import quada.api.signing as signing

    with faults_exit(as_json=as_json):
        store, signed = _load(zone, state_dir)
        store.save(signing.see(signed, tag or (), int(time.time())))
        _tell(signed.zone, state_dir, as_json=as_json)


def _taken_over(signed: SignedZone, files: list[Path]) -> SignedZone:
    """Give a zone the keys it was signed with elsewhere, and the policy that fits them."""
    from quada.zones.keyfile import taken_over
    from quada.zones.keys import KeyRole
    from quada.zones.keystate import key_id

    read = [read_key(path, signed.zone) for path in files]
    state, keys = taken_over(read, int(time.time()))
    rolling = signed.policy.rollover._replace(
        algorithm=keys[0].algorithm, has_csk=any(key.role is KeyRole.CSK for key in keys)
    )
    policy = signed.policy._replace(rollover=rolling)
    return signed._replace(
        policy=policy, state=state, keys={key_id(key.dnskey): key for key in keys}
    )


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
    from quada.api.signing import load

    store = _store(state_dir)
    return store, load(store, zone_name(zone))


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
        parts += ["in the token"] if tag in one["in_token"] else []
        typer.echo(f"  {role} {tag} {key['algorithm']}: {state}; {', '.join(parts) or 'idle'}")
    server = one["server"]
    if server is None:
        typer.echo("  no server runs here")
        return
    for held in server["held"]:
        typer.echo(f"  held: {held['what']}: {held['waits_for']}")
    for name in server["signals"]:
        typer.echo(f"  signalled at {name}")
    if server["presigned_until"]:
        typer.echo(f"  signed ahead by the offline KSK until {_time(server['presigned_until'])}")
    if server["token"]:
        typer.echo(typer.style(f"  token: {server['token']}", fg=typer.colors.RED))
    for refusal in server["refused"]:
        typer.echo(typer.style(f"  refused: {refusal}", fg=typer.colors.RED))
    if server["outside"]:
        sight = server["outside"]
        color = typer.colors.RED if sight["state"] == "failed" else None
        line = f"  from outside: serial {sight['serial']} {sight['state']} {sight['why']}".rstrip()
        typer.echo(typer.style(line, fg=color))
    if server["parent"]:
        typer.echo(f"  parent: {server['parent']}")


def _time(at_s: int | None) -> str:
    return "?" if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
