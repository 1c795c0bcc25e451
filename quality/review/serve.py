"""`python -m quality.review serve`: the review application. `--help` has examples."""

import argparse
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import uvicorn
from sqlalchemy import func, select

from quality.command import EXIT_DONE, Parser, UsageError, pool_at, say
from quality.review.server.app import make_app
from quality.review.server.audit import Actor, record
from quality.review.server.database import ENVIRONMENT, PATH, Database, open_database, url_of
from quality.review.server.load import load_tasks, overlap
from quality.review.server.models import accounts
from quality.review.server.rehearsal import rehearse
from quality.review.server.settings import Settings, read_settings, write_settings
from schemas.pool import Pool
from schemas.removals import removals

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_EXAMPLES = f"""examples:
  python -m quality.review tasks --dataset pigment-data
  python -m quality.review users add ann --role lead --dataset pigment-data
  python -m quality.review serve --dataset pigment-data
      on http://127.0.0.1:8350, for this machine alone
  python -m quality.review serve --dataset pigment-data --behind_proxy --allow_host review.example.org
      behind a web server on this machine that speaks https and sends X-Forwarded-For and X-Forwarded-Proto
  {ENVIRONMENT}=postgresql://pigment:SECRET@db/review python -m quality.review serve --dataset pigment-data

Settings given by flags are kept in the database, as if a lead had changed them on the page.
New tasks are read when the server starts. Ctrl-C ends it; it may be killed at any moment, what was saved stays.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    p = Parser(prog="python -m quality.review serve", description="The review application.", epilog=_EXAMPLES)
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--database", metavar="URL", help=f"sqlite:///FILE or postgresql://… (default: {ENVIRONMENT}, else <dataset>/{PATH})")
    p.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on")
    p.add_argument("--port", metavar="N", type=int, default=8350, help="port to listen on; 0: any that is free")
    p.add_argument(
        "--allow_host", metavar="NAME", action="append", default=[], help="a name that browsers may ask for this server by; repeatable"
    )
    p.add_argument("--behind_proxy", action="store_true", help="a web server on this machine speaks https and forwards to us")
    p.add_argument("--certificate", metavar="FILE", help="speak https ourselves: certificate chain, PEM")
    p.add_argument("--certificate_key", metavar="FILE", help="its key, PEM")
    group = p.add_argument_group("settings (default: what the database has)")
    for each in fields(Settings):
        kind = type(each.default)
        metavar = "0|1" if kind is bool else "NAME,NAME" if kind is tuple else "N"
        default = ",".join(each.default) if isinstance(each.default, tuple) else f"{each.default:g}"
        group.add_argument(f"--{each.name}", metavar=metavar, help=f"{each.metadata['meaning']} (at first: {default})")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until it is interrupted; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    if bool(args.certificate) != bool(args.certificate_key):
        raise UsageError("--certificate and --certificate_key go together")
    secure = bool(args.certificate) or args.behind_proxy
    if not secure and args.host not in _LOOPBACK:
        raise UsageError(
            f"--host {args.host}: passwords would cross the network unencrypted; give --certificate and --certificate_key, or keep "
            "127.0.0.1 and put a web server with https before it (--behind_proxy)"
        )
    if args.behind_proxy and not args.certificate and args.host not in _LOOPBACK:
        raise UsageError(
            f"--host {args.host} --behind_proxy: between the web server and us passwords are unencrypted; keep --host 127.0.0.1"
        )
    pool = pool_at(args.dataset)
    listed = _listed_pairs(pool)
    database = open_database(url_of(pool.store, args.database))
    _take_settings(database, args)
    loaded = load_tasks(database, pool, listed)
    rehearse(database, pool.store)
    listening = _listen(args.host, args.port)
    port = listening.getsockname()[1]
    say(
        f"{loaded.total:,} tasks, {loaded.added:,} of them new"
        + (f"; {loaded.blocked:,} not shown: on a block list" if loaded.blocked else "")
    )
    with database.read() as connection:
        leads = connection.execute(
            select(func.count()).select_from(accounts).where(accounts.c.role == "lead", ~accounts.c.disabled)
        ).scalar_one()
    if not leads:
        say(f"There is no lead yet: python -m quality.review users add NAME --role lead --dataset {args.dataset}")
    scheme, host = "https" if args.certificate else "http", f"[{args.host}]" if ":" in args.host else args.host
    say(f"Serving on {scheme}://{host}:{port}/  (Ctrl-C ends)")
    hosts = (
        _LOOPBACK | {args.host, *(name.lower() for name in args.allow_host)}
        if args.host not in ("0.0.0.0", "::") or args.allow_host
        else None
    )
    app = make_app(database, pool.store, secure=secure, hosts=hosts)
    config = uvicorn.Config(
        app, log_level=logging.WARNING, access_log=False, server_header=False, lifespan="on", proxy_headers=args.behind_proxy,
        forwarded_allow_ips="127.0.0.1", ssl_certfile=args.certificate, ssl_keyfile=args.certificate_key, timeout_keep_alive=75,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        database.close()
    return EXIT_DONE


def _listed_pairs(pool: Pool) -> Any:
    """What tells pairs on block lists, or None where the environment names no lists and nothing was removed."""
    if "PIGMENT_BLOCK_LISTS" not in os.environ and not removals(pool.store):
        return None
    from quality.block_lists import BlockListError, read_lists
    from quality.review.server.listed import ListedPairs

    try:
        return ListedPairs(pool, read_lists(pool.store))
    except BlockListError as error:
        raise UsageError(str(error)) from error


def _take_settings(database: Database, args: argparse.Namespace) -> None:
    given = {each.name: getattr(args, each.name) for each in fields(Settings) if getattr(args, each.name) is not None}
    if not given:
        return
    with database.write() as connection:
        old = read_settings(connection)
        try:
            new = old.changed(given)
        except ValueError as error:
            raise UsageError(f"--{error}") from error
        if new != old:
            write_settings(connection, new)
            overlap(connection, new.overlap_share)
            record(
                connection, Actor(), "settings", detail={name: value for name, value in asdict(new).items() if value != asdict(old)[name]}
            )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens already: who sees our line about it can connect."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off: an answer took 40 ms more (measured).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; give another --host or --port"
        ) from error
    listening.listen(512)
    return listening
