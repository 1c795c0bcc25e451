"""A pool that stands in for one that does not exist yet: one unit of one failed row, scored. It gives the graphs their shape, not their size."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa

from pipelines.pool_job import PoolJob, open_pool_job
from pipelines.release_job import ReleaseJob, open_release_job
from pipelines.steps.loaded_scorers import Needs
from pipelines.steps.write_shards import shard_count
from schemas.columns import RAW, table_of
from schemas.digest import digest_of_json
from schemas.units import SourceFile, unit_name

_FILE: Final = "0123456789abcdef"
_ROWS_A_FILE: Final = 1_000_000  # of a list of urls; LAION-2B's and COYO's files have more
_BYTES_AN_IMAGE: Final = 75_000  # as pipelines.plan counts
_ENGINE: Final = "torch-f32"  # every machine has it; which one is chosen does not show in the graph

Graphs = tuple[Callable[..., None], Callable[..., None], Callable[..., None]]


def graphs_of(args: argparse.Namespace, graphs: Graphs, folder: Path) -> Iterator[tuple[str, Callable[[beam.Pipeline], object]]]:
    """(name, how it is built) of each graph of a job with these flags and `args.check_job` pairs. graphs: of the pool, select, shard."""
    pool_graph, select_graph, shard_graph = graphs
    pairs = args.check_job
    job = open_pool_job(_stand_in(args, folder))
    files = [dataclasses.replace(job.entries[0], path=f"part-{n:05}.parquet") for n in range(-(-pairs // _ROWS_A_FILE))]
    yield "pool", partial(pool_graph, job=dataclasses.replace(job, entries=files))
    _score_one_unit(job)
    release = _sized(open_release_job(_stand_in(args, folder), job.pool), pairs, job.unit_size)
    yield "select", partial(select_graph, job=release)
    most_bytes, most_pairs = release.shard_size
    shards = shard_count(pairs, pairs * _BYTES_AN_IMAGE, max_bytes=most_bytes, max_count=most_pairs)
    yield "shard", partial(shard_graph, job=release, shards=shards)


def _stand_in(args: argparse.Namespace, folder: Path) -> argparse.Namespace:
    source = folder / "pairs.csv"
    source.write_text("url,caption\nhttp://stand-in.test/1.jpg,a stand-in\n")
    changed: dict[str, Any] = {
        "dataset": str(folder / "dataset"), "source": str(source), "columns": None, "preset": None, "limit": None, "sample": None,
        "add_source": False, "start_at": "fetch", "stop_after": None, "retry_failed": False, "reviews": None, "release": None,
        "engine": _ENGINE if args.engine == "auto" else args.engine,
        "contact": args.contact or (None if args.start_at == "fetch" else "nobody is asked"),
    }  # fmt: skip
    return argparse.Namespace(**{**vars(args), **changed})


def _score_one_unit(job: PoolJob) -> None:
    pool, unit = job.pool, unit_name(_FILE, 0)
    pool.put_file(SourceFile(_FILE, "stand-in", "pairs.csv", "rows", 1, "stand-in", 1, job.unit_size, (0,), (0,)))
    failed = {"row": 0, "url": "http://stand-in.test/1.jpg", "caption": "a stand-in", "status": "failed_to_download", "uid": "0" * 32}
    commit = pool.commit(unit, table_of([failed], RAW), tar=None, input_digest="stand-in")
    schema = Needs.of(job.scorers).schema
    nulls = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    pool.commit_scores(job.pass_.name, unit, nulls, input_digest=commit.content_digest)


def _sized(job: ReleaseJob, pairs: int, unit_size: int) -> ReleaseJob:
    """Units are named as those of many files are: their digests are most of what a list of them takes."""
    chunks = -(-min(pairs, _ROWS_A_FILE) // unit_size)
    files = (digest_of_json(["stand-in", n])[:16] for n in range(-(-pairs // _ROWS_A_FILE)))
    return dataclasses.replace(job, rows=pairs, units=[unit_name(file, chunk) for file in files for chunk in range(chunks)])
