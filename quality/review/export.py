"""`python -m quality.review export`: the standing answers of the database, as reviews/decisions.parquet."""

from collections.abc import Sequence

from quality.command import EXIT_DONE, Parser, pool_at, say
from quality.review.server.audit import Actor, record
from quality.review.server.database import ENVIRONMENT, PATH, open_database, url_of
from quality.review.server.standing import export
from schemas.reviews import ANSWERS_PATH

_EXAMPLES = """examples:
  python -m quality.review export --dataset pigment-data
  python -m pipelines.ingest --dataset pigment-data --start_at select
      a new release, by the policy and what people decided

Answers that the file has from other tools are kept. The same is behind the button on the lead's page, while the server runs.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    p = Parser(prog="python -m quality.review export", description="Writes the standing answers.", epilog=_EXAMPLES)
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--database", metavar="URL", help=f"sqlite:///FILE or postgresql://… (default: {ENVIRONMENT}, else <dataset>/{PATH})")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    store = pool_at(args.dataset).store
    database = open_database(url_of(store, args.database))
    try:
        with database.write() as connection:
            ours, kept = export(connection, store)
            record(connection, Actor(), "export", detail={"answers": ours, "kept": kept})
    finally:
        database.close()
    say(f"{ours:,} answers written to {store.path_of(ANSWERS_PATH)}" + (f"; {kept:,} of other tools kept" if kept else ""))
    return EXIT_DONE
