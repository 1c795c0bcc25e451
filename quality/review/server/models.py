"""The tables of the review's database. Times are milliseconds since 1970, UTC.

A task has as many seats as people are to answer it. A seat is free, reserved for one person until a time, answered, or closed; one person
never has two seats of a task. Who did what is in the journal, which is only ever added to: an undo is a record of its own.
"""

from typing import Final

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

VERSION: Final = "1"  # of these tables
metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER

accounts = Table(
    "accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(10), nullable=False),  # annotator or lead
    Column("password", Text, nullable=False),  # argon2id, in its own encoding
    Column("disabled", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("shown", Integer, nullable=False),  # images in this sitting
    Column("last_shown", BigInteger, nullable=False),
    Column("dealt", Integer, nullable=False),  # items ever handed out
)
sessions = Table(
    "sessions",
    metadata,
    Column("token", String(64), primary_key=True),  # SHA-256 of the cookie's
    Column("account", _Id, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
)
attempts = Table(  # log-ins that failed or are under way
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", String(64), nullable=False),  # SHA-256 of an account's name or an address
    Column("time", BigInteger, nullable=False),
    Index("attempts_of", "key", "time"),
)
tasks = Table(  # schemas.reviews.TASKS, and where the review of each stands
    "tasks",
    metadata,
    Column("task", String(32), primary_key=True),
    Column("uid", String(64)),
    Column("question", String(64), nullable=False),
    Column("queue", String(16), nullable=False),
    Column("release", Text),
    Column("verdict", String(16)),
    Column("reasons", JSON),
    Column("caption", Text),
    Column("unit", Text),
    Column("row", Integer),
    Column("tar", Text),
    Column("offset", BigInteger),
    Column("size", BigInteger),
    Column("column", Text),
    Column("value", Text),
    Column("bound", Text),
    Column("license", Text),
    Column("license_url", Text),
    Column("creator", Text),
    Column("title", Text),
    Column("source_page", Text),
    Column("sampling_probability", Float),
    Column("overlap", Integer, nullable=False),
    Column("gold", String(3)),
    Column("order", Integer, nullable=False),
    Column("draw", Float, nullable=False),  # 0..1, from the task's hash: below the overlap share it has a second seat
    Column("state", String(12), nullable=False),  # quality.review.server.answers.STATES
    Column("adjudication", _Id),  # the journal's record that settles it
    Column("blocked", Boolean, nullable=False),
    Index("tasks_by_state", "state", "queue", "order"),
    Index("tasks_by_queue", "queue", "order"),
)
seats = Table(
    "seats",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("task", String(32), ForeignKey("tasks.task"), nullable=False),
    Column("queue", String(16), nullable=False),
    Column("order", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("account", _Id),  # of a seat that is reserved or answered
    Column("until", BigInteger),  # of a reserved seat
    Column("since", BigInteger),  # when it was reserved
    Column("revealed", Boolean, nullable=False),  # whether that person saw the sharp image
    Column("record", _Id),  # the journal's record of the standing answer
    UniqueConstraint("task", "account"),
    Index("seats_in_order", "state", "order", "queue", "id"),  # in the order of dealing: else all that are free are sorted
    Index("seats_of", "account", "state"),
)
skips = Table(
    "skips",
    metadata,
    Column("task", String(32), primary_key=True),
    Column("account", _Id, primary_key=True),
)
journal = Table(
    "journal",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("account", _Id),
    Column("address", String(64)),
    Column("act", String(20), nullable=False),  # quality.review.server.audit.ACTS
    Column("task", String(32)),
    Column("answer", String(6)),
    Column("reasons", JSON),
    Column("note", Text),
    Column("seconds", Float),
    Column("revealed", Boolean),
    Column("blurred", Boolean),
    Column("grey", Boolean),
    Column("undoes", _Id),
    Column("key", String(40)),  # the client's: an act that is sent twice is recorded once
    Column("bulk", String(32)),
    Column("detail", JSON),
    Column("tool", Text),
    UniqueConstraint("account", "key"),
    Index("journal_of_task", "task", "act"),
    Index("journal_of_account", "account", "act"),
    Index("journal_of_bulk", "bulk"),
)
settings = Table(
    "settings",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

for _act in ("UPDATE", "DELETE"):
    event.listen(
        journal,
        "after_create",
        DDL(
            f"CREATE TRIGGER journal_no_{_act.lower()} BEFORE {_act} ON journal "
            "BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END"
        ).execute_if(dialect="sqlite"),
    )
event.listen(
    journal,
    "after_create",
    DDL(
        "CREATE OR REPLACE FUNCTION journal_stands() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the journal is only ever added to'; END $$; "
        "CREATE TRIGGER journal_stands BEFORE UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION journal_stands()"
    ).execute_if(dialect="postgresql"),
)
