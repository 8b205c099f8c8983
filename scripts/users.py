"""Manage the server's accounts: ``python scripts/users.py add ann``, ``... token create ann``."""

import argparse
import datetime
import getpass
import sys
from collections.abc import Callable
from typing import get_args

from fashion.cli import ArgumentParser, with_exit_status
from fashion.errors import InputError
from fashion.server import environment
from fashion.server.storage.accounts import DEFAULT_NAME, DEFAULT_PASSWORD, Accounts, Role
from fashion.server.storage.database import DEFAULT_DATABASE_URL

Action = Callable[[Accounts, argparse.Namespace], None]


def main() -> None:
    """Do what the command line asks for."""
    options = _options()
    only_reads = options.action in (_list, _token_list)
    database_url = options.database_url or environment.database_url() or DEFAULT_DATABASE_URL
    accounts = Accounts(database_url, create=not only_reads)
    if only_reads:
        accounts.database.require_schema()
    else:
        accounts.upgrade()
    options.action(accounts, options)


def _add(accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.add(options.name, _password(), options.role)
    print(f"account {options.name} added")


def _passwd(accounts: Accounts, options: argparse.Namespace) -> None:
    tokens = accounts.set_password(options.name, _password())
    print(f"account {options.name} has a new password; tokens that stay valid: {tokens}")


def _remove(accounts: Accounts, options: argparse.Namespace) -> None:
    tokens = accounts.remove(options.name)
    print(f"account {options.name} removed; tokens removed with it: {tokens}")


def _list(accounts: Accounts, options: argparse.Namespace) -> None:
    _print_table(
        ("NAME", "ROLE", "CREATED (UTC)"),
        [(account.name, account.role, _minute(account.created)) for account in accounts.all()],
    )
    if accounts.has_default_account():
        print(
            f"warning: {DEFAULT_NAME} / {DEFAULT_PASSWORD} is a valid log-in that everybody knows; "
            f"change it: users.py passwd {DEFAULT_NAME}",
            file=sys.stderr,
        )


def _token_create(accounts: Accounts, options: argparse.Namespace) -> None:
    token = accounts.create_token(options.name, options.label, options.expires_days)
    print("shown only once; send it as the header `Authorization: Bearer TOKEN`:", file=sys.stderr)
    print(token)


def _token_list(accounts: Accounts, options: argparse.Namespace) -> None:
    _print_table(
        ("ID", "ACCOUNT", "LABEL", "CREATED (UTC)", "EXPIRES", "LAST USED"),
        [
            (
                str(token.id),
                token.account,
                token.label or "-",
                _minute(token.created),
                "expired" if token.expired else _minute(token.expires),
                _minute(token.last_used),
            )
            for token in accounts.tokens(options.name)
        ],
    )


def _token_revoke(accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.revoke_token(options.id)
    print(f"token {options.id} revoked")


def _password() -> str:
    """Prompt for a password twice, or read the first line of a standard input that is not a terminal."""
    if not sys.stdin.isatty():
        try:
            return sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise InputError("password: standard input is not text in UTF-8") from None
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Repeat password: ")
    except EOFError:
        raise InputError("password: none was given; nothing was changed") from None
    if password != again:
        raise InputError("password: the two entries differ; nothing was changed, try again")
    return password


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _minute(time: datetime.datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "never"


def _options() -> argparse.Namespace:
    parser = ArgumentParser(
        description="Manage the server's accounts and tokens; a running server applies each change within a second.",
        epilog="Passwords are prompted for, or read from standard input if it is not a terminal: "
        "`users.py add ann < secret.txt`. Every command accepts --database-url, the server's server.database_url.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    add = _command(commands, "add", _add, "add an account")
    add.add_argument("name", metavar="NAME", help="1 to 64 letters, digits and . _ @ + -; case-sensitive")
    add.add_argument("--role", choices=get_args(Role), default="user", help="(default: %(default)s)")

    passwd = _command(commands, "passwd", _passwd, "change an account's password; its tokens stay valid")
    passwd.add_argument("name", metavar="NAME")

    remove = _command(commands, "remove", _remove, "remove an account and its tokens")
    remove.add_argument("name", metavar="NAME")

    _command(commands, "list", _list, "list the accounts")

    token = commands.add_parser("token", help="manage tokens for programs: token create | list | revoke")
    token_commands = token.add_subparsers(title="commands", metavar="COMMAND", required=True)

    create = _command(token_commands, "create", _token_create, "create a token and print it, once")
    create.add_argument("name", metavar="NAME", help="the account that it authenticates")
    create.add_argument("--label", default="", help="what it is for, shown in the list")
    create.add_argument("--expires-days", type=int, metavar="DAYS", help="days until it expires (default: never)")

    tokens = _command(token_commands, "list", _token_list, "list the tokens, without their secrets")
    tokens.add_argument("name", metavar="NAME", nargs="?", help="only those of this account")

    revoke = _command(token_commands, "revoke", _token_revoke, "revoke a token")
    revoke.add_argument("id", metavar="ID", type=int, help="its id in the list")
    return parser.parse_args()


def _command(
    commands: "argparse._SubParsersAction[ArgumentParser]", name: str, action: Action, what: str
) -> ArgumentParser:
    parser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.set_defaults(action=action)
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/NAME; give its password in PGPASSWORD or ~/.pgpass, as other "
        "users can see a command's arguments (default: the server's FASHION_DATABASE_URL, without it "
        f"{DEFAULT_DATABASE_URL})",
    )
    return parser


if __name__ == "__main__":
    with_exit_status(main)
