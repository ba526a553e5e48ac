"""`quada dnssec skr`: signatures made ahead of time by a KSK that no server has."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import quada.wire.codes as codes
import quada.wire.names as names
from quada.cli.output import faults_exit, print_json, zone_name
from quada.disk import replacing
from quada.wire.faults import DataFault

if TYPE_CHECKING:
    from quada.store.token import Token
    from quada.zones.keys import Key
    from quada.zones.offline import Request

StateDir = Annotated[Path, typer.Option(help="State directory of the server.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

Module = Annotated[
    Path | None, typer.Option("--pkcs11-module", help="The token's library (PKCS#11).")
]
TokenLabel = Annotated[str, typer.Option("--pkcs11-token", help="The token's label.")]
PinFile = Annotated[Path | None, typer.Option(help="File with the token's PIN.")]
KeyLabel = Annotated[str, typer.Option(help="The key's label; the zone's name if not given.")]

skr = typer.Typer(help="Have an offline KSK sign ahead of time.", no_args_is_help=True)


@skr.command()
def request(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    output: Output,
    days: Annotated[int, typer.Option(help="How long the signatures are to last.")] = 365,
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Write what the KSK is to sign, and make the ZSKs that the time takes."""
    import quada.api.offline as offline
    import quada.api.signing as signing
    from quada.store.keys import KeyStore
    from quada.zones.offline import write_request

    with faults_exit(as_json=as_json):
        store = KeyStore.open(state_dir)
        signed, asked = offline.request_signatures(
            signing.load(store, zone_name(zone)), int(time.time()), days, store.shelf.make_key
        )
        store.save(signed)
        _write(output, write_request(asked))
        _tell(asked, as_json=as_json)


