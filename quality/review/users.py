"""`python -m quality.review users`: the accounts. Passwords are asked for, or read from the first line of standard input; never an argument."""

import getpass
import sys
from collections.abc import Sequence

from sqlalchemy import Connection, Row, select

from quality.command import EXIT_DONE, Parser, UsageError, pool_at, say
from quality.review.server.audit import Actor, record
from quality.review.server.auth import ROLES, AccountError, account_of, add_account, set_disabled, set_password
from quality.review.server.database import ENVIRONMENT, PATH, open_database, url_of
from quality.review.server.models import accounts

_EXAMPLES = """examples:
  python -m quality.review users add ann --role lead --dataset pigment-data
  python -m quality.review users add ben --dataset pigment-data < password.txt
  python -m quality.review users list --dataset pigment-data
  python -m quality.review users password ben --dataset pigment-data
  python -m quality.review users disable ben --dataset pigment-data

An account is never removed: its answers stay, and so does its name. A new password and `disable` end its log-ins.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    p = Parser(prog="python -m quality.review users", description="The accounts of the review application.", epilog=_EXAMPLES)
    p.add_argument("act", choices=("add", "list", "password", "disable", "enable"), help="what to do")
    p.add_argument("name", nargs="?", help="of the account")
    p.add_argument("--role", choices=ROLES, help="of a new account (default: annotator)")
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--database", metavar="URL", help=f"sqlite:///FILE or postgresql://… (default: {ENVIRONMENT}, else <dataset>/{PATH})")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    if (args.name is None) != (args.act == "list"):
        raise UsageError(f"users {args.act} {'takes no name' if args.act == 'list' else 'needs a name'}")
    if args.role is not None and args.act != "add":
        raise UsageError("--role goes with add")
    pool = pool_at(args.dataset)
    database = open_database(url_of(pool.store, args.database))
    try:
        if args.act == "list":
            with database.read() as connection:
                for row in connection.execute(select(accounts).order_by(accounts.c.name)):
                    say(f"{row.name:<34}{row.role:<12}{'disabled' if row.disabled else ''}".rstrip())
            return EXIT_DONE
        with database.write() as connection:
            found = account_of(connection, args.name)
        if args.act != "add" and found is None:
            raise UsageError(f"there is no account {args.name!r}; see: python -m quality.review users list")
        password = _password() if args.act in ("add", "password") else ""
        with database.write() as connection:
            _act(connection, args.act, args.name, args.role or "annotator", found, password)
        say(f"{args.name}: {_DONE[args.act]}")
    except AccountError as error:
        raise UsageError(str(error)) from error
    finally:
        database.close()
    return EXIT_DONE


_DONE = {"add": "added", "password": "password changed, log-ins ended", "disable": "disabled, log-ins ended", "enable": "may log in again"}


def _act(connection: Connection, act: str, name: str, role: str, found: Row | None, password: str) -> None:
    if act == "add":
        add_account(connection, name, role, password)
    elif found is not None and act == "password":
        set_password(connection, found.id, password)
    elif found is not None:
        set_disabled(connection, found.id, act == "disable")
    detail = {"what": act, "name": name, **({"role": role} if act == "add" else {})}
    record(connection, Actor(), "account", detail=detail)


def _password() -> str:
    """Asked for twice on a terminal; else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("the two passwords differ; nothing was changed")
    return password
