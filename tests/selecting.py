"""Select for tests: a policy over a small pool, and what people decided, in any mode and order."""

from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa

from pipelines.run import run_graph
from pipelines.steps.select_pairs import SelectPairs
from quality.review.settle import settle
from quality.rules import Rules
from quality.selection import plan_selection
from schemas.policy import Policy
from schemas.pool import Pool
from schemas.release import Release


def select(
    pool: Pool,
    policy: Policy,
    release: str,
    *,
    answers: pa.Table | None = None,
    in_memory_rows: int = 1000,
    order: Sequence[str] | None = None,
    **how,
) -> Release:
    found, units = Release(pool.store, release), order or sorted(pool.committed())
    settled = None if answers is None else found.put_settled(settle(answers).settled)
    plan = plan_selection(pool, sorted(units), policy)

    def graph(pipeline: beam.Pipeline) -> None:
        select = SelectPairs(pool, found, Rules(policy), plan, rows=100, settled=settled, in_memory_rows=in_memory_rows)
        _ = pipeline | beam.Create(units) | select

    run_graph(graph, runner="DirectRunner", **({"mode": "in_memory", "workers": 1} | how))
    return found