@skr.command()
def replace(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    offline_ksk: Annotated[Path, typer.Option(help="Public file of the new KSK.")],
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Have another offline KSK replace the present one: then request, sign with both, import."""
    import quada.api.offline as offline
    import quada.api.signing as signing
    from quada.store.keys import KeyStore
    from quada.zones.signature import key_tag

    with faults_exit(as_json=as_json):
        store, origin = KeyStore.open(state_dir), zone_name(zone)
        dnskey = read_public_key(offline_ksk, origin)
        signed = offline.replace_offline(
            signing.load(store, origin), dnskey, int(time.time()), store.shelf.make_key
        )
        store.save(signed)
        if as_json:
            print_json({"zone": names.to_text(origin), "tag": key_tag(dnskey)})
        else:
            typer.echo(f"KSK {key_tag(dnskey)} comes once both KSKs have signed a new request")


@skr.command()
def key(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    output: Output,
    module: Module = None,
    token: TokenLabel = "quada",
    pin_file: PinFile = None,
    label: KeyLabel = "",
    algorithm: Annotated[
        str, typer.Option(help="ecdsap256sha256, ecdsap384sha384 or rsasha256.")
    ] = ("ecdsap256sha256"),
    as_json: AsJson = False,
) -> None:
    """Make a KSK in a PKCS#11 token, which it never leaves, and write its public file."""
    from quada.api.signing import read_algorithm
    from quada.store.token import public_key_text
    from quada.zones.signature import key_tag

    with faults_exit(as_json=as_json):
        origin = zone_name(zone)
        held, name = _token(module, token, pin_file), label or names.to_text(origin)
        held.make_key(name, read_algorithm(algorithm))
        dnskey = held.dnskey(name)
        held.close()
        _write(output, public_key_text(origin, dnskey))
        if as_json:
            print_json({"zone": names.to_text(origin), "tag": key_tag(dnskey), "label": name})
        else:
            typer.echo(f"KSK {key_tag(dnskey)} is in the token as {name}")


@skr.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The request.")],
    output: Output,
    key: Annotated[
        Path | None, typer.Option(help="The KSK in BIND's files: Kexample.com.+013+12345.")
    ] = None,
    module: Module = None,
    token: TokenLabel = "quada",
    pin_file: PinFile = None,
    label: KeyLabel = "",
    beside: Annotated[
        Path | None,
        typer.Option(help="Public file of the other KSK, while one replaces another."),
    ] = None,
    may_remove: Annotated[
        bool, typer.Option("--removal", help="Sign that the parent is to remove its DS, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign a request: on the machine that has the KSK, in files or in a PKCS#11 token."""
    from quada.zones.keys import Key, KeyRole
    from quada.zones.offline import read_request, sign_request, write_response

    with faults_exit(as_json=as_json):
        asked = read_request(_read(file), str(file))
        other = None if beside is None else read_public_key(beside, asked.zone)
        if key is not None:
            known = read_key(key, asked.zone)
            made = sign_request(asked, known, beside=other, may_remove=may_remove)
        else:
            held, name = _token(module, token, pin_file), label or names.to_text(asked.zone)
            ksk = Key(asked.zone, KeyRole.KSK, held.dnskey(name))
            made = sign_request(asked, ksk, held.signer(name), beside=other, may_remove=may_remove)
            held.close()
        _write(output, write_response(asked.zone, made))
        _tell(asked, as_json=as_json)


@skr.command("import")
def import_(
    zone: Annotated[str, typer.Argument(help="The zone's name.")],
    file: Annotated[Path, typer.Argument(help="What the KSK has signed.")],
    state_dir: StateDir = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Take the signatures, each checked; the server uses them from its next tick."""
    import quada.api.offline as offline
    import quada.api.signing as signing
    from quada.store.keys import KeyStore
    from quada.zones.offline import lasts_until, read_response

    with faults_exit(as_json=as_json):
        store, origin = KeyStore.open(state_dir), zone_name(zone)
        about, made = read_response(_read(file), str(file))
        if about != origin:
            raise DataFault(f"it is about {names.to_text(about)}", place=str(file))
        signed = offline.import_signatures(signing.load(store, origin), made, int(time.time()))
        store.save(signed)
        until_s = lasts_until(signed.presigned)
        if as_json:
            print_json({"zone": names.to_text(origin), "until": until_s})
        else:
            typer.echo(f"{names.to_text(origin)}: signed ahead until {_time(until_s)}")


def read_key(path: Path, zone: bytes) -> Key:
    """Read a key of a zone from BIND's two files. Raises: DataFault."""
    from quada.zones.keyfile import read_key_files

    stem = str(path).removesuffix(".key").removesuffix(".private")
    public, private = (_read(Path(stem + end)) for end in (".key", ".private"))
    key = read_key_files(public, private, stem)
    if key.zone != zone:
        raise DataFault(f"the key is of {names.to_text(key.zone)}", place=stem)
    return key


def read_public_key(path: Path, zone: bytes) -> bytes:
    """Read the DNSKEY of a zone's key from its public file alone. Raises: DataFault."""
    from quada.zones.keyfile import read_public

    about, dnskey = read_public(_read(path), str(path))
    if about != zone:
        raise DataFault(f"the key is of {names.to_text(about)}", place=str(path))
    return dnskey


def _token(module: Path | None, label: str, pin_file: Path | None) -> Token:
    from quada.store.token import Token

    if module is None or pin_file is None:
        raise DataFault(
            "no key is named", place="--key", remedy="give --key, or --pkcs11-module and --pin-file"
        )
    return Token(module, label, _read(pin_file).strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise DataFault(f"cannot read it: {error.strerror}", place=str(path)) from error


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(text + "\n")
    except OSError as error:
        raise DataFault(f"cannot write it: {error.strerror}", place=str(path)) from error


def _tell(asked: Request, *, as_json: bool) -> None:
    """Show what is signed, and from when to when: whoever holds the KSK should look."""
    from quada.zones.signature import key_tag

    rows: list[dict[str, Any]] = [
        {
            "type": {codes.DNSKEY: "DNSKEY", codes.CDS: "CDS"}.get(rrset.rdtype, "CDNSKEY"),
            "keys": [key_tag(one) for one in rrset.rdatas if rrset.rdtype != codes.CDS],
            "signatures": len(windows),
            "from": windows[0].inception_s,
            "until": windows[-1].expiration_s,
        }
        for rrset, windows in asked.asked
    ]
    if as_json:
        print_json({"zone": names.to_text(asked.zone), "rrsets": rows})
        return
    for row in rows:
        keys = " ".join(str(tag) for tag in row["keys"])
        typer.echo(
            f"{row['type']:8} {keys:24} {row['signatures']} signatures, "
            f"{_time(row['from'])} to {_time(row['until'])}"
        )


def _time(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
