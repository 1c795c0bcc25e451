"""Damage for tests: files of a real release or pool written again, changed, with a footer that belongs to them or does not."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from schemas.digest import digest_of_table
from schemas.pool import Pool, write_parquet
from schemas.release import DECISIONS, Release
from tests.pools import PASS, unit

Change = Callable[[pa.Table], pa.Table]


def rewrite_decisions(release: Release, change: Change, *, name: str = unit(1), footer: dict | None = None) -> None:
    """Writes a unit's decisions again, with the old counts of verdicts in the footer or the figures in `footer`."""
    (decided,) = (one for one in release.decided() if one.unit == name)
    table = release.read_decisions(name)
    table = change(table.cast(pa.schema([DECISIONS.field(name) for name in table.column_names])))
    reasons = Counter(reason for reasons in table["reasons"].to_pylist() for reason in reasons)
    told = {**asdict(decided), "content_digest": digest_of_table(table), "reasons": dict(reasons), **(footer or {})}
    write_parquet(table, told, Path(release.store.path_of(f"{release.path}/decisions/{name}.parquet")))


def rewrite_index(release: Release, change: Change, *, shard: int = 0, **told: object) -> None:
    (footer,) = (one for one in release.shards() if one.shard == shard)
    table = change(release.read_index(shard))
    path = Path(release.store.path_of(release.shard_path(shard, "parquet")))
    write_parquet(table, {**asdict(footer), "content_digest": digest_of_table(table), "count": table.num_rows, **told}, path)


def put(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def put_all(table: pa.Table, column: str, values: Sequence[object]) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def rewrite_raw(pool: Pool, name: str, change: Change) -> None:
    """Writes a unit's commit again, with a footer that belongs to it."""
    commit = pool.raw_commit(name)
    assert commit is not None
    table = change(pool.read_raw(name))
    told = {**asdict(commit), "content_digest": digest_of_table(table), "statuses": dict(Counter(table["status"].to_pylist()))}
    write_parquet(table, told, Path(pool.store.path_of(f"pool/raw/{name}.parquet")))


def rewrite_scores(pool: Pool, name: str, change: Change) -> None:
    """Writes a unit's scores again, with the old footer."""
    commit = pool.score_commit(PASS.name, name)
    assert commit is not None
    table = change(pool.read_scores(PASS.name, name))
    write_parquet(table, asdict(commit), Path(pool.store.path_of(f"pool/scores/{PASS.name}/{name}.parquet")))
