"""`quada token` and `quada user`: who may use the API and the console."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quada.api.access import ADMIN, check_scopes
from quada.cli.output import faults_exit, print_json
from quada.cli.stored import StateDir
from quada.store.accounts import FILE, Accounts

token_app = typer.Typer(help="Tokens for the API.", no_args_is_help=True)
user_app = typer.Typer(help="Users of the console.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name.")]
Scope = Annotated[
    list[str] | None,
    typer.Option("--scope", help="`read`, `records:ZONE`, `agent` or `admin`. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DAY_S = 86_400


def register(root: typer.Typer) -> None:
    """Add the verbs."""
    root.add_typer(token_app, name="token")
    root.add_typer(user_app, name="user")


def _accounts(state_dir: Path) -> Accounts:
    return Accounts.open(state_dir / FILE)


@token_app.command("add")
def add_token(
    name: Name,
    scope: Scope = None,
    days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0 is never.")] = 0,
    state_dir: StateDir = Path("var"),
) -> None:
    """Make a token and print it; it cannot be shown again."""
    with faults_exit():
        now_s = int(time.time())
        scopes = check_scopes(tuple(scope or ()))
        expires_at = now_s + days * _DAY_S if days else None
        accounts = _accounts(state_dir)
        secret = accounts.add_token(name, scopes, now_s, expires_at)
        accounts.audit(now_s, "command line", "", "token added", f"{name}: {' '.join(scopes)}")
        typer.echo(secret)


@token_app.command("list")
def list_tokens(state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """List tokens: names and scopes, never the tokens."""
    with faults_exit(as_json=as_json):
        tokens = _accounts(state_dir).tokens()
        if as_json:
            print_json([token._asdict() for token in tokens])
            return
        for token in tokens:
            ends = _day(token.expires_at) if token.expires_at else "never expires"
            typer.echo(f"{token.name}\t{' '.join(token.scopes)}\t{ends}")


@token_app.command("remove")
def remove_token(name: Name, state_dir: StateDir = Path("var")) -> None:
    """Remove a token; it is void at once."""
    with faults_exit():
        accounts = _accounts(state_dir)
        accounts.remove_token(name)
        accounts.audit(int(time.time()), "command line", "", "token removed", name)


@user_app.command("add")
def add_user(name: Name, scope: Scope = None, state_dir: StateDir = Path("var")) -> None:
    """Add a user and print a link that lets them in once, to set a password."""
    with faults_exit():
        now_s = int(time.time())
        scopes = check_scopes(tuple(scope or (ADMIN,)))
        accounts = _accounts(state_dir)
        accounts.add_user(name, scopes, now_s)
        accounts.audit(now_s, "command line", "", "user added", f"{name}: {' '.join(scopes)}")
        typer.echo(f"/login?once={accounts.make_link(name, now_s)}")


@user_app.command("link")
def link(name: Name, state_dir: StateDir = Path("var")) -> None:
    """Print a link that lets a user in once, within the hour."""
    with faults_exit():
        accounts = _accounts(state_dir)
        if accounts.user(name) is None:
            from quada.wire.faults import DataFault

            raise DataFault("there is no such user", place=name)
        typer.echo(f"/login?once={accounts.make_link(name, int(time.time()))}")


@user_app.command("list")
def list_users(state_dir: StateDir = Path("var"), as_json: AsJson = False) -> None:
    """List users."""
    with faults_exit(as_json=as_json):
        users = _accounts(state_dir).users()
        if as_json:
            print_json([user._asdict() for user in users])
            return
        for user in users:
            how = "password" if user.has_password else "login link only"
            typer.echo(f"{user.name}\t{' '.join(user.scopes)}\t{how}")


@user_app.command("passwd")
def passwd(
    name: Name,
    state_dir: StateDir = Path("var"),
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)
    ] = "",
) -> None:
    """Set a user's password, which ends their sessions."""
    with faults_exit():
        accounts = _accounts(state_dir)
        accounts.set_password(name, password)
        accounts.audit(int(time.time()), "command line", "", "password set", name)


@user_app.command("remove")
def remove_user(name: Name, state_dir: StateDir = Path("var")) -> None:
    """Remove a user and end their sessions."""
    with faults_exit():
        accounts = _accounts(state_dir)
        accounts.remove_user(name)
        accounts.audit(int(time.time()), "command line", "", "user removed", name)


def _day(seconds: int) -> str:
    return time.strftime("until %Y-%m-%d", time.gmtime(seconds))
